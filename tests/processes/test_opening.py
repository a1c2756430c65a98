"""Opening a door: what is opened, what is refused, and that nothing stays open of what is refused.

Certificates have a file of their own, test_opening_certificate.
"""

import ctypes
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import setproctitle
from tests.child import NOBODY, in_child
from tests.running import LOOPBACK, ROOT, descriptors, free_port, need_user, wait_for

from panicdoor.cli.init import make_door
from panicdoor.config import Address
from panicdoor.errors import ConfigError
from panicdoor.kernel import process, sockets
from panicdoor.keys import generate_identity
from panicdoor.processes.directory import SECRETS
from panicdoor.processes.opening import JOURNAL_RESERVE, PLACES_SIZE, close, open_door
from panicdoor.roles import ROLE_OF

CLONE_NEWNS = 0x20000  # unshare(2)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # mount(2)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A door's directory."""
    need_user()
    make_door(tmp_path / "door", name="web1", listen=(Address(LOOPBACK, free_port()),))
    return tmp_path / "door"


def refusal(directory: Path) -> str:
    """Return why a door is refused; nothing may be open afterwards, in this process or the file."""

    def attempt() -> object:
        before = descriptors(os.getpid())
        try:
            open_door(directory, demo=True)
        except ConfigError as error:
            said = str(error)
        else:
            return ["", "it was opened"]
        return said, [link for fd, link in descriptors(os.getpid()).items() if fd not in before]

    said, left = in_child(attempt)
    assert left == []
    assert said.isprintable()
    return str(said)


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(data)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda d: (d / "door.toml").unlink(), "{}/door.toml: No such file or directory"),
        (write("door.toml", b"name = '\xff'"), "{}/door.toml: expected UTF-8"),
        (write("door.toml", b"name = 1"), "{}/door.toml: name: expected a name of "),
        (
            write("door.toml", b"name = 'web1'\n[[grant]]\nto = ['a']\nmay = ['fly']\n"),
            "{}/door.toml: grant[0].may[0]: expected a level ",
        ),
        (lambda d: d.chmod(0o770), "{}: others may write to it; expected: chmod go-w "),
        (lambda d: (d / "door.toml").chmod(0o646), "{}/door.toml: others may write to it; "),
        (lambda d: (d / "allowed_signers").chmod(0o666), "{}/allowed_signers: others may write "),
        (lambda d: (d / "identity").unlink(), "{}/identity: No such file or directory"),
        (lambda d: (d / "identity").chmod(0o604), "{}/identity: others may read it; expected "),
        (lambda d: (d / "tls.pem").chmod(0o660), "{}/tls.pem: others may read it; expected mode "),
        (write("identity", b""), "{}/identity: expected an OpenSSH private key, the file is empty"),
        (write("identity", b"x" * 100_000), "{}/identity: expected an OpenSSH private key, at "),
        (write("tls.pem", b"\n"), "{}/tls.pem: expected a private key and a certificate in PEM"),
        (lambda d: (d / "identity.pub").unlink(), "{}/identity.pub: No such file or directory"),
        (write("identity.pub", b"\xff\n"), "{}/identity.pub: expected ASCII"),
        (
            write("identity.pub", generate_identity()[1].encode()),
            "{0}/identity.pub: expected the public half of {0}/identity: ",
        ),
        (lambda d: (d / "places").mkdir(), "{}/places: Is a directory"),
        (lambda d: (d / "journal").symlink_to("identity"), "{}/journal: "),
    ],
)
def test_a_file_that_will_not_do(
    directory: Path, wrong: Callable[[Path], object], said: str
) -> None:
    wrong(directory)
    assert refusal(directory).startswith(said.format(directory))


def test_a_key_is_never_shown(directory: Path) -> None:
    secret = (directory / "identity").read_bytes()
    (directory / "identity.pub").write_bytes(secret)
    said = refusal(directory)
    assert "got a private one" in said
    assert not any(line in said for line in secret.decode().splitlines()[1:-1])


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no").startswith(f"{tmp_path}/no: No such file or directory; ")
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file").startswith(f"{tmp_path}/file: Not a directory; ")


