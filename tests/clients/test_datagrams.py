"""Datagrams on a real door: what is asked, what comes back, and what never does.

Each test that sends from a socket of its own has a /24 of 127.0.0.0/8 of its own, and with it a
budget of its own.
"""

import itertools
import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.clients.programs import piped, run, shell
from tests.running import LOOPBACK, ROOT, Door

PREFIXES = itertools.count(1)
PAGE = re.compile(r"panicdoor web1 page (\d+)/(\d+)\n")
HEADERS = 28
HINT = "panicdoor: send 400 zero bytes, or use tcp {}, for help\n"


@contextmanager
def client(port: int = 0) -> Iterator[socket.socket]:
    """A socket with a /24 of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((f"127.77.{next(PREFIXES)}.1", port))
        made.settimeout(5)
        yield made


def ask(door: Door, data: bytes, host: str = LOOPBACK) -> str:
    """Send one datagram and return the one that answers it."""
    if ":" in host:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
            made.settimeout(5)
            return exchange(made, door, data, host)
    with client() as made:
        return exchange(made, door, data, host)


def exchange(made: socket.socket, door: Door, data: bytes, host: str = LOOPBACK) -> str:
    made.sendto(data, (host, door.port))
    answer, source = made.recvfrom(2048)
    assert source[:2] == (host, door.port)
    assert len(answer) <= min(1200, 3 * (len(data) + HEADERS) - HEADERS)
    return answer.decode("ascii")


def unanswered(door: Door, made: socket.socket, data: bytes) -> bool:
    """Say whether nothing comes back: the door answers in order, and a later one was answered."""
    made.sendto(data, (LOOPBACK, door.port))
    with client() as other:
        exchange(other, door, b"\0")
    return not select.select([made], [], [], 0)[0]


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_one_zero_byte(house: Door, host: str) -> None:
    answer = ask(house, b"\0", host)
    assert answer == HINT.format(house.port)
    assert len(answer) <= 59


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_400_zero_bytes_bring_the_first_page_which_stands_alone(house: Door, host: str) -> None:
    text = ask(house, bytes(400), host)
    assert PAGE.match(text)
    assert "Owner  Example Ops, +49 30 1234567." in text
    assert "SHA256:" in text
    assert re.search(r"\nfresh: challenge [a-z2-7]{4}(-[a-z2-7]{4}){5}\n", text)
    assert f"nc {host} {house.port}" in text


def test_page_by_page(house: Door) -> None:
    with client() as made:
        first = exchange(made, house, bytes(400))
        count = int(PAGE.match(first)[2])  # type: ignore[index]
        assert count > 1
        for n in range(1, count):
            page = exchange(made, house, bytes((0, n)).ljust(400, b"\0"))
            assert PAGE.match(page).groups() == (str(n + 1), str(count))  # type: ignore[union-attr]
        with client() as other:
            again = exchange(other, house, bytes((0, 255)).ljust(400, b"\0"))
    assert PAGE.match(again)[1] == "1"  # type: ignore[index]


@pytest.mark.parametrize("size", [1, 2, 59, 381, 382, 400, 1200])
def test_no_size_earns_more_than_three_times_itself(house: Door, size: int) -> None:
    assert ask(house, bytes(size)).startswith("panicdoor web1 page" if size > 381 else "panicdoor:")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("help", "PUBLIC  (anyone, without a key)"),
        ("help ping", "Check that the door is whole"),
        ("about", "Example Ops"),
        ("ping", "pong from web1"),
        ("challenge", "-"),
        ("challenge --json", '{"challenge": "'),
        ("order ping", "do: ping"),
        ("nothing", "no command 'nothing'; type: help"),
        ("'", "panicdoor: words after 0x01 are like: help, ping"),
        ("", "panicdoor: send 400 zero bytes"),
        ("doc --json", "panicdoor: too long for a datagram, use tcp"),
    ],
)
@pytest.mark.parametrize("padding", [b"\0", b" "], ids=["zeros", "blanks"])
def test_a_command(house: Door, words: str, expected: str, padding: bytes) -> None:
    text = ask(house, b"\1" + words.encode().ljust(399, padding))
    assert expected in text
    assert text.endswith("\n")
    assert text.replace("\n", "").isprintable()


def test_a_short_answer_needs_no_padding(house: Door) -> None:
    assert ask(house, b"\1ping").startswith("pong from web1, ")
    assert ask(house, b"\1help") == "panicdoor: pad the request with zero bytes to 400\n"


def test_an_order_is_refused_in_a_line(house: Door) -> None:
    order = b"panicdoor order 1\ndoor: web1 SHA256:x\nfresh: challenge x\nby: me\ndo: ping\n"
    assert ask(house, order).startswith("refused: ")


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 1201, b"\2", b"\xff" * 400, b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n", b"help"],
    ids=["empty", "long", "two", "ff", "http", "ssh", "text"],
)
def test_what_is_not_answered(house: Door, data: bytes) -> None:
    with client() as made:
        assert unanswered(house, made, data)


@pytest.mark.skipif(not ROOT, reason="only root may send from a port below 1024")
@pytest.mark.parametrize("port", [7, 53, 903, 1023])
def test_a_port_below_1024_is_not_answered(house: Door, port: int) -> None:
    with client(port) as made:
        assert unanswered(house, made, bytes(400))


def test_whoever_asks_too_much_is_told_so_and_others_are_not(house: Door) -> None:
    with client() as made:
        answers = [exchange(made, house, bytes(400)) for _ in range(8)]
        assert answers[0].startswith("panicdoor web1 page 1/")
        assert answers[-1] == f"panicdoor: too much is asked just now, use tcp {house.port}\n"
    assert ask(house, bytes(400)).startswith("panicdoor web1 page 1/")


class TestByHand:
    """What a person may type who has nothing else."""

    def test_bash_alone(self, house: Door) -> None:
        where = f"/dev/udp/{LOOPBACK}/{house.port}"
        done = shell(f"exec 3<>{where}; printf '\\0' >&3; dd bs=2000 count=1 <&3")
        assert done.stdout.decode() == HINT.format(house.port)

    def test_nc(self, house: Door) -> None:
        done = shell(f"printf '\\0' | nc -u -w1 {LOOPBACK} {house.port}")
        assert done.stdout.decode() == HINT.format(house.port)

    @pytest.mark.parametrize("program", [f"ncat -u {LOOPBACK} ", f"socat - UDP:{LOOPBACK}:"])
    def test_ncat_and_socat(self, house: Door, program: str) -> None:
        with piped(*f"{program}{house.port}".split()) as client:
            client.send(b"\1ping")
            client.until("pong from web1")


class TestAsk:
    """The real program against the real door."""

    @pytest.mark.parametrize("host", [LOOPBACK, "::1"])
    def test_all_of_it(self, house: Door, host: str) -> None:
        done = run("panicdoor", "ask", f"[{host}]:{house.port}", seconds=30)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode("ascii")
        for words in ("Example Ops", "SHA256:", f"telnet {host} {house.port}", "order NAME"):
            assert words in text
        assert "page 1/" not in text
        assert all(len(line) <= 80 for line in text.splitlines())

    def test_by_name(self, house: Door) -> None:
        """Every address of the name is asked, and one of them answers."""
        done = run("panicdoor", "ask", f"localhost:{house.port}", seconds=30)
        assert done.returncode == 0
        assert b"Example Ops" in done.stdout

    def test_json(self, house: Door) -> None:
        with relay(house, lambda data: [data]) as port:
            done = run("panicdoor", "ask", "--json", f"[::1]:{port}")
        found = json.loads(done.stdout)
        assert found["host"] == "::1"
        assert len(found["pages"]) > 1
        assert found["text"] == "".join(found["pages"])

    def test_a_path_that_loses_half_shuffles_and_repeats(self, house: Door) -> None:
        seen: dict[bytes, int] = {}

        def path(data: bytes) -> list[bytes]:
            """Lose each question once, and bring each answer twice, with junk in between."""
            if data[:1] != b"\0":
                return [data, b"junk", data]
            seen[data] = seen.get(data, 0) + 1
            return [] if seen[data] == 1 else [data]

        with relay(house, lambda data: [data]) as port:
            plain = run("panicdoor", "ask", f"[::1]:{port}")
        with relay(house, path) as port:
            lossy = run("panicdoor", "ask", "--timeout", "0.2", f"[::1]:{port}")
        assert (lossy.returncode, lossy.stderr) == (0, b"")
        changing = re.compile(rb"fresh: .*|Clock .*")
        assert changing.sub(b"", lossy.stdout) == changing.sub(b"", plain.stdout)

    def test_a_path_that_loses_one_page_for_good(self, house: Door) -> None:
        with relay(house, lambda data: [] if data[:2] == b"\0\1" else [data]) as port:
            done = run("panicdoor", "ask", "--timeout", "0.05", f"[::1]:{port}")
        assert done.returncode == 1
        assert b"these are missing: 2\n" in done.stderr
        assert b"Example Ops" in done.stdout

    def test_nobody_there(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind((LOOPBACK, 0))
            where = f"{LOOPBACK}:{silent.getsockname()[1]}"
            done = run("panicdoor", "ask", "--timeout", "0.05", where)
        assert done.returncode == 3
        assert done.stdout == b""
        assert b"nothing answered 5 datagrams; try tcp\n" in done.stderr


@contextmanager
def relay(door: Door, path: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A network in between, from ::1 to a /24 of its own: `path` says what becomes of a packet."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as outer,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control,
        client() as inner,
    ):
        outer.bind(("::1", 0))
        inner.connect((LOOPBACK, door.port))
        port: int = outer.getsockname()[1]

        def carry() -> None:
            asker: tuple[str, int] | None = None
            while True:
                ready = select.select([outer, inner], [], [])[0]
                if inner in ready and asker:
                    for data in path(inner.recv(2048)):
                        outer.sendto(data, asker)
                if outer in ready:
                    data, asker = outer.recvfrom(2048)
                    if data == b"end":
                        return
                    for again in path(data):
                        inner.send(again)

        thread = threading.Thread(target=carry)
        thread.start()
        try:
            yield port
        finally:
            control.sendto(b"end", ("::1", port))
            thread.join()
