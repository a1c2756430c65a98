"""`panicdoor who-may`: who, how many, from where, and nobody said as such."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.test_main import start
from tests.sshkeys import ed25519_key

from panicdoor.cli.init import make_door
from panicdoor.cli.who_may import described, terms
from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.config import Grant

KEYS = "".join(
    f'{name} namespaces="login@panicdoor" {ed25519_key().line()}\n' for name in ("alice", "bob")
)
GRANTS = """
[[grant]]
to = ["alice"]
may = ["observe"]
from = ["192.0.2.0/24", "2001:db8::/32"]

[[grant]]
to = ["alice", "bob"]
may = ["disks"]
signatures = 2

[[grant]]
to = ["bob"]
may = ["recover"]
sessions = false
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "door"
    make_door(made, name="web1")
    (made / "allowed_signers").write_text(KEYS)
    policy = made / "door.toml"
    policy.write_text(policy.read_text() + GRANTS)
    return made


def who_may(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return start("who-may", *words, str(directory))


def test_who_how_and_from_where(directory: Path) -> None:
    done = who_may(directory, "disks")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "disks\n"
        "  level observe: look, change nothing\n"
        "  alice\n"
        "      typed in an ssh session, or an order with 1 signature\n"
        "      from 192.0.2.0/24, 2001:db8::/32\n"
        "  alice, bob\n"
        "      an order with 2 signatures, of as many people; never typed\n"
        "      from any network\n"
        "  bob\n"
        "      an order with 1 signature, never typed\n"
        "      from any network\n"
    )


def test_nobody_is_said_as_such(tmp_path: Path) -> None:
    make_door(tmp_path / "door", name="web1")
    done = who_may(tmp_path / "door", "triage")
    assert done.returncode == 0
    assert "  nobody: no grant names it, and what no grant allows is refused\n" in done.stdout
    found = json.loads(who_may(tmp_path / "door", "triage", "--json").stdout)["commands"][0]
    assert (found["signatures"], found["grants"], found["anyone"]) == (None, [], False)


def test_anyone_is_said_as_such(directory: Path) -> None:
    assert "level public: anyone, without a key\n" in who_may(directory, "ping").stdout
    found = json.loads(who_may(directory, "ping", "--json").stdout)["commands"][0]
    assert (found["signatures"], found["grants"], found["anyone"]) == (0, [], True)


def test_for_programs(directory: Path) -> None:
    found = json.loads(who_may(directory, "disks", "--json").stdout)
    assert found["commands"] == [
        {
            "name": "disks",
            "level": "observe",
            "makes_root": False,
            "anyone": False,
            "signatures": 1,
            "grants": [
                {
                    "to": ["alice"],
                    "signatures": 1,
                    "typed": True,
                    "from": ["192.0.2.0/24", "2001:db8::/32"],
                },
                {"to": ["alice", "bob"], "signatures": 2, "typed": False, "from": []},
                {"to": ["bob"], "signatures": 1, "typed": False, "from": []},
            ],
        }
    ]


def test_a_level_has_its_commands_together_that_take_the_same(directory: Path) -> None:
    said = who_may(directory, "observe").stdout
    assert said.count("level observe") == 2  # disks has a grant of its own
    assert "triage" in said.split("level observe")[0]
    names = [
        c["name"] for c in json.loads(who_may(directory, "observe", "--json").stdout)["commands"]
    ]
    assert {"disks", "triage"} < set(names)
    assert "ping" not in names


@pytest.mark.parametrize("name", ["nonesuch", "", "Triage", "\x1b[2J", "x" * 200])
def test_an_unknown_command(directory: Path, name: str) -> None:
    done = who_may(directory, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("panicdoor: this door has no command '")
    assert done.stderr.count("\n") == 1
    assert done.stderr.strip().isprintable()
    assert len(done.stderr) < 120


def test_a_policy_that_is_wrong(directory: Path) -> None:
    with (directory / "door.toml").open("a") as policy:
        policy.write("signatures = 9\n")
    done = who_may(directory, "triage")
    assert done.returncode == 2
    assert "door.toml: " in done.stderr


def test_lines_that_are_skipped_are_told(directory: Path) -> None:
    with (directory / "allowed_signers").open("a") as signers:
        signers.write("carol junk\n")
    assert "note: allowed_signers: line 3 is skipped: " in who_may(directory, "triage").stdout


def test_what_makes_root_is_said() -> None:
    shell = replace(COMMANDS["triage"], name="shell", level=Level.DEFEND, makes_root=True)
    grant = Grant(to=("alice",), may=("shell",), signatures=2)
    assert terms(shell, (grant,))[:3] == (
        "  level defend: lock, cut off, reboot",
        "  whoever may run this can become root",
        "  alice",
    )
    assert described(shell, (grant,))["makes_root"] is True
