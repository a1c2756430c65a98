"""The kernel's own choice between real sockets, by the first byte."""

import socket
from collections.abc import Iterator

import pytest

from panicdoor.kernel.reuseport import program, steer

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture(params=LOOPBACK, ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[list[socket.socket]]:
    """Two sockets bound to one port of loopback, in this order."""
    pair = []
    port = 0
    for _ in range(2):
        sock = socket.socket(request.param, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((LOOPBACK[request.param], port))
        sock.setblocking(False)
        port = sock.getsockname()[1]
        pair.append(sock)
    yield pair
    for sock in pair:
        sock.close()


def received(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(2048))
        except BlockingIOError:
            return found


def send(to: socket.socket, payloads: list[bytes]) -> None:
    """Send each from a source port of its own, so that the kernel's hash would mix them."""
    for payload in payloads:
        with socket.socket(to.family, socket.SOCK_DGRAM) as sock:
            sock.sendto(payload, to.getsockname())


def test_the_first_byte_of_the_payload_decides(pair: list[socket.socket]) -> None:
    steer(pair[0], {0x00: 0}, other=1)
    manuals = [bytes((0, n)) + bytes(n) for n in range(40)]
    others = [bytes((n,)) + bytes(40) for n in range(1, 256, 5)] + [b"panicdoor order 1\n"]
    send(pair[0], manuals + others)
    assert received(pair[0]) == manuals
    assert received(pair[1]) == others


def test_every_listed_byte_has_its_queue(pair: list[socket.socket]) -> None:
    steer(pair[1], {0x00: 1, 0x70: 1}, other=0)
    send(pair[0], [b"\x00", b"\x01", b"p", b"q"] * 5)
    assert received(pair[0]) == [b"\x01", b"q"] * 5
    assert received(pair[1]) == [b"\x00", b"p"] * 5


def test_an_empty_datagram_goes_to_the_first(pair: list[socket.socket]) -> None:
    steer(pair[0], {0x00: 0}, other=1)
    send(pair[0], [b""] * 10)
    assert received(pair[0]) == [b""] * 10


def test_a_large_datagram_is_steered_too(pair: list[socket.socket]) -> None:
    steer(pair[0], {0x00: 0}, other=1)
    payloads = [b"\x01" + bytes(60_000)] * 2
    send(pair[0], payloads)
    assert [data[:1] for data in received(pair[1])] == [b"\x01"] * 2


def test_a_socket_outside_a_group_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Invalid argument"):
            steer(sock, {0x00: 0}, other=1)


def test_a_program_is_instructions_of_eight_bytes() -> None:
    assert len(program({0: 0, 1: 1}, other=2)) == 6 * 8


def test_a_queue_that_does_not_exist_loses_nothing(pair: list[socket.socket]) -> None:
    steer(pair[0], {}, other=2)
    send(pair[0], [b"\x00"] * 20)
    assert received(pair[0]) + received(pair[1]) == [b"\x00"] * 20
