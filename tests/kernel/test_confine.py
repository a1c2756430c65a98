"""What is left to a process that has given up its rights, tried by the process itself."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.child import NOBODY, become_nobody, in_child, refused, status
from tests.running import LOOPBACK, ROOT

from panicdoor.kernel import confine, libc

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")
needs_landlock = pytest.mark.skipif(confine.landlock_abi() < 1, reason="no landlock here")
NET_ABI, SCOPE_ABI = 4, 6
DENIED = "PermissionError"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody to connect to."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user reaches; pytest's own are for one user."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def connect(address: tuple[str, int]) -> None:
    with socket.socket() as sock:
        sock.settimeout(5)
        sock.connect(address)


def bind() -> None:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))


@needs_landlock
@pytest.mark.parametrize("abi", range(1, confine.landlock_abi() + 1))
def test_landlock_denies_what_its_version_knows(abi: int, listener: socket.socket) -> None:
    address = listener.getsockname()

    def confined() -> object:
        confine.no_new_privileges()
        confine.deny_files(abi)
        return {
            "read": refused(lambda: open("/etc/passwd", "rb").close()),
            "write": refused(lambda: open("/tmp/panicdoor-never", "wb").close()),
            "list": refused(lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))),
            "make": refused(lambda: os.mkdir("/tmp/panicdoor-never")),
            "run": refused(lambda: os.execv("/bin/true", ["true"])),
            "connect": refused(lambda: connect(address)),
            "bind": refused(bind),
            "signal": refused(lambda: os.kill(os.getppid(), 0)),
        }

    net = DENIED if abi >= NET_ABI else ""
    assert in_child(confined) == {
        **dict.fromkeys(("read", "write", "list", "make", "run"), DENIED),
        "connect": net,
        "bind": net,
        "signal": DENIED if abi >= SCOPE_ABI else "",
    }


@needs_landlock
def test_landlock_leaves_what_is_open(tmp_path: Path, listener: socket.socket) -> None:
    file = tmp_path / "journal"
    file.write_bytes(b"one ")

    def confined() -> object:
        with open(file, "r+b") as opened, connected(listener) as (ours, theirs):
            confine.no_new_privileges()
            confine.deny_files(confine.landlock_abi())
            os.pwrite(opened.fileno(), b"two ", 4)
            os.fdatasync(opened.fileno())
            ours.sendall(b"said")
            accepted = theirs.recv(4).decode()
            os.kill(os.getpid(), 0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                return accepted, udp.sendto(b"x", (LOOPBACK, 9))

    assert in_child(confined) == ["said", 1]
    assert file.read_bytes() == b"one two "


@contextlib.contextmanager
def connected(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    ours = socket.create_connection(listener.getsockname(), 5)
    theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


@needs_landlock
def test_landlock_protects_the_memory_of_others() -> None:
    """The confined one may not look into a process of its own user, or at its descriptors."""
    parent = os.getpid()

    def confined() -> object:
        before = refused(lambda: os.readlink(f"/proc/{parent}/fd/0"))
        confine.no_new_privileges()
        confine.deny_files(confine.landlock_abi())
        after = refused(lambda: os.readlink(f"/proc/{parent}/fd/0"))
        return before, after, refused(lambda: os.close(os.pidfd_open(parent)))

    assert in_child(confined) == ["", DENIED, ""]


@needs_landlock
@needs_root
def test_landlock_needs_no_new_privileges() -> None:
    def confined() -> object:
        become_nobody()
        return refused(lambda: confine.deny_files(confine.landlock_abi()))

    assert in_child(confined) == DENIED


def test_no_landlock_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "SYS_LANDLOCK_CREATE_RULESET", 9999)
    assert confine.landlock_abi() == 0


@needs_root
def test_an_empty_root_has_nothing_in_it() -> None:
    def confined() -> object:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        confine.enter_empty_root(fd)
        become_nobody()
        return {
            "read": refused(lambda: open("/etc/passwd", "rb").close()),
            "up": os.listdir("/../.."),
            "here": os.listdir("."),
            "write": refused(lambda: open("/never", "wb").close()),
            "closed": refused(lambda: os.fstat(fd) and None),
        }

    with public_directory() as directory:
        directory.chmod(0o755)
        assert in_child(confined) == {
            "read": "FileNotFoundError",
            "up": [],
            "here": [],
            "write": DENIED,
            "closed": "OSError",
        }


def test_no_new_privileges() -> None:
    def confined() -> object:
        confine.no_new_privileges()
        return status("NoNewPrivs")

    assert in_child(confined) == "1"


@needs_root
@pytest.mark.parametrize("hidden", [False, True])
def test_memory_is_hidden_from_the_same_user(hidden: bool) -> None:
    def look() -> object:
        libc.prctl(libc.PR_SET_DUMPABLE, 1)  # a change of user has hidden this one already
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            if hidden:
                confine.hide_memory()
            os.write(writer, b"!")
            signal.pause()
        os.read(reader, 1)
        said = refused(lambda: open(f"/proc/{pid}/mem", "rb").close())
        os.kill(pid, signal.SIGKILL)
        return said

    assert in_child(look, nobody=True) == (DENIED if hidden else "")


@needs_root
def test_changing_the_user_leaves_nothing_of_root() -> None:
    def changed() -> object:
        os.setgroups([0, 4])
        confine.change_user(NOBODY.pw_uid, NOBODY.pw_gid)
        back = refused(lambda: os.setresuid(0, 0, 0)), refused(lambda: os.setgroups([0]))
        fields = [status(f) for f in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapAmb")]
        return fields, back

    fields, back = in_child(changed)
    assert fields[0].split() == [str(NOBODY.pw_uid)] * 4
    assert fields[1].split() == [str(NOBODY.pw_gid)] * 4
    assert fields[2] == ""
    assert {int(field, 16) for field in fields[3:]} == {0}
    assert back == [DENIED, DENIED]


@needs_root
def test_dropping_every_capability() -> None:
    def dropped() -> object:
        confine.drop_capabilities()
        kill = refused(lambda: os.kill(1, 0)) if os.getuid() else ""
        fields = [status(f) for f in ("CapEff", "CapPrm", "CapInh")]
        return fields, kill, refused(lambda: os.setresuid(1, 1, 1))

    fields, kill, change = in_child(dropped)
    assert {int(field, 16) for field in fields} == {0}
    assert (kill, change) == ("", DENIED)
