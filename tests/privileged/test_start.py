"""How a door begins and ends: what is wrong at start is one line, and nothing is left of it.

Afterwards nobody listens, no process is there, and no descriptor of a key is anywhere.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.born import CODE as BORN
from tests.born import REPORTS
from tests.child import NOBODY, in_child, refused, status
from tests.knocking import by_udp
from tests.nobody import CODE as NOBODY_CODE
from tests.nobody import give_away, public_directory, running_as_nobody
from tests.running import (
    LOOPBACK,
    ROOT,
    START,
    Door,
    free_port,
    need_user,
    running,
    session,
    wait_for,
)

from panicdoor.cli.init import make_door
from panicdoor.config import Address
from panicdoor.kernel.confine import landlock_abi
from panicdoor.roles import ROLE_OF

needs_root = pytest.mark.skipif(not ROOT, reason="needs root")
CONFINED = [name for name, role in ROLE_OF.items() if not role.root]
CLOSE_S = 3.0  # seconds in which a healthy door is closed


@dataclass(frozen=True)
class Failed:
    """How a start ended."""

    code: int
    said: str


@pytest.fixture
def made() -> Iterator[tuple[Path, int]]:
    """A door that is not open, and its port."""
    need_user()
    with public_directory() as above:
        port = free_port()
        make_door(above / "door", name="web1", listen=(Address(LOOPBACK, port),))
        yield above / "door", port


def try_to_start(directory: Path, port: int, code: str = "") -> Failed:
    """Start a door that will not open, and see that nothing is left of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\n{START}", "serve", str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.communicate()
        pytest.fail("it opened")
    left = [
        pid for pid in os.listdir("/proc") if pid.isdigit() and session(int(pid)) == process.pid
    ]
    assert left == []
    assert closed(port)
    return Failed(process.returncode, said.decode())


