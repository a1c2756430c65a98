"""Datagrams as they go over the wire: how much comes back, to whom, and who is left with nothing.

Each client has a /24 of its own, so that nobody lives on another's budget but where that is asked.
"""

import itertools
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.bounds.harm import no_harm
from tests.everyone import ask, fresh_source
from tests.running import LOOPBACK, ROOT, Door, running

from panicdoor.kernel.sockets import IP_PKTINFO
from panicdoor.protocols.datagram import (
    ANSWERS_RATE,
    BUSY_RATE,
    DATAGRAM_MAX,
    HEADERS,
    HINTS_BURST,
    HINTS_RATE,
    LINE_MAX,
    PAGE_REQUEST_MIN,
    PAGES_RATE,
    PREFIX_BURST,
    PREFIX_RATE,
    most,
)

ORDER = b"panicdoor order 1\ndoor: web1\n"
FORMS: dict[str, Callable[[int], bytes]] = {
    "zeros": bytes,
    "a page": lambda size: b"\0\3".ljust(size, b"\0")[:size],
    "help": lambda size: b"\1help".ljust(size, b"\0")[:size],
    "ping": lambda size: b"\1ping".ljust(size, b"\n")[:size],
    "words": lambda size: (b"\1order " + b"x" * size)[:size],
    "an order": lambda size: ORDER.ljust(size, b"\n")[:size],
    "nothing known": lambda size: b"\2" * size,
    "text": lambda size: b"GET / HTTP/1.1\r\n".ljust(size, b"x")[:size],
}
# Every short size, and the long ones where something changes; in all what the budgets allow.
SIZES = (*range(48), *range(48, 400, 22), 381, 382, 383, 399, 400, 800, 1199, 1200)
TOO_LONG = (1201, 1202, 1400, 1472, 1500)
QUIET_S = 0.3  # seconds after which nothing more comes
FLOOD_S = 1.5
PKTINFO = struct.Struct("=I4s4s")
SLACK = 1.2  # of a budget, for the time that passes while a flood is counted


