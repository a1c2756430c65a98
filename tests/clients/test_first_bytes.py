"""What a bare socket may do first: a byte or none, in time or late, in the clear and inside TLS.

These are the rows of the table of first bytes, with the pauses that real networks and slow hands
put between them.
"""

import socket
import ssl
import time
from contextlib import ExitStack

import pytest
from tests.running import LOOPBACK, Door, read_all

Wire = socket.socket | ssl.SSLSocket
SOON = 0.4  # seconds; sooner than the door can have waited for silence
GREETED_S = 0.6  # seconds of silence after which the door speaks, from a client's first byte on
PATIENCE = 5.0  # seconds
LAST_OF_GREETING = b"Door key SHA256:"
ANY_WIRE = pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])


def connect(door: Door, tls: bool, host: str = LOOPBACK) -> Wire:
    plain = socket.create_connection((host, door.port), PATIENCE)
    if not tls:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def until(wire: Wire, text: bytes) -> bytes:
    """Read up to and with `text`, and everything that came with it."""
    found = b""
    while text not in found:
        data = wire.recv(65536)
        assert data, f"it ended after {found!r}"
        found += data
    return found


def greeting(wire: Wire) -> bytes:
    """Wait for the greeting, and return it whole."""
    text = until(wire, LAST_OF_GREETING)
    while b"\r\n" not in text.partition(LAST_OF_GREETING)[2]:
        text += wire.recv(65536)
    return text


def silent_for(wire: Wire, seconds: float) -> bool:
    """Say whether nothing comes for so long."""
    wire.settimeout(seconds)
    try:
        return wire.recv(1) == b"nothing"
    except TimeoutError:
        return True
    finally:
        wire.settimeout(PATIENCE)


def end(wire: Wire) -> bytes:
    """End our side and read the rest of theirs."""
    if isinstance(wire, ssl.SSLSocket):
        wire.sendall(b"quit\n")  # Python's TLS has no half-close
        return read_all(wire)
    wire.shutdown(socket.SHUT_WR)
    return read_all(wire)


@ANY_WIRE
def test_a_zero_byte_brings_the_manual_at_once_and_lines_go_on(house: Door, tls: bool) -> None:
    with connect(house, tls) as wire:
        begun = time.monotonic()
        wire.sendall(b"\0")
        text = until(wire, b"more: doc 2\r\n")
        assert time.monotonic() - begun < SOON
        assert text.startswith(b"PANICDOOR web1")  # and no greeting
        wire.sendall(b"ping\r\n")
        assert until(wire, b"UTC\r\n").startswith(b"pong from web1")


@ANY_WIRE
def test_a_late_zero_byte(house: Door, tls: bool) -> None:
    with connect(house, tls) as wire:
        assert greeting(wire).startswith(b"panicdoor of web1: ")
        assert silent_for(wire, 0.05)
        wire.sendall(b"\0")
        assert until(wire, b"more: doc 2\r\n").startswith(b"PANICDOOR web1")


@ANY_WIRE
def test_zero_bytes_one_after_the_other_are_one(house: Door, tls: bool) -> None:
    with connect(house, tls) as wire:
        wire.sendall(b"\0\0\0\0")
        assert until(wire, b"more: doc 2\r\n").count(b"1 of 2") == 1
        wire.sendall(b"ping\n")
        assert until(wire, b"UTC\r\n").startswith(b"pong from web1")


@ANY_WIRE
def test_silence_is_greeted_and_nothing_else_follows(house: Door, tls: bool) -> None:
    with connect(house, tls) as wire:
        begun = time.monotonic()
        text = greeting(wire)
        assert GREETED_S - 0.1 < time.monotonic() - begun < GREETED_S + 1
        assert b"\xff" not in text
        assert text.isascii()
        assert all(line.endswith(b"\r") for line in text.split(b"\n")[:-1])
        assert all(len(line) <= 80 for line in text.split(b"\r\n"))
        assert silent_for(wire, GREETED_S + 0.2)  # no second greeting, no prompt


@pytest.mark.parametrize("data", [b"", b"G", b"S", b"\x16"], ids=["nothing", "G", "S", "0x16"])
def test_the_end_of_input_at_once(house: Door, data: bytes) -> None:
    with connect(house, tls=False) as wire:
        begun = time.monotonic()
        if data:
            wire.sendall(data)
        wire.shutdown(socket.SHUT_WR)
        text = read_all(wire)
        assert time.monotonic() - begun < SOON
    if data:
        assert b"no command" in text or b"column 1: " in text
        assert len(text.splitlines()) == 1
    else:
        assert text.startswith(b"panicdoor of web1: ")
        assert text.index(LAST_OF_GREETING) < text.index(b"1 of 2") < text.index(b"2 of 2")


def test_the_end_of_tls_at_once(house: Door) -> None:
    with connect(house, tls=True) as wire:
        assert isinstance(wire, ssl.SSLSocket)
        with pytest.raises(ssl.SSLError, match="AFTER_CLOSE_NOTIFY"):
            wire.unwrap()  # Python's TLS has no half-close: it does not expect an answer any more
    assert house.documented()


@ANY_WIRE
def test_a_beginning_then_silence_makes_it_a_line(house: Door, tls: bool) -> None:
    firsts = [b"G", b"S", b"GE", b"SSH", b"H", b"P"]
    with ExitStack() as stack:
        wires = [(first, stack.enter_context(connect(house, tls))) for first in firsts]
        for first, wire in wires:
            wire.sendall(first)
        assert silent_for(wires[-1][1], GREETED_S + 0.2)
        for first, wire in wires:
            wire.sendall(b"x\r\n")
            assert until(wire, b"\r\n") == b"no command '%sx'; type: help\r\n" % first
            wire.sendall(b"ping\r\n")
            assert until(wire, b"\r\n").startswith(b"pong from web1")


