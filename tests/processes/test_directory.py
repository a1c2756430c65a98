"""A door's directory: what is refused there, with the file and the key or line."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.child import NOBODY
from tests.running import LOOPBACK, ROOT
from tests.sshkeys import ed25519_key

from panicdoor.cli.init import make_door
from panicdoor.config import Address
from panicdoor.errors import ConfigError
from panicdoor.kernel import process
from panicdoor.messages import Holder
from panicdoor.processes.directory import holders, read_policy

ALICE = ed25519_key()
GRANT = '[[grant]]\nto = ["alice"]\nmay = ["observe"]\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "door"
    make_door(made, name="web1", listen=(Address(LOOPBACK, 1),))
    (made / "allowed_signers").write_text(f'alice namespaces="login@panicdoor" {ALICE.line()}\n')
    (made / "door.toml").write_text('name = "web1"\n' + GRANT)
    return made


def grant(old: str, new: str) -> Callable[[Path], object]:
    return lambda d: (d / "door.toml").write_text('name = "web1"\n' + GRANT.replace(old, new))


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(data)


def pipe(file: Path) -> None:
    """Put a pipe there that nobody writes into."""
    file.unlink()
    os.mkfifo(file, 0o600)


def test_what_is_right_is_read(directory: Path) -> None:
    found = read_policy(directory)
    assert found.door.grants[0].to == ("alice",)
    assert found.signers == (directory / "allowed_signers").read_bytes()


def test_a_door_without_a_list_knows_nobody(directory: Path) -> None:
    (directory / "allowed_signers").unlink()
    (directory / "door.toml").write_text('name = "web1"\n')
    assert read_policy(directory).signers == b""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (grant("observe", "fly"), "door.toml: grant[0].may[0]: expected a level (public, observe,"),
        (grant("observe", 'observe", "traige'), "door.toml: grant[0].may[1]: expected a level "),
        (grant("alice", "mallory"), "door.toml: grant[0].to[0]: expected a name that has a line"),
        (grant("may", 'from = ["192.0.2.0/33"]\nmay'), "door.toml: grant[0].from[0]: expected a "),
        (grant("may", 'from = ["web.example"]\nmay'), "door.toml: grant[0].from[0]: expected a "),
        (grant("may", "signatures = 9\nmay"), "door.toml: grant[0].signatures: expected a whole "),
        (write("door.toml", b"name = [\n"), "door.toml: line 1: "),
        (write("door.toml", b"name = '\xff'"), "door.toml: expected UTF-8"),
        (lambda d: (d / "door.toml").unlink(), "door.toml: No such file"),
        (lambda d: pipe(d / "door.toml"), "door.toml: is no regular file"),
        (lambda d: pipe(d / "allowed_signers"), "allowed_signers: is no regular file"),
        (lambda d: os.truncate(d / "door.toml", 1 << 40), "door.toml: expected at most 65536 char"),
        (lambda d: (d / "door.toml").chmod(0o666), "door.toml: others may write to it; expected: "),
        (write("allowed_signers", b"x" * (1 << 20) + b"y"), "allowed_signers: expected at most "),
        (lambda d: (d / "allowed_signers").chmod(0o620), "allowed_signers: others may write to it"),
        (lambda d: (d / "allowed_signers").unlink(), "door.toml: grant[0].to[0]: expected a name"),
        (
            lambda d: ((d / "allowed_signers").unlink(), (d / "allowed_signers").mkdir()),
            "allowed_signers: Is a directory",
        ),
    ],
)
def test_what_is_wrong_is_named(
    directory: Path, wrong: Callable[[Path], object], said: str
) -> None:
    wrong(directory)
    with pytest.raises(ConfigError, match=re.escape(f"{directory}/{said}")):
        read_policy(directory)


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_what_belongs_to_others_is_refused(directory: Path) -> None:
    os.chown(directory / "allowed_signers", NOBODY.pw_uid, -1)
    with pytest.raises(ConfigError, match="allowed_signers: belongs to another user"):
        read_policy(directory)


def test_who_holds_a_place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert holders(directory) == []
    boot = process.boot_id()
    text = f"{boot}\nsupervisor {os.getpid()} 7\njunk\nstream1 1 2 3\nwriter 4 5\n"
    (directory / "places").write_text(text)
    assert holders(directory) == []  # none of them calls itself one of ours
    monkeypatch.setattr(process, "name", lambda pid: "panicdoor: supe" if pid != 4 else "init")
    assert holders(directory) == [Holder("supervisor", os.getpid(), 7)]
    (directory / "places").write_text(text.replace(boot, "another boot"))
    assert holders(directory) == []
