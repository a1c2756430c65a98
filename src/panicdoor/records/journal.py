"""The journal's format: one entry a line, each bound to the one before it.

    sha256(previous line) SP n SP time SP kind SP json LF

The hash is in hex, of the previous line without its line feed, 64 zeros in the first. `n` counts
from 1 without a gap; time is UTC; json is one object of printable ASCII.
"""

import hashlib
import re
from typing import Final, NamedTuple

FIRST: Final = "0" * 64
LINE_MAX: Final = 4096  # bytes of one line, so that the last one is found in a tail of this size

_LINE: Final = re.compile(
    rb"([0-9a-f]{64}) ([1-9][0-9]{0,17}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([a-z-]{1,32}) (\{.*\})"
)


class Entry(NamedTuple):
    """A line, without its line feed, and where it stands."""

    n: int
    line: bytes

    @property
    def hash(self) -> str:
        """What the next line begins with, and what binds a receipt to this one."""
        return hashlib.sha256(self.line).hexdigest()


def following(previous: Entry | None, time: str, kind: str, fields: str) -> Entry:
    """Return the entry after `previous`; None where the journal is empty."""
    n = previous.n + 1 if previous else 1
    link = previous.hash if previous else FIRST
    return Entry(n, f"{link} {n} {time} {kind} {fields}".encode("ascii"))


def last(tail: bytes) -> tuple[Entry | None, int]:
    """Return the last whole entry of a journal's end, and how many bytes after it are unfinished.

    `tail` is at least LINE_MAX bytes of the file, or all of it. What follows the last line feed is
    an entry that a crash or a full disk cut; a whole last line that is no entry yields None.
    """
    whole, _, unfinished = tail.rpartition(b"\n")
    line = whole.rpartition(b"\n")[2]
    match = _LINE.fullmatch(line)
    return (Entry(int(match[2]), line) if match else None), len(unfinished)
