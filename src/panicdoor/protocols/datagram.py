"""Datagrams: byte 0 is the format, one packet asks and one packet answers.

A datagram's source can be forged, so whatever is sent back may hit somebody who never asked:
- an answer is never more than three times its request, headers counted;
- what is sent to one prefix, and in all, is bounded, and paid for before any work is done, but
  for orders: those are judged first, and there may be only so many of them at once (desk);
- nothing is remembered about a peer but two cells of two tables of fixed size;
- what is not understood is refused in silence.

PROTOCOL.datagrams.md describes the format. This file is on the hot path of a flood: the usual
verdicts are made once, and the cheap checks come first.
"""

import re
from array import array
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from typing import Final

from panicdoor.errors import CommandError
from panicdoor.words import parse

DATAGRAM_MAX: Final = 1200  # bytes of payload, either way; under every path MTU, so no fragments
HEADERS: Final = 28  # bytes of IPv4 and UDP; IPv6 has 48, so there the factor is even smaller
FACTOR: Final = 3  # QUIC's bound on what an unproven address may be sent (RFC 9000 section 8.1)
LINE_MAX: Final = 59  # bytes; what a request of one byte earns, so every short line fits it
PAGE_REQUEST_MIN: Final = 382  # bytes; the least that earns DATAGRAM_MAX
PADDED: Final = 400  # bytes; the same as a number to remember
PAGES_MAX: Final = 256  # the page number is one byte
PORT_MIN: Final = 1024  # services answer from below: a forged request would start a ping-pong

DOCUMENTATION: Final = 0x00
COMMAND: Final = 0x01
ORDER: Final = b"panicdoor order 1"

PREFIX_RATE: Final = 2 * 1024  # bytes a second to one /24 or /56: a reader, and no weapon
PREFIX_BURST: Final = 8 * 1024  # bytes at once: the whole documentation
PAGES_RATE: Final = 64 * 1024  # bytes a second: half a megabit is all a forger can aim anywhere
ANSWERS_RATE: Final = 64 * 1024  # bytes a second, apart: a flood of one leaves the other alone
HINTS_RATE: Final = 8 * 1024  # bytes a second: requests of one byte are the cheapest to forge
HINTS_BURST: Final = 4 * PREFIX_BURST  # bytes at once: more than one prefix can use up
BUSY_RATE: Final = 8 * 1024  # bytes a second to those without budget: one prefix may use it up
KEY_SIZE: Final = 16  # bytes
CELLS: Final = 4096  # in each table; at these rates a flood keeps some 70 of them exhausted
_CELL_BITS: Final = CELLS.bit_length() - 1

_NEVER: Final = frozenset(str(octet) for octet in (0, *range(224, 256)))  # RFC 1122 3.2.1.3
_GROUPS: Final = 8  # of an IPv6 address
_FULL_GROUP: Final = 4  # digits; ff02: is multicast, ff: is not
_PADDING: Final = b"\0\r\n "  # echo and here-strings end their line
_PAGE: Final = re.compile(rb"panicdoor [!-~]{1,64} page ([0-9]{1,3})/([0-9]{1,3})\n", re.ASCII)


class Refusal(Enum):
    """Why a datagram gets no answer at all."""

    PORT = "a source port below 1024"
    DESTINATION = "sent to a broadcast or multicast address"
    SOURCE = "from an address that nobody has"
    LENGTH = "empty, or longer than 1200 bytes"
    FORMAT = "a format that is not known here"
    BUDGET = "more than may be sent"


@dataclass(frozen=True, slots=True)
class Line:
    """Send these bytes, LINE_MAX at most."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Send this page, from 0; DATAGRAM_MAX bytes at most. A number too high means page 0."""

    number: int


@dataclass(frozen=True, slots=True)
class Command:
    """Run this, and send what `Datagrams.fit` makes of its output and `limit` (bytes)."""

    words: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Order:
    """Judge this. Its first receipt is free; any other answer is to be paid for by `spend`."""

    text: str
    limit: int


Verdict = Refusal | Line | Page | Command | Order

_PAGES: Final = tuple(Page(number) for number in range(PAGES_MAX))


class Bucket:
    """A rate (bytes a second) and what may be used at once, kept as one time: when it is full."""

    __slots__ = ("full", "second", "span")

    def __init__(self, rate: int, burst: int) -> None:
        self.second = 1 / rate  # seconds a byte takes to come back
        self.span = burst / rate
        self.full = 0.0


