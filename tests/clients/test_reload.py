"""Real ssh sessions while the policy changes: who has lost a grant is out, with a sentence."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.clients.programs import need, piped, run, terminal
from tests.logins import GRANTS, People, inhabited
from tests.running import wait_for

GONE = "your grant is gone: another policy holds on this door now"
ORDERS_ONLY = """
[[grant]]
to = ["alice"]
may = ["defend"]
sessions = false
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    need("ssh", "ssh-keygen")
    with inhabited(tmp_path_factory.mktemp("reload") / "house") as found:
        yield found


@pytest.fixture
def people(house: People) -> Iterator[People]:
    """A door whose policy and people are put back afterwards."""
    files = [house.door.directory / name for name in ("door.toml", "allowed_signers")]
    before = [file.read_bytes() for file in files]
    yield house
    for file, data in zip(files, before, strict=True):
        file.write_bytes(data)
    assert reload(house).returncode == 0


def reload(people: People) -> subprocess.CompletedProcess[bytes]:
    return run(sys.executable, "-m", "panicdoor", "reload", str(people.door.directory), seconds=20)


def grants(people: People, old: str, new: str) -> None:
    """Change the policy; it is not read yet."""
    file = people.door.directory / "door.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def without_bob(people: People) -> None:
    grants(people, '"alice", "bob"', '"alice"')


def watchers(people: People) -> int:
    """Return how many connections the ssh process has with clients."""
    found = run("ss", "-Htnp", f"sport = :{people.door.port}").stdout.decode()
    return len(re.findall(rf"pid={people.door.place('ssh')},", found))


def test_a_running_command_ends(people: People) -> None:
    with piped(*people.ssh("bob"), "count", "100000000", errors=True) as bob:
        bob.until("\n1000\n")
        without_bob(people)
        done = reload(people)
        assert done.returncode == 0
        assert re.fullmatch(
            rb"policy \d+ of this door holds from now on\nsessions ended: 1, of bob\n", done.stdout
        )
        said = bob.end()
        assert GONE in said
        assert bob.process.returncode in (1, 255)
    # The worker that counted for bob is free again.
    assert run(*people.ssh("alice"), "count", "2").stdout == b"1\n2\n"
    refused = run(*people.ssh("bob"), "count", "2")  # public commands are for everybody
    assert refused.stdout == b"1\n2\n"
    assert b"no grant lets bob run triage" in run(*people.ssh("bob"), "triage").stderr


def test_a_console_ends_and_another_persons_does_not(people: People) -> None:
    with terminal(*people.ssh("bob", "-tt")) as bob, terminal(*people.ssh("alice", "-tt")) as alice:
        bob.until("recover> ")
        alice.until("recover> ")
        without_bob(people)
        assert reload(people).returncode == 0
        assert GONE in bob.end()
        assert bob.process.returncode in (1, 255)
        alice.send(b"ping\r")
        assert "pong from web1" in alice.until("alice@web1 recover> ")


def test_a_connection_without_a_session_ends(people: People) -> None:
    """Such as one that is kept open for others to come (ControlMaster)."""
    with piped(*people.ssh("bob", "-N"), errors=True) as bob:
        journal = people.door.directory / "journal"
        before = journal.read_text().count(" login ")
        wait_for(lambda: journal.read_text().count(" login ") > before)
        without_bob(people)
        assert b"sessions ended: 1, of bob" in reload(people).stdout
        assert GONE in bob.end()
        assert bob.process.returncode == 255


def test_a_reader_that_has_stopped_is_let_go_of_all_the_same(people: People) -> None:
    need("ss")
    with piped(*people.ssh("bob"), "count", "100000000") as bob:
        bob.until("\n1000\n")
        wait_for(lambda: watchers(people) == 1)
        without_bob(people)
        assert reload(people).returncode == 0
        wait_for(lambda: watchers(people) == 0)


def test_who_has_lost_the_key_is_out(people: People) -> None:
    with terminal(*people.ssh("alice", "-tt")) as alice, terminal(*people.ssh("bob", "-tt")) as bob:
        alice.until("recover> ")
        bob.until("recover> ")
        file = people.door.directory / "allowed_signers"
        file.write_text(file.read_text().replace("bob namespaces=", "dave namespaces="))
        without_bob(people)
        assert b"of bob" in reload(people).stdout
        assert GONE in bob.end()
        assert b"Permission denied" in run(*people.ssh("bob"), "ping").stderr
        alice.send(b"exit\r")
        alice.end()


def test_a_key_whose_time_is_over_opens_nothing(people: People) -> None:
    with terminal(*people.ssh("bob", "-tt")) as bob:
        bob.until("recover> ")
        file = people.door.directory / "allowed_signers"
        limited = 'bob valid-before="20200101Z",namespaces='
        file.write_text(file.read_text().replace("bob namespaces=", limited))
        assert b"of bob" in reload(people).stdout
        assert GONE in bob.end()


def test_another_level_stands_in_the_next_prompt_and_holds_at_once(people: People) -> None:
    with terminal(*people.ssh("alice", "-tt")) as alice:
        alice.until("alice@web1 recover> ")
        alice.send(b"forbidden\r")
        assert "needs 2 signatures" in alice.until("recover> ")
        grants(people, "signatures = 2", "signatures = 1")
        assert b"ended" not in reload(people).stdout
        alice.send(b"forbidden\r")
        assert "done" in alice.until("alice@web1 defend> ")
        before = GRANTS.replace("signatures = 2", "signatures = 1")
        grants(people, before, ORDERS_ONLY)
        assert b"ended" not in reload(people).stdout
        alice.send(b"forbidden\r")
        assert "is taken as a signed order only" in alice.until("alice@web1 public> ")


def test_who_never_had_a_grant_stays_and_may_nothing(people: People) -> None:
    with terminal(*people.ssh("carol", "-tt")) as carol:
        carol.until("carol@web1 public> ")
        assert b"ended" not in reload(people).stdout
        carol.send(b"ping\r")
        assert "pong from web1" in carol.until("public> ")


def test_a_policy_that_is_wrong_ends_nobody(people: People) -> None:
    with terminal(*people.ssh("bob", "-tt")) as bob:
        bob.until("recover> ")
        file = people.door.directory / "door.toml"
        before = file.read_text()
        file.write_text(before.replace('"alice", "bob"', '"alice"') + "x = 1\n")
        done = reload(people)
        assert done.returncode == 2
        assert b"door.toml: grant[1].x: expected one of the keys" in done.stderr
        bob.send(b"ping\r")
        assert "pong from web1" in bob.until("recover> ")
