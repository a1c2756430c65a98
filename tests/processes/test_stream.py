"""A tcp frontend in a process of its own; the test is its monitor, and its clients."""

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.places import EPOCH, End, Places, opened
from tests.running import LOOPBACK, read_all, wait_for

from panicdoor.messages import Answer, Ask, Cancel, Fresh, Hello, More, Ping, Pong
from panicdoor.processes import stream
from panicdoor.processes.stream import FULL_HOST, OPERATORS, OWN_FDS, STRANGERS
from panicdoor.roles import ROLE_OF, SUPERVISOR

CHALLENGE = "aadq-caqd-6enx-hcig-x4ir-mkkx"
NAME = "stream1"


@contextmanager
def serving(directory: Path, before: Callable[[], object] = lambda: None) -> Iterator[Places]:
    """One stream, warm."""
    with opened(directory) as places:
        places.fill(NAME, before)
        monitor = places.end("monitor", NAME)
        supervisor = places.end(SUPERVISOR, NAME)
        supervisor.say(Ping(1))
        # Its warm-up asks the monitor, too; and until it is over it answers no ping.
        monitor.hear(Hello)

        def warm() -> bool:
            for message in monitor.waiting():
                if isinstance(message, Ask):
                    monitor.say(Answer(message.id, message.epoch, "warm\n", end=True))
            return any(isinstance(message, Pong) for message in supervisor.waiting())

        wait_for(warm)
        yield places


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with serving(tmp_path_factory.mktemp("stream") / "door") as found:
        yield found


@pytest.fixture
def monitor(places: Places) -> Iterator[End]:
    end = places.end("monitor", NAME)
    end.waiting()
    yield end
    assert places.lives(NAME)


def connect(places: Places) -> socket.socket:
    return socket.create_connection((LOOPBACK, places.port), 5)


def rest(client: socket.socket) -> bytes:
    """Return what else comes, until the end or a reset."""
    with client, suppress(ConnectionError):
        return read_all(client)
    return b""


def talk(places: Places, data: bytes) -> bytes:
    with connect(places) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def test_the_last_fresh_challenge_is_shown(places: Places, monitor: End) -> None:
    monitor.say(Fresh("old", EPOCH), Fresh(CHALLENGE, EPOCH))
    wait_for(lambda: CHALLENGE.encode() in talk(places, b"doc 2\r\n" + b"doc\r\n"))
    assert monitor.waiting() == []


def test_a_question_to_the_monitor(places: Places, monitor: End) -> None:
    with connect(places) as client:
        client.sendall(b"ping\r\n")
        ask = monitor.hear(Ask)
        assert (ask.words, ask.way, ask.peer) == (("ping",), "tcp", LOOPBACK)
        monitor.say(Answer(ask.id, ask.epoch, "one\n", end=False))
        assert client.recv(100) == b"one\r\n"
        assert monitor.hear(More).id == ask.id
        monitor.say(Answer(ask.id, ask.epoch, "two\n", end=True))
        assert client.recv(100) == b"two\r\n"


def test_who_leaves_is_cancelled(places: Places, monitor: End) -> None:
    with connect(places) as client:
        client.sendall(b"ping\r\n")
        ask = monitor.hear(Ask)
    # A client that only ended its input would still be answered: this one resets.
    with connect(places) as client:
        client.sendall(b"ping\r\n")
        gone = monitor.hear(Ask)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert monitor.hear(Cancel, id=gone.id).epoch == gone.epoch
    monitor.say(Answer(ask.id, ask.epoch, "late\n", end=True))
    assert b"PANICDOOR" in talk(places, b"\0")


def test_a_monitor_that_is_silent_costs_two_seconds_and_a_line(
    places: Places, monitor: End
) -> None:
    with connect(places) as client:
        client.sendall(b"ping\r\n")
        monitor.hear(Ask)
        assert b"PANICDOOR" in talk(places, b"\0")
        assert client.recv(200).startswith(b"the monitor does not answer")


def failing(code: int, calls: int, sock: type[socket.socket] = socket.socket) -> None:
    """Have the next calls of accept(2) fail, while there is somebody to accept."""
    real, left = sock.accept, [calls]

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        accepted, address = real(self)
        if left[0]:
            left[0] -= 1
            accepted.close()
            raise OSError(code, os.strerror(code))
        return accepted, address

    sock.accept = accept  # type: ignore[method-assign]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.EMFILE])
def test_accept_fails_and_those_who_follow_are_served(tmp_path: Path, code: int) -> None:
    with serving(tmp_path / "door", lambda: failing(code, 3)) as places:
        lost = [connect(places) for _ in range(3)]
        for client in lost:
            with client:
                assert client.recv(1) == b""
        assert b"PANICDOOR" in talk(places, b"\0")


def test_a_listener_that_was_shut_listens_again(places: Places, monitor: End) -> None:
    """One that was taken over can shut the socket that all share, and its successors'."""
    (fd,) = places.world.holdings.listeners["tcp"]
    with socket.socket(fileno=os.dup(fd)) as listener:
        listener.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: answers(places))


@pytest.mark.parametrize("name", [NAME, "datagram"])
def test_a_listener_that_was_made_to_wait_does_not_wait(tmp_path: Path, name: str) -> None:
    """The flag belongs to the socket: one that was taken over could stop all streams by it."""
    with opened(tmp_path / "door") as places:
        fds = places.world.holdings.listeners[ROLE_OF[name].listens]
        for fd in fds:
            os.set_blocking(fd, True)
        places.fill(name)
        places.end("monitor", name).hear(Hello)
        wait_for(lambda: not any(map(os.get_blocking, fds)))


def answers(places: Places) -> bool:
    try:
        return b"PANICDOOR" in talk(places, b"\0")
    except OSError:
        return False


@pytest.mark.parametrize(
    ("code", "stay"),
    [(errno.EPROTO, [True, True]), (errno.EMFILE, [False, True]), (errno.ENFILE, [False, True])],
)
def test_room_is_made_only_where_there_is_none(tmp_path: Path, code: int, stay: list[bool]) -> None:
    def fail_later() -> None:
        real = socket.socket.accept

        def accept(self: socket.socket) -> tuple[socket.socket, object]:
            accepted = real(self)
            if accepted[1][0] == "127.66.0.1":
                accepted[0].close()
                raise OSError(code, os.strerror(code))
            return accepted

        socket.socket.accept = accept  # type: ignore[method-assign]

    with serving(tmp_path / "door", fail_later) as places:
        clients = [connect(places) for _ in stay]
        for client in clients:
            client.sendall(b"help\r\n")
            assert client.recv(10)
        with socket.create_connection((LOOPBACK, places.port), 5, ("127.66.0.1", 0)) as refused:
            assert refused.recv(1) == b""
        assert b"PANICDOOR" in talk(places, b"\0")
        for client in clients:
            with suppress(OSError):
                client.sendall(b"no such\r\n")
                client.shutdown(socket.SHUT_WR)
        assert [b"no command" in rest(client) for client in clients] == stay


@pytest.mark.parametrize(
    ("descriptors", "streams", "strangers", "operators"),
    [
        (1 << 20, 2, STRANGERS // 2, OPERATORS // 2),
        (1 << 20, 1, STRANGERS, OPERATORS),
        (1024, 2, 840, 120),
        (256, 2, 168, 24),
        (OWN_FDS, 2, 2, 1),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, streams: int, strangers: int, operators: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert stream._shares(streams) == (strangers, operators)


def test_a_full_host_is_left_in_peace_for_a_moment() -> None:
    assert errno.EMFILE not in FULL_HOST  # that is our own limit: room is made at once
