"""What holds for every protocol, whatever it speaks.

Two owners are played: an eager one, who answers and writes at once, and a late one, who does
nothing until nothing more is read. For each of them, any cut of the bytes must mean the same.
"""

import ssl
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.protocols.client import Client
from tests.protocols.transcript import GREETING, cut

from panicdoor.protocols.base import READ_MAX, WRITE_MAX, Part, Protocol, Request
from panicdoor.protocols.detect import Refusal
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import ORDER_MAX, Lines
from panicdoor.words import LINE_MAX

MAKERS: dict[str, Callable[[], Protocol]] = {
    "lines": lambda: Lines(GREETING),
    "lines greeted": lambda: Lines(GREETING, greeted=True),
    "http": Http,
    "refusal": lambda: Refusal("No."),
}

TYPED = [b"ping", b"help ping", b"!", b"quit", b"\n", b"\n", b"\r", b"\r\n", b"\r\0", b"\0", b" "]
KEYS = [b"\x03", b"\x04", b"\b", b"\x7f", b"\x15", b"\x80"]
ORDERS = [b"panicdoor order 1\n", b"sig: a ssh QUE=\n", b"do: ping\n", b"y" * 161]
ORDERS += [b"-----BEGIN SSH SIGNATURE-----\r\n", b"-----END SSH SIGNATURE-----\r\n"]
TELNET = [b"\xff", b"\xff\xf4", b"\xff\xf6", b"\xff\xfb\x01", b"\xff\xfa\x18", b"\xff\xf0"]
WEB = [b"GET ", b"HEAD ", b"PRI ", b"/", b"/help", b"?x", b" HTTP/1.1", b" HTTP/1.0", b"\r\n\r\n"]
WEB += [b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", b"Host: a\r\n", b"Content-Length: 4\r\n"]
WEB += [b"GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n", b"Transfer-Encoding: chunked\r\n"]
LAYERS = [b"SSH-2.0-x\r\n", b"\x16\x03\x01", b"G", b"S", b"\x16"]


def some(*fragments: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return data that walks the grammars: fragments that mean something, in any order."""
    choice = st.sampled_from([fragment for group in fragments for fragment in group])
    return st.lists(choice | st.binary(max_size=3), max_size=25).map(b"".join)


PLACES = st.lists(st.integers(0, 700), max_size=10)


class Owner:
    """Who has the socket, in short; what it came to know and what it wrote."""

    def __init__(self, protocol: Protocol, eager: bool) -> None:
        self.protocol = protocol
        self.eager = eager
        self.seen: list[Request] = []
        self.out = b""

    def work(self) -> None:
        """Answer and write until there is nothing to do."""
        protocol, more = self.protocol, True
        while more:
            more = False
            if protocol.cancelled():
                self.seen.append(Request(("cancelled",)))
            if request := protocol.next_request():
                more = True
                assert protocol.next_request() is None
                self.seen.append(request)
                protocol.send(Part(f"{request.words}\n"))
                protocol.send(Part("done", end=True, code=len(request.words) % 3))
            if data := protocol.data_to_send():
                more = True
                self.out += data

    def feed(self, data: bytes, places: list[int]) -> None:
        for piece in cut(data, places):
            while not self.protocol.hungry:
                if self.protocol.closed:
                    return
                self.work()
            self.protocol.receive_data(piece)
            if self.eager:
                self.work()

    def end(self) -> None:
        if not self.protocol.closed:
            self.protocol.receive_eof()
        self.work()
        assert self.protocol.closed
        assert not self.protocol.hungry
        assert self.protocol.next_request() is None
        assert self.protocol.data_to_send() == b""


def conversation(name: str, data: bytes, places: list[int], eager: bool) -> Owner:
    owner = Owner(MAKERS[name](), eager)
    owner.feed(data, places)
    owner.end()
    return owner


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=80, deadline=None)
@given(data=some(TYPED, KEYS, ORDERS, WEB, LAYERS), places=PLACES)
def test_any_cut_means_the_same_to_an_eager_owner(
    name: str, data: bytes, places: list[int]
) -> None:
    # Telnet's functions are out of band: when they act depends on how far the owner is.
    data = data.replace(b"\xff", b"")
    whole = conversation(name, data, [], eager=True)
    for other in (places, list(range(len(data)))):
        pieces = conversation(name, data, other, eager=True)
        assert pieces.seen == whole.seen
        assert pieces.out == whole.out


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=80, deadline=None)
@given(data=some(TYPED, KEYS, ORDERS, TELNET, WEB), places=PLACES)
def test_any_cut_means_the_same_to_a_late_owner(name: str, data: bytes, places: list[int]) -> None:
    whole = conversation(name, data, [], eager=False)
    for other in (places, list(range(len(data)))):
        pieces = conversation(name, data, other, eager=False)
        assert pieces.seen == whole.seen
        assert pieces.out == whole.out


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=some(TYPED, ORDERS, WEB, LAYERS), places=PLACES, records=PLACES)
def test_any_cut_means_the_same_inside_tls(
    context: ssl.SSLContext, data: bytes, places: list[int], records: list[int]
) -> None:
    """And it means what it means in the clear."""

    def inside(places: list[int], records: list[int]) -> tuple[list[Request], bytes]:
        client = Client(context).handshake()
        owner = Owner(client.door, eager=True)
        for piece in cut(data.replace(b"\xff", b""), records):
            client.ssl.write(piece)
        owner.feed(client.outgoing.read(), places)
        owner.end()
        client.incoming.write(owner.out)
        client.take()
        assert client.ended
        return owner.seen, client.read

    assert inside(places, records) == inside([], [])


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=80, deadline=None)
@given(
    happenings=st.lists(
        some(TYPED, KEYS, ORDERS, TELNET, WEB, LAYERS)
        | st.binary(min_size=1, max_size=200)
        | st.sampled_from(["silence", "work", "take", "part", "last", "write"]),
        max_size=20,
    )
)
def test_nothing_that_happens_raises(name: str, happenings: list[bytes | str]) -> None:
    protocol, answering = MAKERS[name](), False
    for happening in happenings:
        if isinstance(happening, bytes):
            if happening and not protocol.closed:
                protocol.receive_data(happening)
        elif happening == "silence":
            protocol.receive_silence()
        elif happening == "take":
            answering = protocol.next_request() is not None or answering
        elif happening in ("part", "last") and answering:
            protocol.send(Part("text", end=happening == "last"))
            answering = happening == "part"
        elif happening == "write":
            protocol.data_to_send()
        elif not answering:
            Owner(protocol, eager=True).work()
    if answering:
        protocol.send(Part("last", end=True))
    Owner(protocol, eager=True).end()


GET = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
FLOODS = {
    "a line without end": b"x" * READ_MAX,
    "empty lines": b"\r\n" * (READ_MAX // 2),
    "zeros": b"\0" * READ_MAX,
    "zeros in lines": b"\0\n" * (READ_MAX // 2),
    "commands": b"ping\n" * (READ_MAX // 5),
    "mistakes": b"!\n" * (READ_MAX // 2),
    "erasing": b"x\b" * 500 + b"\n",
    "refusals": b"\xff\xfb\x01" * (READ_MAX // 3),
    "questions": b"\xff\xf6" * (READ_MAX // 2),
    "interrupts": b"ping\n\xff\xf4",
    "a subnegotiation": b"\xff\xfa" + b"x" * (READ_MAX - 2),
    "orders": b"panicdoor order 1\n" + b"do: ping\n" * 400,
    "signatures": b"panicdoor order 1\n" + b"sig: a ssh x\n" * 300,
    "requests": GET * (READ_MAX // len(GET)),
    "pages": b"GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n" * 100,
    "a header": GET[:-2] + b"X: " + b"x" * (READ_MAX - 100),
    "headers": GET[:-2] + b"X: y\r\n" * 600,
    "a body": GET[:-2] + b"Content-Length: 999999999\r\n\r\n" + b"x" * 4000,
}

KEPT_MAX = READ_MAX + WRITE_MAX + ORDER_MAX + LINE_MAX + 4096  # the buffers, and what carries them


def kept(protocol: Protocol, flood: bytes, answers: bool) -> int:
    """Return the bytes kept after a flood whose sender never reads."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(64):
        if not protocol.hungry:
            break
        protocol.receive_data(flood[number % 2 :] if b"GET" not in flood else flood)
        if answers and protocol.next_request():
            protocol.send(Part("pong\n", end=True))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before


@pytest.mark.parametrize("answers", [False, True], ids=["unanswered", "answered"])
@pytest.mark.parametrize("flood", FLOODS)
def test_what_is_kept_for_a_flood_is_bounded(flood: str, answers: bool) -> None:
    for make in MAKERS.values():
        assert kept(make(), FLOODS[flood], answers) < KEPT_MAX


@pytest.mark.parametrize("flood", FLOODS)
def test_what_is_kept_for_a_flood_inside_tls_is_bounded(
    flood: str, context: ssl.SSLContext
) -> None:
    for answers in (False, True):
        client = Client(context).handshake()
        ciphertext = b""
        for _ in range(20):
            client.ssl.write(FLOODS[flood])
            ciphertext += client.outgoing.read()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for piece in cut(ciphertext, []):
            if not client.door.hungry:
                break
            client.door.receive_data(piece)
            if answers and client.door.next_request():
                client.door.send(Part("pong\n", end=True))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 2 * KEPT_MAX
        client.door.receive_eof()
        Owner(client.door, eager=True).work()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_waiting_to_be_written_is_given_once(name: str) -> None:
    protocol = MAKERS[name]()
    protocol.receive_silence()
    protocol.data_to_send()
    assert protocol.data_to_send() == b""
