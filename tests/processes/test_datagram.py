"""The udp frontend in a process of its own; the test is its monitor, and its clients."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.places import End, Places, opened
from tests.running import LOOPBACK, wait_for

from panicdoor.messages import Answer, Ask, Ping, Pong
from panicdoor.processes.datagram import BATCH, CHALLENGE_S
from panicdoor.protocols.datagram import DATAGRAM_MAX, PADDED, ask_for
from panicdoor.roles import SUPERVISOR

CHALLENGE = "aadq-caqd-6enx-hcig-x4ir-mkkx"
ORDER = b"panicdoor order 1\ndoor: web1\nsig: alice ssh AAAA\n"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with opened(tmp_path_factory.mktemp("datagram") / "door") as found:
        found.fill("datagram")
        supervisor = found.end(SUPERVISOR, "datagram")
        supervisor.say(Ping(1))
        supervisor.hear(Pong)  # its warm-up is over
        found.end("monitor", "datagram").waiting()
        yield found


@pytest.fixture
def monitor(places: Places) -> Iterator[End]:
    """What the monitor hears, from now on."""
    end = places.end("monitor", "datagram")
    end.waiting()
    yield end
    assert places.lives("datagram")


class Client:
    """A client with an address of its own."""

    _prefixes = iter(range(1, 250))

    def __init__(self, places: Places) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.network = f"127.90.{next(self._prefixes)}"
        self.socket.bind((f"{self.network}.1", 0))
        self.socket.settimeout(2)
        self._door = (LOOPBACK, places.port)

    def say(self, data: bytes) -> None:
        self.socket.sendto(data, self._door)

    def hear(self) -> bytes:
        return self.socket.recv(65536)

    def hears_nothing(self, seconds: float = 0.1) -> bool:
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(2)
        return False


@pytest.fixture
def client(places: Places) -> Iterator[Client]:
    made = Client(places)
    with made.socket:
        yield made


def reply(ask: Ask, text: str, end: bool = True, code: int = 0) -> Answer:
    return Answer(ask.id, ask.epoch, text, end, code)


def test_a_page_has_a_challenge_of_the_prefix(client: Client, monitor: End) -> None:
    client.say(ask_for(0))
    ask = monitor.hear(Ask)
    assert (ask.words, ask.way, ask.scope) == (("challenge",), "udp", f"{client.network}.0/24")
    monitor.say(reply(ask, CHALLENGE + "\n"))
    assert f"\nfresh: challenge {CHALLENGE}\n".encode() in client.hear()


@pytest.mark.parametrize("answers", ["too late", "with an error"])
def test_a_page_goes_without_a_challenge(client: Client, monitor: End, answers: str) -> None:
    client.say(ask_for(0))
    ask = monitor.hear(Ask)
    begun = time.monotonic()
    if answers == "with an error":
        monitor.say(reply(ask, "no challenge is at hand\n", code=1))
    page = client.hear()
    assert time.monotonic() - begun < CHALLENGE_S + 0.5
    assert b"fresh: challenge" not in page
    assert b"\\1challenge" in page
    monitor.say(reply(ask, CHALLENGE + "\n"))
    assert client.hears_nothing()


def test_other_pages_ask_nobody(client: Client, monitor: End) -> None:
    client.say(ask_for(1))
    assert b" page 2/" in client.hear()
    client.say(ask_for(255))
    monitor.say(reply(monitor.hear(Ask), CHALLENGE))
    assert b" page 1/" in client.hear()
    assert monitor.waiting() == []


def test_a_command_for_the_monitor(client: Client, monitor: End) -> None:
    client.say(b"\1ping\n".ljust(PADDED, b"\0"))
    ask = monitor.hear(Ask)
    assert (ask.words, ask.way) == (("ping",), "udp")
    monitor.say(reply(ask, "pong \x1b one\n", end=False))
    monitor.say(reply(ask, "two\n"))
    assert client.hear() == b"pong \\x1b one\ntwo\n"


def test_an_answer_too_long_for_its_request(client: Client, monitor: End) -> None:
    client.say(b"\1ping")
    monitor.say(reply(monitor.hear(Ask), "x" * 200))
    assert client.hear() == b"panicdoor: pad the request with zero bytes to 400\n"
    client.say(b"\1ping".ljust(PADDED, b"\0"))
    ask = monitor.hear(Ask)
    monitor.say(reply(ask, "x" * (DATAGRAM_MAX + 1), end=False))
    assert client.hear().startswith(b"panicdoor: too long for a datagram, use tcp ")
    # Nothing more of it is wanted, whatever comes.
    monitor.say(reply(ask, "more\n"))
    assert client.hears_nothing()


def test_an_order_goes_to_the_monitor_as_it_is(client: Client, monitor: End) -> None:
    client.say(ORDER)
    ask = monitor.hear(Ask)
    assert (ask.order, ask.words) == (ORDER.decode(), ())
    monitor.say(reply(ask, "refused\n", code=1))
    assert client.hear() == b"refused\n"


def test_answers_to_nobody_are_nothing(client: Client, monitor: End) -> None:
    client.say(b"\1ping".ljust(PADDED, b"\0"))
    ask = monitor.hear(Ask)
    monitor.say(
        Answer(ask.id + 1000, ask.epoch, "for another\n", True),
        Answer(ask.id, ask.epoch + 1, "for a predecessor\n", True),
        reply(ask, "for it\n"),
        reply(ask, "once more\n"),
    )
    assert client.hear() == b"for it\n"
    assert client.hears_nothing()


def test_what_is_wrong_is_answered_here(client: Client, monitor: End) -> None:
    for data, answer in (
        (b"\1no such", b"no command 'no'; type: help\n"),
        (b"\1doc x", b"PAGE is a number, not 'x'\n"),
        (b"\1\xff", b"panicdoor: words after 0x01 are like: help, ping\n"),
    ):
        client.say(data)
        assert client.hear() == answer
    for data in (b"", b"junk", b"\xff" * 400, ORDER + b"\xff", bytes(DATAGRAM_MAX + 1)):
        client.say(data)
    assert client.hears_nothing()
    assert monitor.waiting() == []


def test_a_monitor_that_does_not_read_costs_no_page(client: Client, places: Places) -> None:
    """Its wire fills up; what needs nobody is answered, and the rest when it reads again."""
    with ExitStack() as opened_here:
        crowd = [Client(places) for _ in range(6)]
        for other in crowd:
            opened_here.enter_context(other.socket)
            for _ in range(BATCH):
                other.say(ORDER)
        client.say(ask_for(1))
        assert b" page 2/" in client.hear()
        client.say(ask_for(0))
        assert b" page 1/" in client.hear()
    monitor = places.end("monitor", "datagram")
    for ask in monitor.waiting():
        if isinstance(ask, Ask):
            monitor.say(reply(ask, "refused\n", code=1))
    places.read_by("datagram")
    client.say(b"\1ping".ljust(PADDED, b"\0"))
    ask = monitor.hear(Ask, words=("ping",))
    monitor.say(reply(ask, "pong\n"))
    assert client.hear() == b"pong\n"
    monitor.waiting()


def test_a_warm_up_has_used_no_budget_and_leaves_no_socket(tmp_path: Path) -> None:
    with opened(tmp_path / "door") as places:
        pid = places.fill("datagram")
        supervisor = places.end(SUPERVISOR, "datagram")
        supervisor.say(Ping(1))
        supervisor.hear(Pong)
        asked = {
            ask.words for ask in places.end("monitor", "datagram").waiting() if isinstance(ask, Ask)
        }
        assert asked == {("ping",), ("challenge",), ()}
        sockets = [
            link
            for fd in Path(f"/proc/{pid}/fd").iterdir()
            if "socket:" in (link := str(fd.readlink()))
        ]
        # Two queues, wires to two peers, and the two ends by which a signal wakes its loop.
        assert len(sockets) == 6
        client = Client(places)
        with client.socket:
            for number in (1, 2, 3, 1, 2, 3):
                client.say(ask_for(number))
                assert f" page {number + 1}/".encode() in client.hear()
        wait_for(lambda: places.lives("datagram"))
