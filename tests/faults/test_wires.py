"""Hostile packets on every wire of a whole door that runs, while clients are served.

The ends are taken out of the supervisor, which holds them all, by pidfd_getfd(2).
"""

import ctypes
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.journals import journal_of, verify
from tests.places import EPOCH, FAR, End, ask, descriptors, hostile, resident
from tests.running import ROOT, Door, read_all, running, wait_for

from panicdoor.messages import (
    Answer,
    Ask,
    Become,
    Bug,
    Cancel,
    Fresh,
    Hello,
    Holder,
    Message,
    More,
    Output,
    Ping,
    Places,
    Pong,
    Replace,
    Run,
    Write,
    Written,
)
from panicdoor.processes.wires import joined, role_of
from panicdoor.roles import ROLE_OF, allowed

pytestmark = pytest.mark.skipif(not ROOT, reason="taking descriptors from others needs root")

SYS_PIDFD_GETFD = 438
GONE = b"the monitor does not answer"
SAMPLES: dict[type[Message], Message] = {
    type(message): message
    for message in (
        ask(1, "forbidden"), Cancel(1, EPOCH), More(1, EPOCH), Answer(1, EPOCH, "x", end=True),
        Run(1, EPOCH, 0, FAR, ("crash",)), Output(1, EPOCH, "x", end=True), Fresh("x", 1),
        Write(1, EPOCH, "accept", "{}"), Written(1, EPOCH, 1, "x"), Hello("monitor", 1, EPOCH),
        Bug("monitor", "x"), Ping(1), Pong(1), Replace("worker1", "x"), Become("monitor", 1, 1),
        Places((Holder("monitor", 1, 1),)),
    )
}  # fmt: skip


def ends(door: Door) -> dict[tuple[str, str], int]:
    """Return every end of every wire of a door, as descriptors of our own.

    They were opened pair by pair, in the order of `joined`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(door.pid)
    found = []
    for number in sorted(int(name) for name in os.listdir(f"/proc/{door.pid}/fd")):
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
        if fd < 0 or not stat.S_ISSOCK(os.fstat(fd).st_mode) or not seqpacket(fd):
            if fd >= 0:
                os.close(fd)
            continue
        found.append(fd)
    os.close(pidfd)
    names = [end for a, b in joined() for end in ((a, b), (b, a))]
    assert len(found) == len(names)
    return dict(zip(names, found, strict=True))


def seqpacket(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as sock:
        kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        return sock.family == socket.AF_UNIX and kind == socket.SOCK_SEQPACKET


@contextmanager
def wired(directory: Path) -> Iterator[tuple[Door, dict[tuple[str, str], End]]]:
    """A door, and all ends of its wires."""
    with running(directory, extra=True) as door:
        taken = ends(door)
        held = {(place, peer): End(place, peer, fd) for (place, peer), fd in taken.items()}
        for fd in taken.values():
            os.close(fd)
        try:
            yield door, held
        finally:
            for end in held.values():
                end.close()


@pytest.fixture(scope="module")
def wires(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Door, dict[tuple[str, str], End]]]:
    with wired(tmp_path_factory.mktemp("wires") / "door") as both:
        yield both


class Clients:
    """Clients that ask all the time, and how long each waited."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self.waits: list[float] = []
        self.answers: list[bytes] = []
        self.served = True

    def __enter__(self) -> "Clients":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stop:
            start = time.monotonic()
            self.answers.append(self._door.talk(b"ping\n"))
            self.served = self.served and self._door.documented()
            self.waits.append(time.monotonic() - start)

    def check(self, most: float, instead: bytes = b"pong") -> None:
        """All were served, and none waited long."""
        assert self.served
        assert all(b"pong" in answer or instead in answer for answer in self.answers)
        assert any(b"pong" in answer for answer in self.answers)
        assert len(self.waits) > 2
        assert max(self.waits) < most


def state(door: Door) -> dict[str, tuple[int, int]]:
    """Return the pid and the descriptors of every place."""
    pids = {"supervisor": door.pid, **door.places()}
    return {name: (pid, descriptors(pid)) for name, pid in pids.items()}


def test_the_ends_are_what_we_think(wires: tuple[Door, dict[tuple[str, str], End]]) -> None:
    door, held = wires
    pid = door.place("stream1")
    os.kill(pid, signal.SIGSTOP)  # or it would read what is for us
    try:
        end = held["stream1", "monitor"]
        end.say(ask(2**50, "challenge"))
        assert "-" in end.hear(Answer, id=2**50).text
    finally:
        os.kill(pid, signal.SIGCONT)


