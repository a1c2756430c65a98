"""Is a journal whole? Lines in, what is wrong with them out: the first bad line, what is missing.

The chain says that no line was changed, put in or taken out between two others. It cannot say that
the end is missing, or that somebody wrote all of it anew: for that there are anchors, the pairs
`n hash` that leave the host in receipts and alerts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from panicdoor.records.journal import FIRST, Entry, parse

FAULTS_MAX: Final = 20  # that are told; a journal with more has been replaced by something else


class Fault(NamedTuple):
    """What is wrong, and where: `line` counts from 1 in that file, 0 is the journal as a whole."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class Verdict:
    """What was found. `more` counts the faults beyond those that are kept."""

    entries: int = 0
    last: Entry | None = None
    faults: list[Fault] = field(default_factory=list)
    more: int = 0

    def add(self, file: str, line: int, text: str) -> None:
        """Keep a fault, or count it where there are many."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(file, line, text))
        else:
            self.more += 1


def verify(
    files: Iterable[tuple[str, Iterable[bytes]]], anchors: Mapping[int, frozenset[str]]
) -> Verdict:
    """Check the files of one journal, oldest first, each a name and its lines with line feeds.

    `anchors` has the hashes that are known of entries, by their numbers.
    """
    found = Verdict()
    link, known = FIRST, dict(anchors)
    for file, lines in files:
        for number, raw in enumerate(lines, 1):
            line = raw.removesuffix(b"\n")
            for text in _faults(raw, link, found.last, known):
                found.add(file, number, text)
            entry = parse(line)
            if entry is not None:
                found.entries += 1
                found.last = entry
            if raw.endswith(b"\n"):
                link = hashlib.sha256(line).hexdigest()
    for n in sorted(known):
        if found.last is None or n > found.last.n:
            ends = f"ends with entry {found.last.n}" if found.last else "has no entry"
            found.add("", 0, f"it {ends}, but entry {n} has stood in it: its end is missing")
    return found


def _faults(
    raw: bytes, link: str, last: Entry | None, known: dict[int, frozenset[str]]
) -> Iterator[str]:
    """Yield what is wrong with a line after `last`, which has to be bound to the hash `link`."""
    if not raw.endswith(b"\n"):
        yield f"the last entry was cut: {len(raw)} bytes without an end, as a crash leaves them"
        return
    entry = parse(raw[:-1])
    if entry is None or not _is_object(raw[:-1]):
        yield "this is no entry"
    if entry is None:
        return
    expected = last.n + 1 if last else 1
    if entry.n > expected:
        missing = f"entry {expected}" if entry.n == expected + 1 else (
            f"entries {expected} to {entry.n - 1}"
        )  # fmt: skip
        yield f"{missing} missing before this one, number {entry.n}"
    elif entry.n < expected:
        yield f"expected entry {expected} here, this is number {entry.n}"
    elif entry.line[: len(link)] != link.encode():
        yield f"entry {entry.n} is bound to another line than the one before it: one was changed"
    if known.pop(entry.n, frozenset({entry.hash})) != {entry.hash}:
        yield f"entry {entry.n} is another than the anchor says: the journal was written anew"


def _is_object(line: bytes) -> bool:
    """Return whether the last field of a line that has the form of an entry is one JSON object."""
    try:
        msgspec.json.decode(line.split(b" ", 4)[-1], type=dict[str, object])
    except (ValueError, RecursionError):
        return False
    return True
