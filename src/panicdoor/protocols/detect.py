"""What does a client speak? Decided from its first bytes, which may be cut anywhere.

Pure: the caller shows the bytes that came so far (peeked at, in the clear; collected, inside TLS)
and is told what to do. An unambiguous beginning decides at once; one that may still become two
things waits for more, for the end of input, or for silence, which make it lines. Silence before
any byte decides nothing: the greeting is written, once, and detection goes on, so that a NUL, a
request or a banner that comes late still lands right.

What the lines protocol tells apart by itself (a NUL, an IAC, an order, a typed command, nothing
at all) is one way here.
"""

from enum import Enum
from typing import Final, NamedTuple

from panicdoor.protocols.base import Part, Request


class Way(Enum):
    """What a client may speak."""

    LINES = "lines"
    HTTP = "http"
    TLS = "tls"
    SSH = "ssh"


class Stage(Enum):
    """How far an undecided conversation has come."""

    WAITING = "waiting"
    GREETED = "greeted"


class Step(NamedTuple):
    """What is to be done: remember `stage`, write the greeting if `greet`, go `way` unless None."""

    stage: Stage
    greet: bool
    way: Way | None


class Where(Enum):
    """The situations in which not every way is open."""

    CLEAR = "clear"
    LATE = "late"  # in the clear, after the greeting
    INSIDE = "inside"  # inside TLS


METHODS: Final = frozenset(
    (
        b"GET",
        b"HEAD",
        b"POST",
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"PATCH",
        b"CONNECT",
        b"TRACE",
        b"PRI",
    )
)

BEGINNINGS: Final[tuple[tuple[bytes, Way], ...]] = (
    (b"\x16\x03", Way.TLS),  # a handshake record (RFC 8446 5.1), of any version
    (b"SSH-", Way.SSH),  # RFC 4253 4.2
    *((method + b" ", Way.HTTP) for method in sorted(METHODS)),
)

_FIRST: Final = frozenset(beginning[0] for beginning, _ in BEGINNINGS)
PEEK_MAX: Final = max(len(beginning) for beginning, _ in BEGINNINGS)  # bytes that always decide

REFUSED: Final[dict[tuple[Where, Way], str]] = {
    (Where.LATE, Way.TLS): "Too late for TLS: connect again and begin with it at once.",
    (Where.INSIDE, Way.TLS): "TLS inside TLS is not spoken here: one layer is enough.",
    (Where.INSIDE, Way.SSH): "ssh inside TLS is not spoken here: use ssh without TLS.",
}


def detect(first: bytes, eof: bool = False, silent: bool = False) -> Way | None:
    """Return what a client that began with `first` speaks, or None while more must be seen.

    `eof`: nothing will follow. `silent`: nothing has followed for a while; with no byte at all
    that decides nothing.
    """
    if not first:
        return Way.LINES if eof else None
    if first[0] not in _FIRST:
        return Way.LINES
    for beginning, way in BEGINNINGS:
        if first.startswith(beginning):
            return way
    if eof or silent or not any(beginning.startswith(first) for beginning, _ in BEGINNINGS):
        return Way.LINES
    return None


def step(stage: Stage, first: bytes, eof: bool = False, silent: bool = False) -> Step:
    """Return what to do with an undecided conversation after `first`; arguments as for `detect`."""
    way = detect(first, eof, silent)
    if way is None and silent and stage is Stage.WAITING:
        return Step(Stage.GREETED, greet=True, way=None)
    return Step(stage, greet=False, way=way)


def refused(way: Way, where: Where) -> str | None:
    """Return the one line for a way that is not open there, or None where it is."""
    return REFUSED.get((where, way))


class Refusal:
    """A conversation that is over before it began: one line, then closed."""

    __slots__ = ("_line",)

    closed = True
    hungry = False
    opening = False

    def __init__(self, line: str) -> None:
        self._line = line.encode("ascii") + b"\r\n"

    def receive_data(self, data: bytes) -> None:
        """Nothing is read."""

    def receive_eof(self) -> None:
        """Nothing was read."""

    def receive_silence(self) -> None:
        """Nothing was awaited."""

    def next_request(self) -> Request | None:
        """Return None: nothing can be asked for."""
        return None

    def cancelled(self) -> bool:
        """Return False: nothing was asked for."""
        return False

    def send(self, part: Part) -> None:
        """Nothing is answered."""

    def data_to_send(self) -> bytes:
        """Return the line, once."""
        line, self._line = self._line, b""
        return line
