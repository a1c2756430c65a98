"""One connection on a real tcp socket, with a clock that the test moves."""

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
from tests.processes.host import GREETING, HERE, Process

from panicdoor.processes.connection import (
    DRAIN_MAX,
    DRAIN_S,
    IDLE_S,
    SILENCE_S,
    WRITE_S,
    WRITES,
    Connection,
    State,
)
from panicdoor.protocols.base import Part
from panicdoor.protocols.detect import Refusal

GREETED = GREETING.replace("\n", "\r\n").encode()
DOC = b"the documentation\r\n"
RESET = struct.pack("ii", 1, 0)
HALF_A_HANDSHAKE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.fixture
def process(tls_context: ssl.SSLContext) -> Iterator[Process]:
    found = Process(tls_context)
    yield found
    found.close()
    assert found.bugs == []


@pytest.fixture
def client_and_connection(process: Process) -> Iterator[tuple[socket.socket, Connection]]:
    client, connection = process.connect()
    with client:
        yield client, connection


Pair = tuple[socket.socket, Connection]


def state(connection: Connection) -> State:
    """Return where a connection stands: by now, whatever it was a line ago."""
    return connection.state


def read(client: socket.socket) -> bytes:
    """Return what waits, without waiting for more; the end and a reset read as nothing."""
    found = b""
    client.settimeout(0.05)
    try:
        while data := client.recv(65536):
            found += data
    except (TimeoutError, ConnectionError):
        pass
    client.settimeout(5)
    return found


