"""Clients that ask and do not read: they keep their slot for a while, and cost no more than it."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.bounds.harm import FLAT, no_harm
from tests.everyone import PATIENCE, client_context
from tests.running import LOOPBACK, Door, read_all

SLOW = 8  # at once
BUFFER = 64 << 10  # bytes that the client's kernel takes before it says stop
PUSHED = 8 << 20  # bytes that no client gets rid of
STUCK_S = 0.05  # seconds after which nothing more is taken
UNREAD = 64  # KiB that each may have waiting in a process: TLS records, and a part of an answer
READ = 2 << 20  # bytes; more than all buffers had together
UNSENT = 128 << 10  # bytes that the kernel keeps for each, in either direction
HTTP = b"GET / HTTP/1.1\r\nHost: door\r\nAccept: text/html\r\n\r\n"
REQUESTS = 100  # of one connection, by HTTP


def connect(door: Door) -> socket.socket:
    """Return a connection whose client lets little wait for it."""
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    client.settimeout(PATIENCE)
    client.connect((LOOPBACK, door.port))
    return client


def push(client: socket.socket, data: bytes) -> None:
    """Send `data` again and again until nothing more is taken."""
    send: Callable[[bytes], int] = client.send
    client.settimeout(STUCK_S)
    sent = 0
    with contextlib.suppress(TimeoutError, ssl.SSLWantWriteError):
        while sent < PUSHED:
            sent += send(data)
    assert sent < PUSHED
    client.settimeout(PATIENCE)


def queued(door: Door) -> int:
    """Return the bytes that wait in the busiest of the door's connections: proc_net_tcp."""
    most = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{door.port:04X}") and fields[3] == "01":
            most = max(most, *(int(size, 16) for size in fields[4].split(":")))
    return most


@pytest.mark.parametrize(
    "text", [b"doc\r\n", b"doc --json\r\n", b"\0\r\n"], ids=["doc", "json", "zero"]
)  # fmt: skip
def test_text(plain_door: Door, text: bytes) -> None:
    with no_harm(plain_door, FLAT + SLOW * UNREAD), ExitStack() as connected:
        clients = [connected.enter_context(connect(plain_door)) for _ in range(SLOW)]
        for client in clients:
            push(client, text * 200)
        assert queued(plain_door) < UNSENT
        # And when it reads at last, the door goes on.
        said = 0
        while said < READ:
            said += len(clients[0].recv(65536))


def test_http(plain_door: Door) -> None:
    with no_harm(plain_door, FLAT + SLOW * UNREAD), ExitStack() as connected:
        clients = [connected.enter_context(connect(plain_door)) for _ in range(SLOW)]
        for client in clients:
            client.sendall(HTTP * REQUESTS)
        said = read_all(clients[0])
        assert queued(plain_door) < UNSENT
    assert said.count(b"HTTP/1.1 200 OK\r\n") == REQUESTS
    assert said.count(b"</html>") == REQUESTS


@pytest.mark.parametrize(
    ("text", "answer"), [(b"doc\r\n", b"PANICDOOR"), (HTTP, b"</html>")], ids=["text", "http"]
)
def test_tls(plain_door: Door, text: bytes, answer: bytes) -> None:
    with no_harm(plain_door, FLAT + SLOW * 2 * UNREAD), ExitStack() as connected:
        clients = []
        for _ in range(SLOW):
            plain = connected.enter_context(connect(plain_door))
            client = connected.enter_context(client_context().wrap_socket(plain))
            client.sendall(text * REQUESTS)
            clients.append(client)
        said = b""
        while said.count(answer) < REQUESTS:
            said += clients[0].recv(65536)
        assert queued(plain_door) < UNSENT


def test_one_who_reads_a_little_at_a_time(plain_door: Door) -> None:
    """The door goes on exactly where it stopped."""
    with no_harm(plain_door), connect(plain_door) as client:
        client.sendall(b"help\r\n" * 1000)
        client.shutdown(socket.SHUT_WR)
        said = b""
        while piece := client.recv(1999):
            said += piece
    assert said == said[: len(said) // 1000] * 1000
