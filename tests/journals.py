"""A verifier of journals, written from the format's words and from nothing of the door's code."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

LINE = re.compile(
    r"([0-9a-f]{64}) ([1-9][0-9]*) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([a-z-]{1,32}) (\{.*\})"
)
LONGEST = 4096


class Entry(NamedTuple):
    """A line of a journal, read."""

    n: int
    time: str
    kind: str
    fields: dict[str, Any]
    hash: str


def verify(data: bytes, junk: int = 0) -> list[Entry]:
    """Return the entries of a journal that is whole from its first to its last byte.

    Raises AssertionError where it is not. `junk` is how many lines may be no entries: the chain
    goes on over them.
    """
    assert not data or data.endswith(b"\n"), data[-200:]
    previous = "0" * 64
    entries: list[Entry] = []
    for line in data.split(b"\n")[:-1]:
        match = LINE.fullmatch(line.decode("ascii", "replace"))
        if match is None and junk:
            junk -= 1
        else:
            assert match is not None, line
            assert len(line) < LONGEST
            assert re.fullmatch(rb"[\x20-\x7e]*", line), line
            link, n, time, kind, fields = match.groups()
            assert link == previous, f"entry {n} is bound to another line"
            assert int(n) == (entries[-1].n if entries else 0) + 1
            read = json.loads(fields)
            assert isinstance(read, dict)
            entries.append(Entry(int(n), time, kind, read, hashlib.sha256(line).hexdigest()))
        previous = hashlib.sha256(line).hexdigest()
    assert junk == 0
    return entries


def journal_of(directory: Path) -> bytes:
    """Return the bytes of a door's journal."""
    return (directory / "journal").read_bytes()