def test_silence_is_greeted_once(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    process.pass_time(SILENCE_S - 0.01)
    assert read(client) == b""
    process.pass_time(0.02)
    assert read(client) == GREETED
    process.pass_time(IDLE_S - 1)
    assert (read(client), state(connection)) == (b"", State.DETECTING)
    process.pass_time(2)
    assert state(connection) is State.CLOSED
    assert process.connections == {}


@pytest.mark.parametrize(
    ("late", "answer"),
    [
        (b"\0", DOC),
        (b"doc\r\n", DOC),
        (b"\x16\x03\x01", b"Too late for TLS"),
        (b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
    ],
)
def test_what_comes_late_still_lands_right(
    process: Process, client_and_connection: Pair, late: bytes, answer: bytes
) -> None:
    client, _ = client_and_connection
    process.pass_time(SILENCE_S)
    assert read(client) == GREETED
    client.sendall(late)
    process.settle()
    assert answer in read(client)


@pytest.mark.parametrize("late", [False, True])
def test_ssh_is_handed_over_untouched(
    process: Process, client_and_connection: Pair, late: bool
) -> None:
    client, connection = client_and_connection
    if late:
        process.pass_time(SILENCE_S)
        assert read(client) == GREETED
    client.sendall(b"SSH-2.0-x\r\n")
    process.settle()
    assert state(connection) is State.CLOSED
    assert process.connections == {}
    (sock,) = process.handed_over
    assert sock.recv(100) == b"SSH-2.0-x\r\n"
    sock.sendall(b"SSH-2.0-door\r\n")
    assert client.recv(100) == b"SSH-2.0-door\r\n"


def test_ssh_that_finds_no_room_is_told_so(process: Process, client_and_connection: Pair) -> None:
    client, _ = client_and_connection
    process.has_room = False
    client.sendall(b"SSH-2.0-x\r\n")
    process.settle()
    assert b"ssh is busy here" in read(client)


def test_a_beginning_waits_for_its_rest(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(b"G")
    assert process.settle() <= 2  # and the kernel does not wake us again for what we know
    client.sendall(b"ET / HTTP/1.0\r\n\r\n")
    process.settle()
    assert b"200 OK" in read(client)
    assert state(connection) in (State.DRAINING, State.CLOSED)


@pytest.mark.parametrize("first", [b"G", b"SSH", b"\x16"])
def test_a_beginning_alone_becomes_a_line(
    process: Process, client_and_connection: Pair, first: bytes
) -> None:
    client, connection = client_and_connection
    client.sendall(first)
    process.settle()
    process.pass_time(SILENCE_S)
    assert state(connection) is State.TALKING
    client.sendall(b"\x15doc\r\n")
    process.settle()
    assert read(client) == DOC


def test_a_beginning_and_the_end(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(b"G")
    process.settle()
    client.shutdown(socket.SHUT_WR)
    process.settle()
    assert read(client) == DOC  # a line like any other: this desk knows only one answer
    assert state(connection) is State.CLOSED


def test_the_end_of_input_and_nothing_else(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.shutdown(socket.SHUT_WR)
    process.settle()
    assert read(client) == GREETED + DOC + DOC
    assert state(connection) is State.CLOSED


@pytest.mark.parametrize("said", [b"doc\r\n", b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"])
def test_the_idle_are_closed(process: Process, client_and_connection: Pair, said: bytes) -> None:
    client, connection = client_and_connection
    client.sendall(said)
    process.settle()
    assert read(client)
    process.pass_time(IDLE_S - 1)
    client.sendall(said)
    process.settle()
    assert read(client)
    process.pass_time(IDLE_S - 1)
    assert state(connection) is State.TALKING
    process.pass_time(2)
    assert state(connection) in (State.DRAINING, State.CLOSED)
    assert client.recv(100) == b""


def test_half_a_request_is_told_so(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(b"GET / HTTP/1.1\r\nHost: ")
    process.settle()
    process.pass_time(IDLE_S)
    assert b" 408 " in read(client)
    process.pass_time(DRAIN_S)
    assert state(connection) is State.CLOSED


def test_half_a_handshake_is_given_up(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(HALF_A_HANDSHAKE)
    process.settle()
    process.pass_time(SILENCE_S)
    process.pass_time(IDLE_S)
    assert state(connection) is State.CLOSED
    assert client.recv(100) == b""


def test_a_client_that_does_not_read_is_given_up(process: Process) -> None:
    process.answers.doc = "x" * 3000 + "\n"
    client, connection = process.connect(sndbuf=4096)
    with client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(10_000):
                client.send(b"doc\r\n" * 1000)
                process.settle(0)
        answered = len(process.answers.asked)
        process.pass_time(WRITE_S - 1)
        assert state(connection) is State.TALKING
        # Taking some of it earns it as long again.
        client.settimeout(5)
        taken = 0
        while len(process.answers.asked) == answered:
            taken += len(client.recv(65536))
            process.settle(0)
        assert taken
        while process.settle():
            pass
        left = connection.deadline - process.now()
        assert 0 < left <= WRITE_S
        process.pass_time(left - 1)
        assert state(connection) is State.TALKING
        for _ in range(5):  # the kernel may find room for a little more
            process.pass_time(WRITE_S + 1)
        assert state(connection) is State.CLOSED


def test_a_greeting_that_finds_no_room_waits_for_it(process: Process) -> None:
    client, connection = process.connect(sndbuf=4096)
    with client:
        sock = connection._sock
        full = 0
        with contextlib.suppress(BlockingIOError):
            while full < 64 * DRAIN_MAX:
                full += sock.send(b"x" * 4096)
        process.pass_time(SILENCE_S)
        while full:
            full -= len(client.recv(min(full, 65536)))
        process.settle()
        assert read(client) == GREETED
        client.sendall(b"doc\r\n")
        process.settle()
        assert read(client) == DOC


def test_after_the_end_there_is_time_to_read_it(
    process: Process, client_and_connection: Pair
) -> None:
    client, connection = client_and_connection
    client.sendall(b"quit\r\n" + b"more\r\n" * 500)
    process.settle()
    assert state(connection) is State.DRAINING
    client.sendall(b"and more\r\n")
    process.settle()
    assert read(client) == b"Goodbye.\r\n"
    process.pass_time(DRAIN_S)
    assert state(connection) is State.CLOSED


def test_what_is_drained_is_bounded(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(b"quit\r\n")
    process.settle()
    client.settimeout(0)
    sent = 0
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while sent < 64 * DRAIN_MAX:
            sent += client.send(b"x" * 65536)
    process.settle()
    assert state(connection) is State.CLOSED


def test_an_answer_that_is_waited_for(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    client.sendall(b"wait\r\ndoc\r\n")
    process.settle()
    (waiting,) = process.answers.waiting
    assert waiting.wanted == 1
    process.pass_time(IDLE_S + 1)  # the answer has a deadline of its own
    waiting.deliver(Part("one\n"))
    process.settle()
    assert (read(client), waiting.wanted) == (b"one\r\n", 2)
    waiting.deliver(Part("two\n", end=True))
    process.settle()
    assert read(client) == b"two\r\n" + DOC
    assert state(connection) is State.TALKING


@pytest.mark.parametrize("how", ["reset", "close"])
def test_an_answer_that_nobody_waits_for(
    process: Process, client_and_connection: Pair, how: str
) -> None:
    client, connection = client_and_connection
    client.sendall(b"wait\r\n" + b"x" * 2000)
    process.settle()
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        process.settle()
    else:
        connection.close()
    assert state(connection) is State.CLOSED
    (waiting,) = process.answers.waiting
    assert waiting.cancelled
    waiting.deliver(Part("too late\n", end=True))
    connection.close()
    connection.expire()


def test_an_answer_that_is_taken_back(process: Process, client_and_connection: Pair) -> None:
    client, _ = client_and_connection
    client.sendall(b"wait\r\n")
    process.settle()
    client.sendall(b"\x03")
    process.settle()
    assert process.answers.waiting[0].cancelled
    assert read(client).endswith(b"Cancelled.\r\n")
    client.sendall(b"doc\r\n")
    process.settle()
    assert read(client) == DOC


def test_the_end_of_input_does_not_cut_off_an_answer(
    process: Process, client_and_connection: Pair
) -> None:
    client, connection = client_and_connection
    client.sendall(b"wait\r\n")
    client.shutdown(socket.SHUT_WR)
    process.settle()
    process.answers.waiting[0].deliver(Part("here\n", end=True))
    process.settle()
    assert read(client) == b"here\r\n"
    assert state(connection) is State.CLOSED


@pytest.mark.parametrize(
    "said", [b"", b"G", b"doc\r\n", b"GET / HT", HALF_A_HANDSHAKE, b"quit\r\n", b"wait\r\n"]
)
def test_a_reset_at_any_moment(process: Process, client_and_connection: Pair, said: bytes) -> None:
    client, connection = client_and_connection
    client.sendall(said)
    process.settle()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    process.settle()
    assert state(connection) is State.CLOSED
    assert process.connections == {}


class Broken(Refusal):
    """A protocol with a bug."""

    closed = False
    hungry = True

    def receive_data(self, data: bytes) -> None:
        raise ValueError("a bug")


def test_a_bug_ends_its_connection_alone(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    make = process.make
    process.make = lambda way, greeted: Broken("")
    client.sendall(b"doc\r\n")
    process.settle()
    assert state(connection) is State.CLOSED
    assert [str(error) for error in process.bugs] == ["a bug"]
    process.bugs.clear()
    process.make = make
    other, _ = process.connect()
    with other:
        other.sendall(b"doc\r\n")
        process.settle()
        assert read(other) == DOC


def test_a_bug_in_an_answer_ends_its_connection(
    process: Process, client_and_connection: Pair
) -> None:
    client, connection = client_and_connection
    client.sendall(b"bug\r\n")
    process.settle()
    assert state(connection) is State.CLOSED
    assert [str(error) for error in process.bugs] == ["a bug in an answer"]
    process.bugs.clear()


def test_a_bug_in_what_is_made_of_an_answer_ends_its_connection(
    process: Process, client_and_connection: Pair
) -> None:
    """The monitor's answer comes by the desk, not by the epoll."""
    client, connection = client_and_connection
    client.sendall(b"wait\r\n")
    process.settle()
    process.answers.waiting[0].deliver(Part("", end=True))
    process.answers.waiting[0].deliver(Part("once more", end=True))
    assert [type(error) for error in process.bugs] == [RuntimeError]
    assert state(connection) is State.CLOSED
    process.bugs.clear()


def test_where_the_kernel_cannot_watch_one_more_it_ends(process: Process) -> None:
    """Its descriptor's number is the next one's: nothing of it may be left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        sock, address = listener.accept()
    process.epoll.register(sock.fileno(), 0)  # one descriptor twice: refused, as for want of memory
    connection = process.connections[sock.fileno()] = Connection(sock, address[0], HERE, process)
    connection.start()
    with client:
        assert client.recv(1) == b""
    assert state(connection) is State.CLOSED
    assert process.connections == {}


def shake_hands(process: Process, client: socket.socket) -> ssl.SSLSocket:
    """Return the TLS that a client has made of its connection; it does not block."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    client.setblocking(False)
    tls = ours.wrap_socket(client, do_handshake_on_connect=False)
    for _ in range(10):
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            process.settle()
    process.settle()
    return tls


def test_inside_tls(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    with shake_hands(process, client) as tls:
        tls.send(b"doc\r\n")
        process.settle()
        assert tls.recv(100) == DOC
        process.pass_time(IDLE_S - 1)
        assert state(connection) is State.TALKING
        process.pass_time(2)
        assert state(connection) is State.CLOSED
    assert [way for _, way in process.answers.asked] == ["tls"]


def test_silence_inside_tls_is_greeted(process: Process, client_and_connection: Pair) -> None:
    client, connection = client_and_connection
    with shake_hands(process, client) as tls:
        process.pass_time(SILENCE_S - 0.01)
        with pytest.raises(ssl.SSLWantReadError):
            tls.recv(100)
        process.pass_time(0.02)
        assert tls.recv(100) == GREETED
        process.pass_time(IDLE_S - 1)
        assert state(connection) is State.TALKING
        process.pass_time(2)
        assert state(connection) is State.CLOSED


def test_who_pipelines_waits_for_the_others_in_between(process: Process) -> None:
    """All at once they would be answered at the expense of whoever else is here, and of pings."""
    client, connection = process.connect()
    with client:
        process.answers.doc = "x" * 1000
        client.sendall(b"GET /doc HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        for turn in range(5):
            process.epoll.poll(1)
            connection.ready(select.EPOLLIN if not turn else select.EPOLLOUT)
        assert len(process.answers.asked) <= 5 * WRITES
        process.settle()
        assert read(client).count(b"200 OK") == len(process.answers.asked) == 60


def test_who_waits_for_its_turn_without_reading_is_given_up(process: Process) -> None:
    client, connection = process.connect()
    with client:
        client.sendall(b"GET /doc HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        process.epoll.poll(1)
        connection.ready(select.EPOLLIN)
        assert len(process.answers.asked) <= WRITES
        connection.expire()
        assert state(connection) is State.CLOSED


@pytest.mark.parametrize(
    "said", [b"GET /doc HTTP/1.1\r\nHost: x\r\n\r\n", HALF_A_HANDSHAKE, b"SSH-2.0-x\r\n"]
)
def test_who_spoke_while_we_were_stopped_was_not_silent(
    process: Process, client_and_connection: Pair, said: bytes
) -> None:
    """Else a browser would be greeted like a terminal, and TLS refused as too late."""
    client, connection = client_and_connection
    client.sendall(said)
    select.select([client], [], [], 0.05)
    connection.expire()
    process.settle()
    assert GREETED not in read(client)
    assert process.answers.asked or said != b"GET /doc HTTP/1.1\r\nHost: x\r\n\r\n"