def test_the_first_byte_of_tls_then_silence_makes_it_a_line(house: Door) -> None:
    with connect(house, tls=False) as wire:
        wire.sendall(b"\x16")
        assert silent_for(wire, GREETED_S + 0.2)
        wire.sendall(b"\r\n")
        assert until(wire, b"\r\n").startswith(b"column 1: ")


@ANY_WIRE
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"G", b"ET /about.txt HTTP/1.0\r\n\r\n"], b"HTTP/1.1 200 OK\r\n"),
        ([b"GET", b" ", b"/about.txt", b" HTTP/1.0\r\n\r\n"], b"HTTP/1.1 200 OK\r\n"),
        ([b"H", b"EAD / HTTP/1.0\r\n\r\n"], b"HTTP/1.1 200 OK\r\n"),
        ([b"P", b"ING\n"], b"no command 'PING'; type: help\r\n"),
        ([b"p", b"ing\n"], b"pong from web1"),
        ([b"S", b"SH-2.0-slow\r\n"], b""),
    ],
)
def test_a_beginning_then_in_time_the_rest(
    house: Door, tls: bool, pieces: list[bytes], expected: bytes
) -> None:
    with connect(house, tls) as wire:
        for piece in pieces[:-1]:
            wire.sendall(piece)
            assert silent_for(wire, 0.1)
        wire.sendall(pieces[-1])
        if not expected:
            inside = b"ssh inside TLS is not spoken here: use ssh without TLS.\r\n"
            expected = inside if tls else b"SSH-2.0-panicdoor "
        assert until(wire, b"\n").startswith(expected)


def test_a_handshake_in_pieces(house: Door) -> None:
    """The first record of a real TLS client, a few bytes at a time, is TLS all the same."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with connect(house, tls=False) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (hello[:1], hello[1:2], hello[2:200]):
            wire.sendall(piece)
            assert silent_for(wire, 0.1)
        wire.sendall(hello[200:])
        assert wire.recv(2) == b"\x16\x03"


@ANY_WIRE
@pytest.mark.parametrize(
    ("first", "reply"),
    [
        (b"\xff\xfd\x01", b"\xff\xfc\x01"),  # DO ECHO: WONT
        (b"\xff\xfb\x1f", b"\xff\xfe\x1f"),  # WILL NAWS: DONT
        (b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0", b""),
        (b"\xff", b""),
    ],
    ids=["do", "will", "subnegotiation", "alone"],
)
def test_an_iac_first_is_greeted_at_once(
    house: Door, tls: bool, first: bytes, reply: bytes
) -> None:
    with connect(house, tls) as wire:
        begun = time.monotonic()
        wire.sendall(first)
        text = greeting(wire)
        assert time.monotonic() - begun < SOON
        if reply and reply not in text:
            text += until(wire, reply)
        assert text.replace(reply, b"").isascii()
        wire.sendall(b"\xf1ping\r\n" if first == b"\xff" else b"ping\r\n")  # IAC NOP
        assert until(wire, b"UTC\r\n").startswith(b"pong from web1")


ORDER = (
    b"panicdoor order 1\ndoor: web1 SHA256:x\nfresh: challenge x\nby: YOU\ndo: ping\nwhy: test\n"
    b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"
)


@ANY_WIRE
@pytest.mark.parametrize("cut", [0, 1, 9, 20, len(ORDER) - 1])
def test_an_order_pasted_gets_one_line(house: Door, tls: bool, cut: int) -> None:
    with connect(house, tls) as wire:
        if cut:
            wire.sendall(ORDER[:cut])
            assert silent_for(wire, 0.05)
        wire.sendall(ORDER[cut:])
        assert until(wire, b"\r\n") == b"refused: this door takes no orders yet\r\n"
        wire.sendall(b"ping\n")
        assert until(wire, b"\r\n").startswith(b"pong from web1")


def test_an_order_without_a_signature(house: Door) -> None:
    with connect(house, tls=False) as wire:
        wire.sendall(ORDER[: ORDER.index(b"-----")])
        text = end(wire)
    assert text == b"The order has no signature, or only half of one. Nothing was done.\r\n"


def test_tls_in_tls(house: Door) -> None:
    with connect(house, tls=True) as wire:
        wire.sendall(b"\x16\x03\x01\x00\x05hello")
        text = read_all(wire)
    assert text == b"TLS inside TLS is not spoken here: one layer is enough.\r\n"


@ANY_WIRE
def test_a_late_request_is_still_answered(house: Door, tls: bool) -> None:
    """It has a greeting too many, but somebody who types it by hand reads it."""
    with connect(house, tls) as wire:
        greeting(wire)
        wire.sendall(b"GET /about.txt HTTP/1.0\r\n\r\n")
        assert read_all(wire).startswith(b"HTTP/1.1 200 OK\r\n")


def test_late_tls(house: Door) -> None:
    with connect(house, tls=False) as wire:
        greeting(wire)
        wire.sendall(b"\x16\x03\x01\x00\x05hello")
        assert read_all(wire) == b"Too late for TLS: connect again and begin with it at once.\r\n"


def test_a_tls_client_that_stops_half_way_harms_nobody(house: Door) -> None:
    with connect(house, tls=False) as wire:
        wire.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert silent_for(wire, 0.1)
        assert house.documented()
        wire.shutdown(socket.SHUT_WR)
        assert read_all(wire) == b""


@ANY_WIRE
@pytest.mark.parametrize("line", [b"quit", b"exit", b"bye"])
def test_leaving(house: Door, tls: bool, line: bytes) -> None:
    with connect(house, tls) as wire:
        wire.sendall(line + b"\r\n")
        assert read_all(wire) == b"Goodbye.\r\n"
