"""The client against a door that loses, repeats, shuffles, lies or is silent, on loopback."""

import argparse
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from panicdoor.cli import ask

PAGES = [
    b"panicdoor web1 page 1/4\nAn emergency door.\n",
    b"panicdoor web1 page 2/4\nSecond\ttext \x1b[31m\xff\n",
    b"panicdoor web1 page 3/4\nno line feed at the end",
    b"panicdoor web1 page 4/4\nlast\n",
]
TEXT = "An emergency door.\nSecond\\x09text \\x1b[31m\\xff\nno line feed at the end\nlast\n"
FAST = "0.05"  # seconds

Answers = Callable[[int, int], list[bytes]]  # page asked for and how often before -> datagrams


class Door:
    """A door whose answers a test decides."""

    def __init__(self, answers: Answers, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]
        self.asked: list[bytes] = []
        self.clients: list[tuple[str, int]] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        times: Counter[int] = Counter()
        while True:
            data, client = self.socket.recvfrom(2048)
            if data == b"end":
                return
            self.asked.append(data)
            self.clients.append(client)
            number = data[1]
            for answer in self._answers(number, times[number]):
                self.socket.sendto(answer, client)
            times[number] += 1

    def close(self) -> None:
        self.socket.sendto(b"end", self.socket.getsockname())
        self._thread.join()
        self.socket.close()


@contextmanager
def door(answers: Answers, host: str = "127.0.0.1") -> Iterator[Door]:
    door = Door(answers, host)
    try:
        yield door
    finally:
        door.close()


def honest(number: int, _: int) -> list[bytes]:
    return [PAGES[number]]


