"""What is rehearsed before a fork, and what a stream says to itself at its start."""

import asyncio
import gc
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from tests.documentation.doors import manual
from tests.processes.host import Process

from panicdoor.commands.registry import Here
from panicdoor.processes import warmup
from panicdoor.processes.connection import Connection
from panicdoor.protocols.base import Protocol
from panicdoor.protocols.detect import Way, detect


class Place:
    """As much of a place as a warm-up needs: a loop that runs for a while."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.ran = 0.0

    def run_for(self, seconds: float) -> None:
        assert seconds < 10, "for ever"
        begun = time.monotonic()
        timer = self.loop.call_later(seconds, self.loop.stop)
        self.loop.run_forever()
        timer.cancel()
        self.ran += time.monotonic() - begun


class Stream:
    """As much of a stream: it adopts sockets, and counts them."""

    def __init__(self, process: Process, place: Place) -> None:
        self.process = process
        self.most = 0
        place.loop.add_reader(process.epoll.fileno(), self.turn)

    def turn(self) -> None:
        for fd, events in self.process.epoll.poll(0):
            if fd in self.process.connections:
                self.process.connections[fd].ready(events)

    def adopt(self, sock: socket.socket, address: str, here: Here) -> Connection:
        sock.setblocking(False)
        connection = Connection(sock, address, here, self.process)
        self.process.connections[sock.fileno()] = connection
        self.most = max(self.most, len(self.process.connections))
        connection.start()
        return connection


@pytest.fixture
def process(tls_context: ssl.SSLContext) -> Iterator[Process]:
    found = Process(tls_context)
    yield found
    found.close()
    assert found.bugs == []


def test_a_warm_up_speaks_everything_one_after_another(process: Process) -> None:
    place = Place()
    stream = Stream(process, place)
    spoken: list[Way] = []
    make = process.make

    def remember(way: Way, greeted: bool) -> Protocol:
        spoken.append(way)
        return make(way, greeted)

    process.make = remember
    process.has_room = False  # so ssh is answered here
    begun = time.monotonic()
    warmup.warm_up(stream, place)  # type: ignore[arg-type]
    assert time.monotonic() - begun < warmup.WARM_UP_S
    assert set(spoken) == {Way.LINES, Way.HTTP, Way.TLS}
    assert {way for _, way in process.answers.asked} == {"tcp", "tls"}
    assert len(process.answers.asked) > 2 * len(warmup.TEXT.split())
    assert process.connections == {}
    assert stream.most <= 3
    place.loop.close()


def test_a_warm_up_ends_where_nobody_answers(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmup, "WARM_UP_S", 0.2)
    monkeypatch.setattr(warmup, "CLEAR", (b"wait\r\n" * 3,) * 5)
    place = Place()
    stream = Stream(process, place)
    warmup.warm_up(stream, place)  # type: ignore[arg-type]
    assert place.ran < 0.2 + 4 * warmup.CLOSE_S
    assert len(process.answers.waiting) == warmup.ROUNDS * 5
    assert all(waiting.cancelled for waiting in process.answers.waiting)
    place.loop.close()


def test_every_way_is_warmed_up() -> None:
    ways = {detect(text[:8], eof=True) for text in (*warmup.CLEAR, warmup.SSH)}
    assert ways == set(Way)
    assert {detect(text[:8], eof=True) for text in warmup.INSIDE_TLS} == set(Way) - {Way.TLS}


def test_a_rehearsal_leaves_nothing_open() -> None:
    warmup.rehearse(manual())
    gc.collect()
    before = descriptors()
    warmup.rehearse(manual())
    gc.collect()
    assert descriptors() == before


def descriptors() -> int:
    """Return the lowest descriptor that is free."""
    with socket.socket() as free:
        return free.fileno()
