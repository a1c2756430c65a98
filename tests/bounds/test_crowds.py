"""More clients than there is room for: who stays, who goes, and what the processes spend on it."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.bounds.harm import bystander, come_from, descriptors, no_harm
from tests.everyone import RESET
from tests.measures import cpu_seconds
from tests.running import Door, running, wait_for
from tests.sshkeys import ed25519_key

from panicdoor.keys import parse_public_key
from panicdoor.processes.stream import OPERATORS, OWN_FDS, STRANGERS

GRANT = '\n[[grant]]\nto = ["alice"]\nmay = ["observe"]\nfrom = ["127.77.0.0/16"]\n'
OWN_NEED = STRANGERS * 2 + 2000  # descriptors of the test itself
EACH_MAX = 8  # KiB that a stranger may cost; the bench measures it
STREAMS = ("stream1", "stream2")


@pytest.fixture(scope="module", autouse=True)
def many_descriptors() -> Iterator[None]:
    """Let the test hold as many clients as the door does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OWN_NEED:
        pytest.skip(f"a test needs {OWN_NEED} descriptors, and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, OWN_NEED), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def granted_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door with operators in 127.77.0.0/16."""
    signers = [("alice", parse_public_key(ed25519_key().line().encode(), "alice.pub"))]
    directory = tmp_path_factory.mktemp("granted") / "door"
    with running(directory, more=GRANT, signers=signers) as door:
        yield door


class Crowd:
    """Silent clients from one /24."""

    def __init__(self, door: Door, network: str) -> None:
        self.door = door
        self.network = network
        self.clients: list[socket.socket] = []

    def grow(self, count: int) -> "Crowd":
        for i in range(count):
            client = come_from(self.door, f"{self.network}.{1 + i % 250}")
            client.setblocking(False)
            self.clients.append(client)
        return self

    def left(self) -> int:
        """Return how many are still connected."""
        return sum(map(is_open, self.clients))

    def close(self) -> None:
        for client in self.clients:
            client.close()


def is_open(client: socket.socket) -> bool:
    """Say whether a client that does not block is still connected."""
    try:
        return client.recv(65536, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def crowd(door: Door, network: str, count: int) -> Iterator[Crowd]:
    people = Crowd(door, network)
    try:
        yield people.grow(count)
    finally:
        people.close()


def answers(client: socket.socket) -> bool:
    """Say whether a client that has been here for long is still answered."""
    client.settimeout(2)
    with contextlib.suppress(OSError):
        client.sendall(b"ping\r\n")
        found = b""
        while piece := client.recv(65536):
            found += piece
            if b"pong from web1" in found:
                return True
    return False


def held(door: Door) -> int:
    """Return how many descriptors the streams have."""
    return sum(descriptors(door.place(stream)) for stream in STREAMS)


def empty(door: Door, before: int) -> None:
    """Wait until the streams have let go of everybody."""
    wait_for(lambda: held(door) <= before, 10)


def test_a_full_door(granted_door: Door) -> None:
    door = granted_door
    before = held(door)
    who = {stream: door.place(stream) for stream in STREAMS}
    with ExitStack() as here, bystander(door):
        strangers = [here.enter_context(come_from(door, f"127.{20 + i}.0.1")) for i in range(8)]
        operators = [here.enter_context(come_from(door, f"127.77.{i}.1")) for i in range(8)]
        flood = here.enter_context(crowd(door, "127.1.0", STRANGERS + 600))
        # One of the fullest aggregate goes: the crowd drops its own.
        wait_for(lambda: flood.left() <= STRANGERS, 15)
        assert held(door) <= before + STRANGERS + len(operators) + 2
        late = [here.enter_context(come_from(door, f"127.{40 + i}.0.1")) for i in range(8)]
        full = {stream: resident_of(pid) for stream, pid in who.items()}
        flood.grow(2000)
        assert [answers(c) for c in (*strangers, *operators, *late)] == [True] * 24
        grown = {stream: resident_of(pid) - full[stream] for stream, pid in who.items()}
        assert {s: size for s, size in grown.items() if size > STRANGERS * EACH_MAX // 8} == {}
        assert max(full.values()) < 60 << 10
    assert {stream: door.place(stream) for stream in STREAMS} == who
    empty(door, before)


def resident_of(pid: int) -> int:
    """Return the KiB that one process keeps in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def test_operators_in_a_crowd_take_nothing_from_strangers(granted_door: Door) -> None:
    door = granted_door
    before = held(door)
    with ExitStack() as here, bystander(door):
        strangers = [here.enter_context(come_from(door, f"127.{20 + i}.0.1")) for i in range(4)]
        calm = here.enter_context(come_from(door, "127.77.9.1"))
        flood = here.enter_context(crowd(door, "127.77.0", OPERATORS + 400))
        wait_for(lambda: flood.left() < OPERATORS, 15)
        assert held(door) <= before + OPERATORS + len(strangers) + 2
        assert [answers(c) for c in (*strangers, calm)] == [True] * 5
    empty(door, before)


def test_connections_that_end_at_once(plain_door: Door) -> None:
    before = held(plain_door)
    with no_harm(plain_door):
        for i in range(3000):
            client = come_from(plain_door, f"127.2.{i % 200}.1")
            if i % 3:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if i % 2:
                client.send(b"help\r\n")
            client.close()
        empty(plain_door, before)


def spent(door: Door, seconds: float) -> float:
    """Return the share of a processor that the busier stream uses over some time."""
    pids = [door.place(stream) for stream in STREAMS]
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(seconds)
    return max(cpu_seconds(pid) - b for pid, b in zip(pids, before, strict=True)) / seconds


def test_the_limit_of_descriptors(tmp_path: Path) -> None:
    limit = 256
    with running(tmp_path / "door", prefix=("prlimit", f"--nofile={limit}:{limit}")) as door:
        assert f"{limit} descriptors: fewer clients at once" in door.said()
        before = held(door)
        who = door.places()
        with ExitStack() as here, bystander(door):
            stays = here.enter_context(come_from(door, "127.20.0.1"))
            flood = here.enter_context(crowd(door, "127.1.0", 1500))
            wait_for(lambda: flood.left() <= 2 * (limit - OWN_FDS), 15)
            assert all(descriptors(door.place(stream)) < limit for stream in STREAMS)
            # Full, and calm: nobody turns in circles for want of a descriptor.
            assert spent(door, 1.0) < 0.25
            assert answers(stays)
        assert door.places() == who
        empty(door, before)


def test_more_clients_than_descriptors_all_the_same(tmp_path: Path) -> None:
    """A stream that has counted wrongly lets go of clients, goes on, and does not spin."""
    wrong = "import panicdoor.processes.stream as s; s.OWN_FDS = -1000"
    prefix = ("prlimit", "--nofile=256:256")
    with running(tmp_path / "door", prefix=prefix, code=wrong) as door:
        before = held(door)
        who = door.places()
        with ExitStack() as here:
            flood = here.enter_context(crowd(door, "127.1.0", 1500))
            wait_for(lambda: flood.left() <= 2 * 256, 15)
            with bystander(door):
                assert spent(door, 1.0) < 0.25
        assert door.places() == who
        empty(door, before)
