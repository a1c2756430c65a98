r"""Conversations as files, one step a line, replayed against a protocol.

    # a remark                        protocol: lines | lines greeted | http
    < bytes from the client           > bytes from the door (all since the last such line)
    ? words asked for, as text        ?html, ?json: in that form        ?order: the text of an order
    = last part of the answer         =2: with that code                + a part before the last
    ! eof, silence: it happens        ! closed, open, hungry, full, opening, none, cancelled: it is

Bytes and texts are written with Python's escapes; {always} stands for the headers of every HTTP
answer.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from panicdoor.protocols.base import READ_MAX, Form, Part, Protocol, Request
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import Lines

GREETING = "panicdoor of web1\nType: help\n"
CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))

ALWAYS = (
    b"Server: panicdoor\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; style-src "
    b"'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n"
)

MAKERS: dict[str, Callable[[], Protocol]] = {
    "lines": lambda: Lines(GREETING),
    "lines greeted": lambda: Lines(GREETING, greeted=True),
    "http": Http,
}


def read(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the protocol of a case and its steps."""
    lines = [t for t in path.read_text("ascii").splitlines() if t and not t.startswith("#")]
    name = lines[0].removeprefix("protocol: ")
    return name, [(mark, text) for mark, _, text in (line.partition(" ") for line in lines[1:])]


def raw(text: str) -> bytes:
    """Return the bytes that an escaped text stands for."""
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Return `data` in pieces, cut at those places, and where a piece would be too long."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, end in pairwise(ends):
        for at in range(start, end, READ_MAX):
            yield data[at : min(at + READ_MAX, end)]


class Replay:
    """A case being played."""

    def __init__(self, protocol: Protocol, bytewise: bool) -> None:
        self.protocol = protocol
        self.bytewise = bytewise
        self.out = b""

    def play(self, steps: list[tuple[str, str]]) -> None:
        wanted = b""
        for number, (mark, text) in enumerate(steps):
            if mark == ">":
                wanted += raw(text).replace(b"{always}", ALWAYS)
                if number + 1 == len(steps) or steps[number + 1][0] != ">":
                    assert self.out == wanted, f"step {number}: {self.out!r}\nwanted: {wanted!r}"
                    wanted = self.out = b""
            else:
                self.step(mark, text)
                self.take()
        assert self.out == b""

    def take(self) -> None:
        while data := self.protocol.data_to_send():
            self.out += data

    def step(self, mark: str, text: str) -> None:
        if mark == "<":
            places = list(range(len(text))) if self.bytewise else []
            for piece in cut(raw(text), places):
                self.protocol.receive_data(piece)
                self.take()
        elif mark == "!":
            self.state(text)
        elif mark == "+":
            self.protocol.send(Part(raw(text).decode("latin-1")))
        elif mark.startswith("="):
            self.protocol.send(Part(raw(text).decode("latin-1"), True, int(mark[1:] or 0)))
        else:
            assert mark.startswith("?"), mark
            assert self.protocol.next_request() == self.request(mark[1:], text)
            assert self.protocol.next_request() is None

    def request(self, form: str, text: str) -> Request:
        if form == "order":
            return Request(order=raw(text).decode("latin-1"))
        return Request(tuple(text.split()), Form(form or "text"))

    def state(self, text: str) -> None:
        protocol = self.protocol
        if text == "eof":
            protocol.receive_eof()
        elif text == "silence":
            protocol.receive_silence()
        else:
            assert {
                "closed": lambda: protocol.closed and not protocol.hungry,
                "open": lambda: not protocol.closed,
                "hungry": lambda: protocol.hungry,
                "full": lambda: not protocol.hungry,
                "opening": lambda: protocol.opening,
                "none": lambda: protocol.next_request() is None,
                "cancelled": lambda: protocol.cancelled() and not protocol.cancelled(),
            }[text](), text