def test_a_port_that_is_held(directory: Path) -> None:
    text = (directory / "door.toml").read_text()
    with socket.create_server((LOOPBACK, 0)) as holder:
        port = holder.getsockname()[1]
        listen = f'listen = ["{LOOPBACK}:{free_port()}", "{LOOPBACK}:{port}"]\n'
        before, _, rest = text.partition("listen = [")
        (directory / "door.toml").write_text(before + listen + rest.partition("]\n")[2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sockets, "BIND_TRY_S", 0.0)
            said = refusal(directory)

            def attempt() -> object:
                open_door(directory, demo=False)
                return "opened"

            with pytest.raises(pytest.fail.Exception, match=r"door\.toml: listen\[1\]: tcp "):
                in_child(attempt)
    assert said.startswith(f"tcp {LOOPBACK}:{port} is held by pid ")


# What is opened


@pytest.fixture
def opened(directory: Path) -> Callable[[Callable[[Path], object]], object]:
    """Have something done in a process that has opened the door."""

    def run(what: Callable[[Path], object]) -> object:
        return in_child(lambda: what(directory))

    return run


Opened = Callable[[Callable[[Path], object]], object]


def test_secrets_are_sealed_copies(opened: Opened) -> None:
    def look(directory: Path) -> object:
        world = open_door(directory, demo=True)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        return [
            (
                os.pread(fd, 1 << 20, 0) == (directory / file).read_bytes(),
                fcntl.fcntl(fd, fcntl.F_GET_SEALS) == seals,
                os.get_inheritable(fd),
            )
            for name, file in SECRETS.items()
            for fd in [world.holdings.secrets[name]]
        ]

    assert opened(look) == [[True, True, False]] * 2


def test_files_have_their_space(opened: Opened) -> None:
    def look(directory: Path) -> object:
        world = open_door(directory, demo=True)
        sizes = {n: os.fstat(world.holdings.files[n]) for n in ("places", "journal")}
        return {n: (s.st_size, s.st_blocks * 512, s.st_mode & 0o777) for n, s in sizes.items()}

    found = opened(look)
    assert isinstance(found, dict)
    assert found["places"][0] == PLACES_SIZE
    assert found["journal"][0] == 0
    assert found["journal"][1] >= JOURNAL_RESERVE
    assert {entry[2] for entry in found.values()} == {0o600}


def test_everything_is_closed_again_and_nothing_inherited(opened: Opened) -> None:
    def look(directory: Path) -> object:
        before = descriptors(os.getpid())
        world = open_door(directory, demo=True)
        during = set(descriptors(os.getpid())) - set(before)
        inherited = [fd for fd in during if os.get_inheritable(fd)]
        close(world.holdings)
        return len(during) > 2 * len(ROLE_OF), inherited, descriptors(os.getpid()) == before

    assert opened(look) == [True, [], True]


def test_as_many_descriptors_as_allowed(opened: Opened) -> None:
    def look(directory: Path) -> object:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        open_door(directory, demo=True)
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard

    assert opened(look) is True


def test_a_second_one_is_refused_until_the_first_is_closed(opened: Opened) -> None:
    def look(directory: Path) -> object:
        first = open_door(directory, demo=True)
        try:
            open_door(directory, demo=True)
        except ConfigError as error:
            said = str(error).removeprefix(str(directory))
        close(first.holdings)
        close(open_door(directory, demo=True).holdings)
        return said

    assert opened(look) == ": another serve has this door open"


# What whoever started us has left


def test_children_that_nobody_was_to_wait_for(directory: Path) -> None:
    def attempt() -> object:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        close(open_door(directory, demo=True).holdings)
        return True

    assert in_child(attempt)


def test_nothing_of_the_door_is_among_the_first_three_descriptors(directory: Path) -> None:
    """Every child has /dev/null there, whatever was there before."""

    def attempt() -> object:
        os.closerange(0, 3)
        open_door(directory, demo=True)
        return [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]

    assert in_child(attempt) == ["/dev/null"] * 3


# Orphans


@pytest.fixture
def orphan() -> Iterator[int]:
    """A process that an earlier supervisor might have left."""
    pid = os.fork()
    if pid == 0:
        setproctitle.setproctitle("panicdoor: stream1 of web1")
        signal.pause()
        os._exit(0)
    wait_for(lambda: process.name(pid).startswith("panicdoor: "))
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def ended(pid: int) -> bool:
    """Whether a child of ours has been killed; it is reaped."""
    gone, code = os.waitpid(pid, os.WNOHANG)
    return gone == pid and os.waitstatus_to_exitcode(code) == -signal.SIGKILL


def test_orphans_are_ended(directory: Path, orphan: int) -> None:
    record = f"{process.boot_id()}\nstream1 {orphan} {process.start_time(orphan)}\n"
    (directory / "places").write_text(record.ljust(PLACES_SIZE))
    close_after_opening(directory)
    assert ended(orphan)


def test_what_does_not_call_itself_one_of_ours_is_left_alone(directory: Path) -> None:
    """The writer has no rights, and root kills whom its list names: it could name anybody."""
    stranger = os.fork()
    if stranger == 0:
        signal.pause()
        os._exit(0)
    try:
        record = f"{process.boot_id()}\nstream1 {stranger} {process.start_time(stranger)}\n"
        (directory / "places").write_text(record)
        close_after_opening(directory)
        assert not ended(stranger)
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def close_after_opening(directory: Path) -> None:
    def attempt() -> object:
        close(open_door(directory, demo=True).holdings)
        return True

    assert in_child(attempt)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("worker1", ""),
        ("writer", ""),
        ("stream1", "stream1 of an earlier serve (pid {}) does not end"),
        ("unheard-of", "unheard-of of an earlier serve (pid {}) does not end"),
    ],
)
def test_an_orphan_that_hangs_in_the_kernel(
    directory: Path, orphan: int, place: str, said: str
) -> None:
    """It cannot be killed; the door opens unless it would have the clients of this one."""

    def attempt() -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "end", lambda pid, started, wait_ms: False)
            try:
                close(open_door(directory, demo=True).holdings)
            except ConfigError as error:
                return str(error).removeprefix(f"{directory}: ")
        return ""

    record = f"{process.boot_id()}\n{place} {orphan} {process.start_time(orphan)}\n"
    (directory / "places").write_text(record)
    assert in_child(attempt) == said.format(orphan)


