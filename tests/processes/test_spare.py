"""A spare, in a process of its own: what it takes for its call, and what it holds meanwhile."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.places import Places, opened
from tests.running import descriptors, exit_code, wait_for

from panicdoor.messages import Become, Message
from panicdoor.processes import spare
from panicdoor.processes.place import World
from panicdoor.roles import ROLE_OF, SUPERVISOR


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Places]:
    """A door, opened, with nobody in it."""
    with opened(tmp_path / "door") as places:
        yield places


class Waiting:
    """A spare that waits; what it was called to goes into a file."""

    def __init__(self, world: World, file: Path) -> None:
        self._file = file
        self.pid = os.fork()
        if self.pid == 0:
            try:
                become = spare.wait("spare1", world)
                file.write_text(f"{become.place} {become.fill}")
            finally:
                os._exit(3)

    def called(self) -> str:
        """Wait for its end, and return what it was called to; "" when it ended uncalled."""
        code = exit_code(self.pid)
        self.pid = 0
        return self._file.read_text() if code == 3 else ""

    def lives(self) -> bool:
        """Whether it is still there."""
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def close(self) -> None:
        """End it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def waiting(door: Places, tmp_path: Path) -> Iterator[Callable[[], Waiting]]:
    """Start spares."""
    started: list[Waiting] = []

    def start() -> Waiting:
        started.append(Waiting(door.world, tmp_path / f"called{len(started)}"))
        return started[-1]

    yield start
    for one in started:
        one.close()


Start = Callable[[], Waiting]


def tell(door: Places, *packets: Message | bytes) -> None:
    """Say something to the spare, as its supervisor does."""
    end = door.end(SUPERVISOR, "spare1")
    for packet in packets:
        end.push(packet if isinstance(packet, bytes) else msgspec.msgpack.encode(packet))


def test_it_becomes_what_it_is_told_to(door: Places, waiting: Start) -> None:
    one = waiting()
    tell(door, Become("stream1", 7, one.pid))
    assert one.called() == "stream1 7"


def test_a_call_for_its_predecessor_is_not_for_it(door: Places, waiting: Start) -> None:
    tell(door, Become("monitor", 2, 1))
    one = waiting()
    tell(door, Become("stream2", 2, one.pid + 1), Become("writer", 3, one.pid))
    assert one.called() == "writer 3"


def test_junk_is_no_call(door: Places, waiting: Start) -> None:
    one = waiting()
    tell(door, b"", b"\xc0", b"\xff" * 100, b"x" * 60_000)
    tell(door, msgspec.msgpack.encode({"is": "become", "place": "monitor", "pid": one.pid}))
    tell(door, msgspec.msgpack.encode({"is": "ping", "n": 1}))
    wait_for(door.end(SUPERVISOR, "spare1").is_read)
    assert one.lives()
    tell(door, Become("monitor", 2, one.pid))
    assert one.called() == "monitor 2"


def test_without_a_supervisor_it_ends(door: Places, waiting: Start) -> None:
    one = waiting()
    wait_for(lambda: SUPERVISOR_END not in held(door, one.pid))
    door.end(SUPERVISOR, "spare1").socket.shutdown(socket.SHUT_RDWR)  # as its death would do
    assert one.called() == ""


SUPERVISOR_END = f"{SUPERVISOR} spare1"


def held(door: Places, pid: int) -> set[str]:
    """Return what a process holds of the door, by name."""
    holdings = door.world.holdings
    names = {fd: f"{owner} {peer}" for (owner, peer), fd in holdings.wires.items()}
    names |= {fd: name for name, fd in {**holdings.secrets, **holdings.files}.items()}
    names[holdings.policy.fd] = "policy"
    names |= {fd: name for name, fds in holdings.listeners.items() for fd in fds}
    ours = descriptors(os.getpid())
    theirs = set(descriptors(pid).values())
    return {name for fd, name in names.items() if ours[fd] in theirs}


def test_it_holds_what_any_place_needs_and_nothing_of_the_supervisor(
    door: Places, waiting: Start
) -> None:
    one = waiting()
    wait_for(lambda: SUPERVISOR_END not in held(door, one.pid))
    found = held(door, one.pid)
    wires = {f"{owner} {peer}" for owner, peer in door.world.holdings.wires if owner != SUPERVISOR}
    files = {"identity", "tls", "journal", "places", "stderr", "policy"}
    assert found == {*wires, *files, "tcp", "udp"}


def test_after_its_call_the_wire_it_waited_at_is_closed(door: Places) -> None:
    """Its successor in the seat listens there."""
    wires = door.world.holdings.wires

    def become() -> None:
        told = Become("stream1", 2, os.getpid())
        with socket.socket(fileno=os.dup(wires[SUPERVISOR, "spare1"])) as end:
            end.send(msgspec.msgpack.encode(told))
        spare.wait("spare1", door.world)
        left = set(descriptors(os.getpid()))
        assert wires["spare1", SUPERVISOR] not in left
        assert door.world.holdings.of("stream1") <= left

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become()
            code = 0
        finally:
            os._exit(code)
    assert exit_code(pid) == 0


def test_every_place_can_be_taken(door: Places) -> None:
    """What a spare keeps is a superset of what any place is given."""
    kept = door.world.holdings.without(SUPERVISOR)
    for place in ROLE_OF:
        assert door.world.holdings.of(place) <= kept
    own = {fd for (owner, _), fd in door.world.holdings.wires.items() if owner == SUPERVISOR}
    assert not own & kept