def test_junk_and_descriptors_on_every_wire_change_nothing(
    wires: tuple[Door, dict[tuple[str, str], End]],
) -> None:
    door, held = wires
    wait_for(lambda: door.places().keys() == ROLE_OF.keys())
    assert b"1" in door.talk(b"count 1\n")
    before = state(door)
    memory = {name: resident(pid) for name, (pid, _) in before.items()}
    entries = len(verify(journal_of(door.directory)))
    null = os.open(os.devnull, os.O_RDONLY)
    with Clients(door) as clients:
        for (place, peer), end in held.items():
            kinds = allowed(role_of(place), role_of(peer))
            if not kinds:
                continue  # nobody reads there
            for sample in SAMPLES.values():
                packets = list(hostile(sample)) if type(sample) in kinds else []
                if type(sample) not in kinds:
                    packets.append(msgspec.msgpack.encode(sample))
                for packet in packets:
                    end.push(packet)
            for _ in range(50):
                end.push(b"", [null] * 200)
                end.push(b"\xc0", [null] * 200)
        for (place, peer), end in held.items():
            if allowed(role_of(place), role_of(peer)):
                wait_for(end.is_read)
    os.close(null)
    clients.check(1.0, GONE)  # while the junk fills their own frontend's wire
    assert state(door) == before
    assert len(verify(journal_of(door.directory))) == entries
    for name, (pid, _) in before.items():
        assert resident(pid) < memory[name] + 2048, name
    assert b"1" in door.talk(b"count 1\n")


FLOODS = {
    "junk": b"\xff" * 64,
    "asks": msgspec.msgpack.encode(Ask(1, 1, FAR, "tcp", "", "", ("ping",))),
    "pongs": msgspec.msgpack.encode(Pong(2**40)),
}


def flooding(end: End, packet: bytes, count: int) -> int:
    """Have a process of its own send packets, and return its pid."""
    child = os.fork()
    if child == 0:
        try:
            for _ in range(count):
                end.push(packet)
        finally:
            os._exit(0)
    return child


@pytest.mark.parametrize(
    ("place", "peer", "flood"),
    [
        ("stream1", "monitor", "junk"),
        ("datagram", "monitor", "asks"),
        ("stream1", "supervisor", "junk"),
        ("datagram", "supervisor", "pongs"),
    ],
)
def test_a_flood_of_100000_packets_keeps_nobody_waiting(
    wires: tuple[Door, dict[tuple[str, str], End]], place: str, peer: str, flood: str
) -> None:
    door, held = wires
    before = state(door)
    pid = before[peer][0]
    memory = resident(pid)
    child = flooding(held[place, peer], FLOODS[flood], 100_000)
    with Clients(door) as clients:
        assert os.waitpid(child, 0)[1] == 0
    # A frontend whose wire is full of its own flood cannot ask for its own clients.
    clients.check(1.0, GONE if place == "stream1" else b"pong")
    assert resident(pid) < memory + 2048
    if flood != "asks":  # their answers keep that frontend busy, which is its own affair
        assert state(door) == before


def test_during_a_flood_of_the_supervisor_places_are_filled(
    wires: tuple[Door, dict[tuple[str, str], End]],
) -> None:
    door, held = wires
    child = flooding(held["stream2", "supervisor"], FLOODS["junk"], 10**9)
    try:
        before = door.kill("stream1")
        door.wait_filled("stream1", before, 1.0)
        wait_for(door.documented)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def at_once(door: Door, count: int) -> list[bytes]:
    """Let that many clients ask at once, so that no one stream takes them all."""
    clients = [door.connect() for _ in range(count)]
    for client in clients:
        client.sendall(b"ping\n")
        client.shutdown(socket.SHUT_WR)
    answers = [read_all(client) for client in clients]
    for client in clients:
        client.close()
    return answers


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_frontend_that_shuts_its_wires_is_alone_and_others_serve_on(
    tmp_path: Path, how: int
) -> None:
    with wired(tmp_path / "door") as (door, held):
        before = state(door)
        held["stream1", "monitor"].socket.shutdown(how)
        assert all(door.documented(timeout=1.0) for _ in range(20))
        answers = at_once(door, 40)
        wait_for(lambda: any(b"pong" in answer for answer in at_once(door, 40)))
        assert all(b"pong" in a or GONE in a for a in answers)
        assert door.datagram(b"\x01ping").startswith(b"pong")
        used = ticks(before["monitor"][0])
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            assert door.documented()
        assert ticks(before["monitor"][0]) - used < 25
        assert state(door).keys() == before.keys()
        door.stop()
        assert any(
            entry.kind == "counted" and entry.fields.get("shut") == ["stream1"]
            for entry in verify(journal_of(door.directory))
        )


def ticks(pid: int) -> int:
    """Return the processor time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