@pytest.mark.parametrize(
    "record",
    [
        "another-boot\nstream1 {pid} {started}\n",
        "{boot}\nstream1 {pid} {other}\n",
        "{boot}\nstream1 {pid}\n",
        "{boot}\nstream1 -{pid} {started}\n",
        "{boot}\nstream1 {pid} {started} more\n",
        "{boot}\n\n\0\0\0\nstream1 {pid}x {started}\n",
        "{boot}\nstream1 99999999 1\nmonitor 99999999999999999999999 1\n",
        "{boot}\nmonitor {pid} " + "1" * 5000 + "\n",
        "stream1 {pid} {started}\n",
        "",
    ],
)
def test_what_is_no_orphan_is_left_alone(directory: Path, orphan: int, record: str) -> None:
    started = process.start_time(orphan)
    text = record.format(boot=process.boot_id(), pid=orphan, started=started, other=started + 1)
    (directory / "places").write_text(text)
    close_after_opening(directory)
    assert not ended(orphan)


def test_a_list_that_is_no_text_is_no_list(directory: Path) -> None:
    (directory / "places").write_bytes(bytes(range(256)) * 16)
    close_after_opening(directory)


@pytest.mark.skipif(not ROOT, reason="needs root to give files away")
@pytest.mark.parametrize("name", ["", "door.toml", "allowed_signers", "identity", "tls.pem"])
def test_what_belongs_to_somebody_else(directory: Path, name: str) -> None:
    os.chown(directory / name, NOBODY.pw_uid, NOBODY.pw_gid)
    assert refusal(directory).startswith(f"{directory / name}: belongs to another user; expected ")


@pytest.mark.skipif(not ROOT, reason="needs root to mount")
def test_a_read_only_file_system_is_no_reason_not_to_open(directory: Path) -> None:
    def attempt() -> list[object]:
        libc = ctypes.CDLL(None, use_errno=True)
        where = os.fsencode(directory)
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(where, where, None, MS_BIND, None) == 0
        assert libc.mount(None, where, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None) == 0
        world = open_door(directory, demo=True)
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in world.holdings.files.values()]
        volatile = world.holdings.volatile
        close(world.holdings)
        return [volatile, *links]

    volatile, *links = in_child(attempt)
    assert volatile
    assert sum("memfd:" in link for link in links) == 2
    assert not (directory / "journal").exists()