@pytest.fixture
def unasked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door whose budgets nobody has touched."""
    with running(tmp_path_factory.mktemp("unasked") / "door") as door:
        yield door


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_answer_is_larger_than_its_request_allows(
    plain_door: Door, form: Callable[[int], bytes]
) -> None:
    answers: dict[int, bytes] = {}
    with ExitStack() as opened:
        clients = {}
        for size in SIZES + TOO_LONG:
            client = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.bind((fresh_source(), 0))
            client.sendto(form(size), (LOOPBACK, plain_door.port))
            clients[client] = size
        while ready := select.select(list(clients), [], [], QUIET_S)[0]:
            for client in ready:
                assert clients[client] not in answers, "two answers"
                answers[clients[client]] = client.recv(65536)
    for size, answer in answers.items():
        assert len(answer) <= min(DATAGRAM_MAX, 3 * (size + HEADERS) - HEADERS)
        assert answer.isascii()
    assert not answers.keys() & {0, *TOO_LONG}
    assert len(answers.get(1, b"")) <= LINE_MAX
    if form not in (FORMS["nothing known"], FORMS["text"]):
        assert len(answers) > 40
    else:
        assert answers == {}


def test_a_page_is_earned(plain_door: Door) -> None:
    hint = ask(plain_door, b"\0" * (PAGE_REQUEST_MIN - 1), fresh_source())
    page = ask(plain_door, b"\0" * PAGE_REQUEST_MIN, fresh_source())
    assert hint == ask(plain_door, b"\0", fresh_source())
    assert hint is not None
    assert len(hint) == LINE_MAX
    assert page is not None
    assert page.startswith(b"panicdoor web1 page 1/")
    assert b"\nfresh: challenge " in page


@pytest.mark.skipif(not ROOT, reason="only root has low ports")
def test_low_source_ports_are_never_answered(plain_door: Door) -> None:
    low = [port for port in (1, 7, 19, 53, 123, 161, 903, 1023) if port != plain_door.port]
    for port in low:
        for data in (b"\0", b"\0" * 400, b"\1ping".ljust(400, b"\0"), ORDER + b"sig: x\n" * 20):
            assert ask(plain_door, data, fresh_source(), port, wait=0.02) is None
    assert ask(plain_door, b"\0", fresh_source(), 1024, wait=2) is not None


class Flood:
    """Packets from many addresses by one socket, as fast as it goes, and what comes back.

    On loopback a socket may send from any 127.x address (IP_PKTINFO), and hears what is sent back.
    """

    def __init__(self, door: Door, data: bytes, prefixes: int, network: int) -> None:
        self.received: Counter[str] = Counter()
        self.sent = 0
        self._door = door
        self._data = data
        self._sources = itertools.cycle(
            socket.inet_aton(f"127.{network + i // 250}.{i % 250}.9") for i in range(prefixes)
        )
        self._over = threading.Event()
        self._threads = [threading.Thread(target=act) for act in (self._send, self._receive)]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("0.0.0.0", 0))
        self._socket.settimeout(QUIET_S)

    def __enter__(self) -> "Flood":
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        left = self._begun + FLOOD_S - time.monotonic()
        self._over.wait(max(0.0, left))
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.lasted = time.monotonic() - self._begun
        self._socket.close()

    def _send(self) -> None:
        to = (LOOPBACK, self._door.port)
        while not self._over.is_set():
            for source in itertools.islice(self._sources, 64):
                info = PKTINFO.pack(0, source, bytes(4))
                self._socket.sendmsg([self._data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, to)
                self.sent += 1

    def _receive(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65536, 64)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            prefix = socket.inet_ntoa(ancillary[0][2][8:12]).rpartition(".")[0]
            self.received[prefix] += len(data) + HEADERS


def insist(door: Door, data: bytes) -> bytes:
    """Ask from a prefix that has asked nothing yet, as often as a client would."""
    source = fresh_source()
    for _ in range(20):
        answer = ask(door, data, source, wait=0.1)
        if answer is not None:
            return answer
    return b""


PAGE = b"\0\1".ljust(400, b"\0")
COMMAND = b"\1ping".ljust(400, b"\0")


def test_a_flood_from_one_prefix(unasked: Door) -> None:
    with no_harm(unasked), Flood(unasked, PAGE, 1, 200) as flood:
        assert b"page 2/" in insist(unasked, PAGE)
        assert b"pong from web1" in insist(unasked, COMMAND)
        assert len(insist(unasked, b"\0")) == LINE_MAX
    allowed = PREFIX_BURST + BUSY_RATE + (PREFIX_RATE + BUSY_RATE) * flood.lasted
    assert PREFIX_BURST / 2 < flood.received.total() <= allowed * SLACK
    assert flood.sent > 10 * flood.received.total() / len(PAGE)


@pytest.mark.parametrize(
    ("data", "rate", "burst"),
    [
        (PAGE, PAGES_RATE, PAGES_RATE),
        (COMMAND, ANSWERS_RATE, ANSWERS_RATE),
        (b"\0", HINTS_RATE, HINTS_BURST),
    ],
    ids=["pages", "commands", "hints"],
)
def test_a_flood_from_many_prefixes(unasked: Door, data: bytes, rate: int, burst: int) -> None:
    with no_harm(unasked), Flood(unasked, data, 3000, 200) as flood:
        # What is flooded is bounded; everything else has a budget of its own.
        if data != PAGE:
            assert b"page 2/" in insist(unasked, PAGE)
        if data != COMMAND:
            assert b"pong from web1" in insist(unasked, COMMAND)
        assert b"this door takes no orders yet" in insist(unasked, ORDER + b"sig: x\n" * 40)
    allowed = burst + rate * flood.lasted + BUSY_RATE * (1 + flood.lasted)
    assert burst / 4 < flood.received.total() <= allowed * SLACK
    assert max(flood.received.values()) <= PREFIX_BURST + PREFIX_RATE * flood.lasted + BUSY_RATE
    assert flood.sent > 20_000


def test_many_addresses_of_one_prefix_share_its_budget(unasked: Door) -> None:
    with ExitStack() as opened:
        clients = []
        for i in range(60):
            client = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.bind((f"127.60.0.{i + 1}", 0))
            client.sendto(PAGE, (LOOPBACK, unasked.port))
            clients.append(client)
        got = []
        while ready := select.select(clients, [], [], QUIET_S)[0]:
            got += [client.recv(65536) for client in ready]
    pages = [answer for answer in got if b"page 2/" in answer]
    # Each is paid for as the longest that it could have been.
    assert len(pages) == PREFIX_BURST // (DATAGRAM_MAX + HEADERS)
    assert b"page 2/" in insist(unasked, PAGE)


def test_a_broadcast_is_never_answered(tmp_path: Path) -> None:
    """And what is not one is answered from the address that was asked."""
    with running(tmp_path / "door", listen=("0.0.0.0", "::")) as door:
        for data in (b"\0", PAGE, COMMAND):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                client.bind((fresh_source(), 0))
                client.settimeout(2)
                client.sendto(data, ("127.255.255.255", door.port))
                client.sendto(data, ("127.5.5.5", door.port))
                assert client.recvfrom(65536)[1] == ("127.5.5.5", door.port)
                client.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    client.recv(65536)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            for group in ("ff01::1", "ff02::1"):
                with suppress(OSError):  # a network that has no such groups
                    client.sendto(PAGE, (group, door.port, 0, socket.if_nametoindex("lo")))
            client.sendto(PAGE, ("::1", door.port))
            assert client.recvfrom(65536)[1][:2] == ("::1", door.port)
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(65536)


def test_the_factor_is_what_the_door_says() -> None:
    assert [most(size) for size in (1, 381, 382, 400, 1200)] == [59, 1199, 1200, 1200, 1200]
