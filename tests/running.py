"""A real door for tests: the real program in its own processes, on a free port of loopback.

Processes are found as children of the one we started and told apart by their titles; they are
ended by their pids. `extra` starts the door with the commands of `tests/extra.py` added.
"""

import os
import pwd
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import randrange

import pytest

from panicdoor.cli.init import make_door
from panicdoor.config import USER, USERADD, Address
from panicdoor.keys import PublicKey

LOOPBACK = "127.0.0.1"
ROOT = os.geteuid() == 0
START = "import sys; from panicdoor.cli.main import main; sys.exit(main())"
EXTRA = "import tests.extra; " + START


def need_user() -> None:
    """Make the user that a door started by root becomes, where it is missing."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        if ROOT:
            subprocess.run(USERADD.split(), check=True)


def wait_for(what: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something is true; fail the test when it does not come true in time."""
    give_up = time.monotonic() + seconds
    while not what():
        if time.monotonic() > give_up:
            pytest.fail(f"not within {seconds} seconds")
        time.sleep(0.005)


def free_port() -> int:
    """Return a port that is free now for tcp and udp, and that no client is given as its own."""
    clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = randrange(min(10_000, clients // 2), clients)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            try:
                tcp.bind((LOOPBACK, port))
                udp.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def title(pid: int) -> str:
    """Return a process's title, "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode()
    except OSError:
        return ""


def session(pid: int) -> int:
    """Return a process's session, 0 when it has ended or waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == b"Z" else int(fields[3])


def descriptors(pid: int) -> dict[int, str]:
    """Return what a process has open: proc_pid_fd(5)."""
    found = {}
    with suppress(OSError):  # it ended
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # it was closed
                found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def exit_code(pid: int, seconds: float = 10.0) -> int:
    """Wait for a child, but not for ever, and return how it ended: a code, or minus a signal."""
    fd = os.pidfd_open(pid)
    try:
        if not select.select([fd], [], [], seconds)[0]:
            pytest.fail(f"a process did not end within {seconds} seconds")
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@dataclass
class Door:
    """A door that runs. `log` is where its standard error goes."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The supervisor's pid."""
        return self.process.pid

    def places(self) -> dict[str, int]:
        """Return who holds which place now: {"monitor": pid, "stream1": pid, ...}."""
        found = {}
        for pid in children(self.pid):
            words = title(pid).split()
            if words[:1] == ["panicdoor:"]:
                found[words[1]] = pid
        return found

    def place(self, name: str) -> int:
        """Return the pid of who holds that place."""
        return self.places()[name]

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to who holds a place, and return who that was."""
        pid = self.place(name)
        os.kill(pid, number)
        return pid

    def wait_filled(self, name: str, before: int, seconds: float = 5.0) -> None:
        """Wait until a place has another holder than before."""
        wait_for(lambda: self.places().get(name, before) != before, seconds)

    def said(self) -> str:
        """Return what the door has said to standard error."""
        return self.log.read_text()

    def connect(self, timeout: float = 5.0) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection((LOOPBACK, self.port), timeout)

    def talk(self, data: bytes, timeout: float = 5.0) -> bytes:
        """Send bytes, end the input, and return everything that comes until the end."""
        with self.connect(timeout) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def documented(self, timeout: float = 2.0) -> bool:
        """Return whether a zero byte brings the documentation."""
        try:
            return b"PANICDOOR" in self.talk(b"\0", timeout)
        except OSError:
            return False

    def datagram(self, data: bytes, timeout: float = 2.0) -> bytes:
        """Send a datagram and return the first that comes back.

        From a network of its own each time: a network that asks a lot is told to wait.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout)
            client.bind((f"127.{randrange(1, 255)}.{randrange(1, 255)}.1", 0))
            client.sendto(data, (LOOPBACK, self.port))
            return client.recv(65536)

    def secure(self, data: bytes, timeout: float = 5.0) -> bytes:
        """Say something inside TLS, and return everything that comes until the end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with self.connect(timeout) as plain, context.wrap_socket(plain) as client:
            client.sendall(data)
            return read_all(client)

    def family(self) -> dict[int, str]:
        """Return all processes of this door and their titles, orphans too: one session has them."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and session(int(entry)) == self.pid:
                found[int(entry)] = title(int(entry))
        return found

    def stop(self) -> int:
        """End it as systemd would, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def read_all(client: socket.socket) -> bytes:
    """Read until the end of input."""
    found = []
    while data := client.recv(65536):
        found.append(data)
    return b"".join(found)


def start(
    directory: Path,
    port: int,
    *,
    extra: bool = False,
    prefix: tuple[str, ...] = (),
    code: str = "",
) -> Door:
    """Start `serve DIR` and wait until it answers.

    `prefix` is a command to run it under, `code` is done in its process before all else.
    """
    log = directory.with_name(directory.name + ".log")
    program = code + "\n" + (EXTRA if extra else START)
    with log.open("ab") as errors:
        before = errors.tell()
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", program, "serve", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    door = Door(directory, port, process, log)
    give_up = time.monotonic() + 15
    while b"panicdoor: ready: " not in log.read_bytes()[before:]:
        if process.poll() is not None or time.monotonic() > give_up:
            process.kill()
            pytest.fail(f"the door did not start: {log.read_text()}")
        time.sleep(0.01)
    return door


@contextmanager
def running(
    directory: Path,
    *,
    extra: bool = False,
    prefix: tuple[str, ...] = (),
    listen: tuple[str, ...] = (LOOPBACK,),
    code: str = "",
    more: str = "",
    signers: Sequence[tuple[str, PublicKey]] = (),
) -> Iterator[Door]:
    """A new door in `directory` (made here, with `more` in its door.toml), and its end.

    See `start` for the rest.
    """
    need_user()
    port = free_port()
    addresses = tuple(Address(host, port) for host in listen)
    contact = "Example Ops, +49 30 1234567"
    make_door(directory, name="web1", contact=contact, listen=addresses, signers=signers)
    with (directory / "door.toml").open("a", encoding="ascii") as toml:
        toml.write(more)
    door = start(directory, port, extra=extra, prefix=prefix, code=code)
    orphans = list(door.places().values())
    try:
        yield door
    finally:
        orphans += door.places().values()
        door.stop()
        for pid in {*orphans, *door.family()}:
            if title(pid).startswith("panicdoor:"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