def lossy(number: int, before: int) -> list[bytes]:
    return [PAGES[number]] if before else []


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    ask.add_arguments(parser)
    return ask.run(parser.parse_args(argv))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_pages_in_order_without_their_heads(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with door(honest, host) as there:
        target = f"[{host}]:{there.port}"
        assert run(target) == 0
    printed = capsys.readouterr()
    assert printed.out == TEXT
    assert printed.err == ""
    assert there.asked == [bytes((0, n)) + bytes(398) for n in range(4)]


def test_a_lost_page_is_asked_for_again_after_a_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with door(lossy) as there:
        assert run(f"127.0.0.1:{there.port}", "--timeout", FAST) == 0
    assert capsys.readouterr().out == TEXT
    assert [data[1] for data in there.asked] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ask.WAIT == 1.0


def test_pages_may_come_in_any_order_and_twice(capsys: pytest.CaptureFixture[str]) -> None:
    def shuffled(number: int, _: int) -> list[bytes]:
        return [PAGES[3], PAGES[3], PAGES[number], PAGES[1]]

    with door(shuffled) as there:
        assert run(f"127.0.0.1:{there.port}", "--timeout", FAST) == 0
    assert capsys.readouterr().out == TEXT
    assert len(there.asked) < 4


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    with door(honest) as there:
        assert run(f"127.0.0.1:{there.port}", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["host"] == "127.0.0.1"
    assert answer["text"] == TEXT
    assert [page.strip("\n") for page in answer["pages"]] == TEXT.splitlines()
    assert list(answer) == ["host", "pages", "text"]


class TestPartly:
    def test_what_came_is_printed_and_what_is_missing_said(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with door(lambda n, _: [] if n == 1 else [PAGES[n]]) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", "0.01") == 1
        printed = capsys.readouterr()
        assert printed.out == TEXT.replace("Second\\x09text \\x1b[31m\\xff\n", "")
        assert printed.err.count("\n") == 1
        assert "of 4 pages these are missing: 2\n" in printed.err
        assert Counter(data[1] for data in there.asked) == {0: 1, 1: ask.TRIES, 2: 1, 3: 1}

    def test_json_has_null_for_what_is_missing(self, capsys: pytest.CaptureFixture[str]) -> None:
        with door(lambda n, _: [] if n == 3 else [PAGES[n]]) as there:
            assert run(f"127.0.0.1:{there.port}", "--json", "--timeout", "0.01") == 1
        answer = json.loads(capsys.readouterr().out)
        assert answer["pages"][3] is None
        assert answer["text"] == TEXT.removesuffix("last\n")

    def test_a_door_that_is_gone_is_given_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        page = b"panicdoor web1 page 1/200\n"
        with door(lambda n, _: [page] if n == 0 else []) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", "0.01") == 1
        assert len(there.asked) == 1 + ask.LOST_MAX * ask.TRIES

    def test_a_door_out_of_budget_is_quoted(self, capsys: pytest.CaptureFixture[str]) -> None:
        busy = b"panicdoor: too much \x1b asked\n"
        with door(lambda n, _: [busy]) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", "0.01") == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.endswith(": sent no page, but: panicdoor: too much \\x1b asked\n")
        assert printed.err.count("\n") == 1

    def test_a_page_of_another_count_is_not_mixed_in(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with door(
            lambda n, _: [b"panicdoor web1 page 2/9\nother\n", PAGES[n]] if n else [PAGES[0]]
        ) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", FAST) == 0
        assert capsys.readouterr().out == TEXT


class TestSilence:
    def test_nothing_answered(self, capsys: pytest.CaptureFixture[str]) -> None:
        with door(lambda n, _: []) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", "0.01") == 3
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == (
            f"panicdoor: 127.0.0.1 port {there.port}: nothing answered 5 datagrams; try tcp\n"
        )
        assert len(there.asked) == ask.TRIES

    def test_nobody_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unread:
            unread.bind(("127.0.0.1", 0))
            port = unread.getsockname()[1]
        assert run(f"127.0.0.1:{port}", "--timeout", "0.01", "--json") == 3
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "nothing answered 5 datagrams (Connection refused)" in printed.err

    def test_packets_from_elsewhere_are_ignored(self, capsys: pytest.CaptureFixture[str]) -> None:
        def forge(number: int, _: int) -> list[bytes]:
            forger.sendto(PAGES[number], there.clients[-1])
            return []

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger, door(forge) as there:
            assert run(f"127.0.0.1:{there.port}", "--timeout", "0.01") == 3
        assert capsys.readouterr().out == ""
        assert len(there.clients) == ask.TRIES

    @pytest.mark.parametrize("name", ["web1", "a..b", "x" * 64])
    def test_a_name_that_nobody_has(
        self, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if name == "web1":
            unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

            def resolve(*_: object, **__: object) -> None:
                raise unknown

            monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert run(name) == 3
        printed = capsys.readouterr()
        assert printed.err.startswith(f"panicdoor: {name} port 903: cannot be asked: ")
        assert printed.err.count("\n") == 1


class TestNames:
    def test_every_address_of_a_name_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with door(lambda n, _: []) as silent, door(honest, "::1") as there:
            found = [
                (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", silent.port)),
                (socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("::1", there.port)),
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            assert run("web1") == 0
        assert capsys.readouterr().out == TEXT
        assert len(silent.asked) == 1
        assert len(there.asked) == 4

    def test_two_doors_of_one_name_are_not_mixed(self) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
        fetched = ask.Fetched()
        pairs[0][0].send(b"panicdoor web1 page 1/2\nfirst\n")
        pairs[1][0].send(b"panicdoor web2 page 2/2\nsecond\n")
        first = ask._listen([near for _, near in pairs], 0, 0.1, fetched)
        assert first in pairs[0] + pairs[1]
        assert fetched.pages == ({0: "first\n"} if first in pairs[0] else {1: "second\n"})
        for pair in pairs:
            for sock in pair:
                sock.close()


class TestUsage:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("web1", "web1", 903),
            ("web1:9903", "web1", 9903),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
            ("[2001:db8::1]", "2001:db8::1", 903),
            ("2001:db8::1", "2001:db8::1", 903),
            ("fe80::1%eth0", "fe80::1%eth0", 903),
            ("::1", "::1", 903),
        ],
    )
    def test_targets(self, text: str, host: str, port: int) -> None:
        parser = argparse.ArgumentParser()
        ask.add_arguments(parser)
        target = parser.parse_args([text]).target
        assert (target.host, target.port) == (host, port)

    @pytest.mark.parametrize(
        "argv",
        [
            [],
            ["web1", "--timeout", "0"],
            ["web1", "--timeout", "61"],
            ["web1", "--timeout", "nan"],
            ["web1", "--timeout", "soon"],
            *([text] for text in ("", ":903", "web1:", "web1:0", "web1:65536", "web1:http")),
            *([text] for text in ("[::1", "[]", "[::1]903", "::1]")),
        ],
    )
    def test_wrong_usage(self, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            run(*argv)
        assert ended.value.code == 2
        assert capsys.readouterr().err
