"""The journal's format: one entry a line, each bound to the line before it.

    sha256(previous line) SP n SP time SP kind SP json LF

The hash is in hex, of the previous line without its line feed, 64 zeros in the first. `n` counts
from 1 without a gap; time is UTC; json is one object. A line is printable ASCII, LINE_MAX bytes at
most. What a crash, a full disk or a hand did to the end of a file is mended like this, and said:

- bytes after the last line feed are an entry that was cut: they are dropped, the entry `damaged`
  says how many bytes were `lost`;
- whole lines that are no entries stay as they are, and are no end of the chain: the next entry is
  `damaged`, says how many bytes are `junk`, and is bound to the last of these lines; its `n`
  follows that of the last line that is an entry. Whoever verifies sees the hashes go on, and the
  junk.

So zeros stand in the first line of a file only: a chain is never begun again.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from panicdoor.messages import PART_MAX
from panicdoor.printable import escape_line

FIRST: Final = "0" * 64
LINE_MAX: Final = 4096  # bytes of one line with its line feed: one page, and a tail that is read
FIELDS_MAX: Final = PART_MAX  # bytes of the json; the rest of a line has 137 bytes at most

_LINE: Final = re.compile(
    rb"([0-9a-f]{64}) ([1-9][0-9]{0,17}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([a-z-]{1,32})"
    rb" (\{[\x20-\x7e]*\})"
)

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]


class Entry(NamedTuple):
    """A line, without its line feed, and where it stands."""

    n: int
    line: bytes

    @property
    def hash(self) -> str:
        """What the next line begins with, and what binds a receipt to this one."""
        return hashlib.sha256(self.line).hexdigest()


class End(NamedTuple):
    """How a journal ends: what the next entry follows, and how many bytes are wrong after it.

    `last` is None in an empty journal. Where there is `junk`, its line is the last of that junk.
    """

    last: Entry | None
    junk: int
    unfinished: int


def encode(values: Mapping[str, Value]) -> str:
    """Return the values as the json of an entry: printable ASCII, FIELDS_MAX characters at most.

    Texts are escaped, and cut where all of it would be too long.
    """
    room = FIELDS_MAX
    while room:
        plain = _plain(dict(values), room)
        text = msgspec.json.encode(plain, order="deterministic").decode("ascii")
        if len(text) <= FIELDS_MAX:
            return text
        room //= 2
    return '{"cut":true}'


def following(previous: Entry | None, time: str, kind: str, fields: str) -> Entry:
    """Return the entry after `previous`; None where the journal is empty.

    Raises ValueError, and never gives a line that breaks the format, where `fields` is not one JSON
    object of printable ASCII or anything else is not as the format says.
    """
    n = previous.n + 1 if previous else 1
    link = previous.hash if previous else FIRST
    line = f"{link} {n} {time} {kind} {fields}".encode("ascii")
    if _LINE.fullmatch(line) is None or len(line) >= LINE_MAX:
        raise ValueError("not a line of the journal")
    try:
        msgspec.json.decode(fields, type=dict[str, object])
    except RecursionError as error:
        raise ValueError("too deep for a line of the journal") from error
    return Entry(n, line)


def parse(line: bytes) -> Entry | None:
    """Return the entry that a line is, without its line feed; None where it is none."""
    match = _LINE.fullmatch(line) if len(line) < LINE_MAX else None
    return Entry(int(match[2]), line) if match else None


def end_of(tail: bytes, whole: bool) -> End | None:
    """Read how a journal ends from its last bytes; `whole` where they are all of it.

    None where no entry lies whole within `tail`: a longer one is needed.
    """
    kept, feed, unfinished = tail.rpartition(b"\n")
    lines = kept.split(b"\n") if feed else []
    if not whole:
        lines = lines[1:]  # it may have begun before the tail
    junk = 0
    for line in reversed(lines):
        entry = parse(line)
        if entry is not None:
            return End(Entry(entry.n, lines[-1]), junk, len(unfinished))
        junk += len(line) + 1
    if not whole:
        return None
    return End(Entry(0, lines[-1]) if lines else None, junk, len(unfinished))


def _plain(value: Value, room: int) -> Value:
    match value:
        case str():
            return _text(value, room)
        case list():
            return [_plain(each, room) for each in value]
        case dict():
            return {escape_line(name): _plain(each, room) for name, each in value.items()}
    return value


def _text(text: str, room: int) -> str:
    return escape_line(text[:room])[:room]
