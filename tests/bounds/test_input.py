"""What is too long, endless, unintelligible or half: a short answer or an end, and no memory."""

import random
import socket
import ssl
import time
from contextlib import ExitStack

import pytest
from tests.bounds.harm import FLAT, come_from, has_ended, no_harm, until_closed
from tests.everyone import PATIENCE, client_context, talk, talk_inside
from tests.running import Door, read_all

MOST = 64 << 20  # bytes that nobody takes from an offender
TOGETHER = 8  # offenders at once
TLS_EACH = 40  # KiB that one connection may cost
ENDLESS = {
    "a line": (b"", b"x" * 4096, b"Too long: a line may have 1024 characters."),
    "a line with NULs": (b"x", b"\0" * 4096, b"Too long"),
    "a subnegotiation": (b"\xff\xfa\x18", b"x" * 4096, b"subnegotiation may have 512 bytes"),
    "telnet options": (b"", b"\xff\xfd\x01\xff\xfb\x18" * 600, b"may have 2000 telnet commands."),
    "are you there": (b"", b"\xff\xf6" * 2000, b"may have 2000 telnet commands."),
    "an order": (b"panicdoor order 1\n", b"why: " + b"y" * 90 + b"\n", b"an order may have 8192"),
    "an order's line": (b"panicdoor order 1\n", b"y" * 4096, b"a line of an order may have 160"),
    "a header": (b"GET / HTTP/1.1\r\nX: ", b"y" * 4096, b" 431 "),
    "headers": (b"GET / HTTP/1.1\r\n", b"X-Y: z\r\n" * 500, b" 431 "),
    "an address": (b"GET /", b"y" * 4096, b" 414 "),
    "a body": (
        b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 999999999\r\n\r\n",
        b"y" * 4096,
        b" 405 ",
    ),
    "chunks": (
        b"GET / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4\r\nbody\r\n" * 400,
        b" 200 ",
    ),
    "a handshake": (b"\x16\x03\x01\x3f\xff\x01\x00\xff\xff", b"y" * 4096, b""),
    "an ssh banner": (b"SSH-2.0-", b"y" * 4096, b"SSH-2.0-panicdoor"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "on", "answer"), ENDLESS.values(), ids=ENDLESS)
def test_endless(plain_door: Door, first: bytes, on: bytes, answer: bytes) -> None:
    with no_harm(plain_door), ExitStack() as connected:
        clients = [connected.enter_context(plain_door.connect()) for _ in range(TOGETHER)]
        for client in clients:
            client.sendall(first)
        answers = [until_closed(client, on, MOST)[0] for client in clients]
    # A client that goes on sending may lose the answer to a reset: most do not.
    assert sum(answer in said for said in answers) >= 1


def test_bytes_of_every_kind(plain_door: Door) -> None:
    dice = random.Random(903)
    beginnings = (b"", b"\0", b"\xff", b"GET /", b"\x16\x03\x01", b"SSH-", b"panicdoor order 1\n")
    with no_harm(plain_door):
        for _ in range(150):
            data = dice.choice(beginnings) + dice.randbytes(dice.randrange(6000))
            talk(plain_door, data)
        for _ in range(30):
            talk_inside(plain_door, dice.choice(beginnings) + dice.randbytes(dice.randrange(6000)))


def client_hello() -> bytes:
    """Return the first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_tls_client_that_stops_half_way(plain_door: Door) -> None:
    hello = client_hello()
    cuts = [1, 2, 3, 5, 6, 11, 50, len(hello) // 2, len(hello) - 1, len(hello)]
    with no_harm(plain_door, FLAT + len(cuts) * TOGETHER * TLS_EACH), ExitStack() as connected:
        stuck = [connected.enter_context(plain_door.connect()) for _ in cuts * TOGETHER]
        for client, cut in zip(stuck, cuts * TOGETHER, strict=True):
            client.sendall(hello[:cut])
        # Inside, one that shook hands and then stops in the middle of a record.
        plain = connected.enter_context(plain_door.connect())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing)
        shaken = False
        while not shaken:
            try:
                tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        tls.write(b"help\r\n" * 100)
        plain.sendall(outgoing.read()[:-1])
        # Whoever ends there is told nothing or an alert, and is gone.
        for client in [*stuck, plain]:
            client.shutdown(socket.SHUT_WR)
        assert all(has_ended(client) for client in [*stuck, plain])


def test_tls_inside_tls(plain_door: Door) -> None:
    with no_harm(plain_door):
        said = talk_inside(plain_door, client_hello())
    assert said == b"TLS inside TLS is not spoken here: one layer is enough.\r\n"


@pytest.mark.parametrize(
    "text", [b"help\r\nquit\r\n", b"GET / HTTP/1.0\r\n\r\n"], ids=["text", "http"]
)
def test_a_byte_every_tenth_of_a_second(plain_door: Door, text: bytes) -> None:
    with no_harm(plain_door), ExitStack() as connected:
        clients = [connected.enter_context(plain_door.connect()) for _ in range(40)]
        for i in range(len(text)):
            time.sleep(0.1)
            for client in clients:
                client.sendall(text[i : i + 1])
        answers = {read_all(client) for client in clients}
    assert {b"ping" in said for said in answers} == {True}


def test_a_client_that_only_hangs_up(plain_door: Door) -> None:
    with no_harm(plain_door):
        for _ in range(50):
            with come_from(plain_door, "127.0.0.2", PATIENCE) as client:
                client.shutdown(socket.SHUT_WR)
                assert b"PANICDOOR" in read_all(client)