def closed(port: int) -> bool:
    """Whether nobody has the port any more."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((LOOPBACK, port))
        udp.bind((LOOPBACK, port))
    return True


def line(failed: Failed) -> str:
    """Return the one line that is said, without the program's name."""
    assert failed.code == 2, failed
    match = re.fullmatch(r"panicdoor: ([ -~]+)\n", failed.said)
    assert match is not None, failed.said
    return match[1]


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        file = directory / name
        file.write_bytes(change(file.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("wrong", "file", "said"),
    [
        (edit("door.toml", lambda t: b"lisen = []\n" + t), "door.toml", "lisen: expected one of"),
        (
            edit("door.toml", lambda t: re.sub(rb"(?ms)^listen = \[.*?^\]", b"listen = 903", t)),
            "door.toml",
            "listen: expected a list of 1 to 8 addresses, got 903",
        ),
        (edit("identity", lambda t: t[:60] + t[70:]), "identity", "this one is damaged"),
        (lambda d: (d / "tls.pem").unlink(), "tls.pem", "No such file or directory"),
        (lambda d: (d / "identity").chmod(0o640), "identity", "others may read it; expected mode"),
    ],
    ids=["unknown key", "wrong type", "bad key", "no key", "open key"],
)
def test_what_is_wrong_in_the_directory(
    made: tuple[Path, int], wrong: Callable[[Path], None], file: str, said: str
) -> None:
    directory, port = made
    wrong(directory)
    told = line(try_to_start(directory, port))
    assert told.startswith(f"{directory / file}: ")
    assert said in told
    assert not (directory / "journal").exists()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_that_is_held(made: tuple[Path, int], kind: str) -> None:
    directory, port = made
    what = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    holder = socket.socket(socket.AF_INET, what)
    holder.bind((LOOPBACK, port))
    if kind == "tcp":
        holder.listen()
    with holder:
        # Let go of it at the very end, so that try_to_start finds the port free.
        code = (
            f"import atexit, os; atexit.register(os.kill, {os.getpid()}, {signal.SIGUSR1:d})\n"
            "from panicdoor.kernel import sockets; sockets.BIND_TRY_S = 0.2"
        )
        before = signal.signal(signal.SIGUSR1, lambda *_: holder.close())
        try:
            told = line(try_to_start(directory, port, code))
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert told.startswith(
        f"{directory / 'door.toml'}: listen[0]: {kind} {LOOPBACK}:{port} is held"
    )
    assert f"pid {os.getpid()} (" in told


@needs_root
def test_a_port_for_root_alone(made: tuple[Path, int]) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 903:
        pytest.skip("everybody may bind port 903 here")
    directory, port = made
    edit("door.toml", lambda t: t.replace(b":%d" % port, b":903"))(directory)
    give_away(directory)
    told = line(try_to_start(directory, port, NOBODY_CODE))
    assert told.startswith(f"{directory / 'door.toml'}: listen[0]: tcp {LOOPBACK}:903: ")
    assert "needs root or CAP_NET_BIND_SERVICE" in told


@needs_root
def test_a_user_that_is_missing(made: tuple[Path, int]) -> None:
    directory, port = made
    code = "from panicdoor.processes import opening; opening.USER = 'panicdoor-absent'"
    told = line(try_to_start(directory, port, code))
    assert told.startswith("there is no user panicdoor-absent; make it with: useradd --system ")


@needs_root
def test_a_directory_of_somebody_else(made: tuple[Path, int]) -> None:
    directory, port = made
    told = line(try_to_start(directory, port, NOBODY_CODE))
    assert told == f"{directory}: Permission denied; panicdoor init DIR makes one"


def test_a_directory_that_is_not_there(made: tuple[Path, int]) -> None:
    directory, port = made
    told = line(try_to_start(directory / "no", port))
    assert told == f"{directory / 'no'}: No such file or directory; panicdoor init DIR makes one"


def test_a_door_that_is_open_already(tmp_path: Path) -> None:
    with running(tmp_path / "door") as door:
        before = door.family()
        second = subprocess.run(
            [sys.executable, "-c", START, "serve", str(door.directory)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 2
        assert second.stderr == (f"panicdoor: {door.directory}: another serve has this door open\n")
        assert door.family() == before
        assert door.documented()


@pytest.mark.parametrize("place", ["stream1", "monitor"])
def test_a_place_that_never_answers(made: tuple[Path, int], place: str) -> None:
    """A door that cannot be whole at the start does not stay half open."""
    code = f"""
from panicdoor.processes import supervisor
supervisor.READY_S = 1.5
entry = {ROLE_OF[place].entry!r}
def crash(place, given=supervisor.ENTRIES[entry]):
    if place.name == {place!r}:
        raise RuntimeError("never")
    given(place)
supervisor.ENTRIES[entry] = crash
"""
    directory, port = made
    failed = try_to_start(directory, port, code)
    assert failed.code == 1
    assert re.search(
        rf"^panicdoor: (.*, )?{place}(, .*)? did not start in 2 seconds$", failed.said, re.M
    )


# The end


@contextmanager
def counted(door: Door, group: bool = False) -> Iterator[None]:
    """What is inside must end every process of a door in time, and leave its port to others."""
    family = door.family()
    assert len(family) == len(ROLE_OF) + 1
    began = time.monotonic()
    yield
    assert door.process.wait(10) == 0
    assert time.monotonic() - began < CLOSE_S
    assert door.family() == {}
    assert closed(door.port)
    assert " filled: " not in door.said()
    assert " lost: " not in door.said() or group
    kinds = [text.split()[3] for text in (door.directory / "journal").read_text().splitlines()]
    # Where all are told to end at once, the supervisor may see deaths before it hears of it.
    rest = [kind for kind in kinds if kind != "lost" or not group]
    assert rest == ["start", "stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(door: Door, number: signal.Signals) -> None:
    with door.connect() as client, counted(door):
        client.sendall(b"ping\r\n")
        door.process.send_signal(number)


def test_ctrl_c_reaches_the_whole_group(door: Door) -> None:
    with counted(door):
        os.killpg(door.pid, signal.SIGINT)


def test_a_signal_to_the_whole_group_ends_it(door: Door) -> None:
    with counted(door, group=True):
        os.killpg(door.pid, signal.SIGTERM)


def test_a_stopped_process_does_not_keep_it_open(door: Door) -> None:
    os.kill(door.place("writer"), signal.SIGSTOP)
    os.kill(door.place("stream2"), signal.SIGSTOP)
    door.process.send_signal(signal.SIGTERM)
    assert door.process.wait(10) == 0
    assert door.family() == {}


def test_what_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(tmp_path / "door") as door:
            assert manager.recv(100) == b"READY=1"
            assert door.documented()
            door.process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert door.process.wait(10) == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_a_signal_while_it_starts(made: tuple[Path, int]) -> None:
    """A door that is told to end before it is ready does so, and leaves nothing."""
    directory, port = made
    # Told by its own first stream, before that answers.
    code = """
import os, signal
from panicdoor.processes import supervisor
def tell(place, given=supervisor.ENTRIES["stream"]):
    if place.name == "stream1":
        os.kill(os.getppid(), signal.SIGTERM)
    given(place)
supervisor.ENTRIES["stream"] = tell
"""
    failed = try_to_start(directory, port, code)
    assert failed == Failed(0, "")


# Without root


def test_a_door_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with public_directory() as reports:
        monkeypatch.setenv(REPORTS, str(reports))
        with running_as_nobody(BORN) as door:
            said = door.said()
            assert "without root: what belongs to other users is out of its reach" in said
            assert "without root: whoever is this user can end it" in said
            for name, pid in door.places().items():
                assert (
                    status("Uid", pid).split() == [str(NOBODY.pw_uid if ROOT else os.getuid())] * 4
                )
                assert name.startswith("spare") or status("NoNewPrivs", pid) == "1"
            if ROOT:
                for pid in door.family():
                    assert in_child(partial(look_into, pid), nobody=True) == ["PermissionError"] * 2
            check_confined(reports)
            assert b"pong" in door.talk(b"ping\r\n")
            assert b"pong" in door.secure(b"ping\r\n\x04")
            assert by_udp(door)
            for name in ("monitor", "stream1"):
                door.wait_filled(name, door.kill(name), 1.0)
            wait_for(lambda: b"pong" in door.talk(b"ping\r\n"))
            door.process.send_signal(signal.SIGTERM)
            assert door.process.wait(10) == 0
            assert door.family() == {}


def look_into(pid: int) -> tuple[str, str]:
    """Try to reach a process's memory and descriptors: one user has them, and not for that."""
    return (
        refused(lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))),
        refused(lambda: os.listdir(f"/proc/{pid}/fd")),
    )


def check_confined(reports: Path) -> None:
    """One user has them all: landlock is what keeps frontends from the others and the files."""
    if not landlock_abi():
        pytest.skip("no landlock here: a door without root says that nothing is kept from it")
    for name in CONFINED:
        tried = json.loads((reports / name).read_text())["tried"]
        assert {tried[what] for what in ("read", "list", "write", "look")} == {"PermissionError"}
        if landlock_abi() >= 6:
            assert tried["signal"] == "PermissionError"