class Datagrams:
    """What to do with each datagram of one door.

    `key` is KEY_SIZE random bytes, new at each start, so that nobody can aim at another's cells;
    `port` is the tcp port that short lines name. Times are seconds of any clock that starts at
    zero or later and never goes back. A prefix has one cell in each table and has used what the
    lesser of them says: it shares both cells with the same stranger once in 16 million. Raises
    ValueError for a key of another size.
    """

    def __init__(self, key: bytes, port: int) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"the key has {len(key)} bytes, not {KEY_SIZE}")
        self.refused = dict.fromkeys(Refusal, 0)
        self.pages = Bucket(PAGES_RATE, PAGES_RATE)
        self.answers = Bucket(ANSWERS_RATE, ANSWERS_RATE)
        self.hints = Bucket(HINTS_RATE, HINTS_BURST)
        self.busy = Bucket(BUSY_RATE, BUSY_RATE)
        self._key = key
        self._prefix = Bucket(PREFIX_RATE, PREFIX_BURST)
        self._first = array("d", bytes(8 * CELLS))
        self._second = array("d", bytes(8 * CELLS))
        self._hint = _line(f"send {PADDED} zero bytes, or use tcp {port}, for help")
        self._busy = _line(f"too much is asked just now, use tcp {port}")
        self._bad = _line("words after 0x01 are like: help, ping")
        self._pad = _line(f"pad the request with zero bytes to {PADDED}").data
        self._long = _line(f"too long for a datagram, use tcp {port}").data

    def receive(self, data: bytes, source: str, port: int, unicast: bool, now: float) -> Verdict:
        """Say what to do with one datagram, and pay for the answer.

        `source` and `port` are as recvmsg gives them, from sockets of one family only; `unicast`
        says that the destination was an address of this host alone. Never raises. Refusals are
        counted in `refused`.
        """
        size = len(data)
        if port < PORT_MIN:
            return self._refuse(Refusal.PORT)
        if not unicast:
            return self._refuse(Refusal.DESTINATION)
        if not 0 < size <= DATAGRAM_MAX:
            return self._refuse(Refusal.LENGTH)
        if not answerable(source):
            return self._refuse(Refusal.SOURCE)
        first = data[0]
        if first == DOCUMENTATION:
            if size < PAGE_REQUEST_MIN:
                return self._short(source, now)
            if self.spend(source, DATAGRAM_MAX, self.pages, now):
                return _PAGES[data[1]]
            return self._over(now)
        if first == COMMAND:
            return self._command(data, source, now)
        if data.startswith(ORDER) and data.isascii():
            return Order(data.decode("ascii"), most(size))
        return self._refuse(Refusal.FORMAT)

    def spend(self, source: str, size: int, bucket: Bucket, now: float) -> bool:
        """Take `size` bytes and their headers from `bucket` and the source's prefix, or nothing.

        `bucket` is `pages`, `hints` or `answers`. False means: send nothing.
        """
        size += HEADERS
        full = bucket.full
        full = (full if full > now else now) + size * bucket.second
        if full - now > bucket.span:
            return False
        one, two = self._first, self._second
        digest = blake2b(scope(source).encode(), digest_size=4, key=self._key).digest()
        hashed = int.from_bytes(digest, "little")
        i, j = hashed % CELLS, (hashed >> _CELL_BITS) % CELLS
        used_one, used_two = one[i], two[j]
        used = used_one if used_one < used_two else used_two
        prefix = self._prefix
        used = (used if used > now else now) + size * prefix.second
        if used - now > prefix.span:
            return False
        bucket.full = full
        # A cell is never lowered: it says at least what each of its prefixes has used.
        if used > used_one:
            one[i] = used
        if used > used_two:
            two[j] = used
        return True

    def fit(self, answer: bytes, limit: int) -> bytes:
        """Return `answer`, or a line that says how to get it where it is longer than `limit`."""
        if len(answer) <= limit:
            return answer
        return self._pad if limit < DATAGRAM_MAX else self._long

    def _refuse(self, reason: Refusal) -> Refusal:
        self.refused[reason] += 1
        return reason

    def _short(self, source: str, now: float) -> Verdict:
        hint = self._hint
        return hint if self.spend(source, len(hint.data), self.hints, now) else self._over(now)

    def _over(self, now: float) -> Verdict:
        """Whoever is out of budget is told so, until that has used up a budget of its own."""
        bucket, line = self.busy, self._busy
        full = bucket.full if bucket.full > now else now
        full += (len(line.data) + HEADERS) * bucket.second
        if full - now > bucket.span:
            return self._refuse(Refusal.BUDGET)
        bucket.full = full
        return line

    def _command(self, data: bytes, source: str, now: float) -> Verdict:
        limit = most(len(data))
        if not self.spend(source, limit, self.answers, now):
            return self._over(now)
        try:
            words = parse(data[1:].rstrip(_PADDING).decode("ascii"))
        except (CommandError, UnicodeDecodeError):
            return self._bad
        return Command(words, limit) if words else self._hint


def most(size: int) -> int:
    """Return how many bytes may answer a request of `size` bytes (both without headers)."""
    return min(DATAGRAM_MAX, FACTOR * (size + HEADERS) - HEADERS)


def answerable(source: str) -> bool:
    """Say whether an address, as inet_ntop writes it, can be that of one host."""
    if ":" in source:
        return source != "::" and not (source.startswith("ff") and source.find(":") == _FULL_GROUP)
    return source[: source.find(".")] not in _NEVER


def scope(source: str) -> str:
    """Return the /24 or /56 of an address, as inet_ntop writes it: what a challenge is good for.

    IPv4 as `192.0.2.0/24`; IPv6 as its first four groups in full, `2001:db8:0:1200::/56`.
    """
    if ":" not in source:
        return source[: source.rfind(".")] + ".0/24"
    groups = source.split(":")
    if "" in groups[:4]:
        head, _, tail = source.partition("::")
        first = head.split(":") if head else []
        last = tail.split(":") if tail else []
        groups = first + ["0"] * (_GROUPS - len(first) - len(last)) + last
    a, b, c, d = groups[:4]
    return f"{a}:{b}:{c}:{int(d, 16) & 0xFF00:x}::/56"


def ask_for(number: int) -> bytes:
    """Return the request for a page, from 0, padded to earn a full answer."""
    return bytes((DOCUMENTATION, number)).ljust(PADDED, b"\0")


def read_page(data: bytes) -> tuple[int, int, bytes] | None:
    """Return number (from 0), count and text of a page, or None for what is not one."""
    match = _PAGE.match(data)
    if match is None:
        return None
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count <= PAGES_MAX:
        return None
    return number - 1, count, data[match.end() :]


def _line(text: str) -> Line:
    return Line(f"panicdoor: {text}\n".encode("ascii"))
