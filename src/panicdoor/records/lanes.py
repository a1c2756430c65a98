"""What a journal says of that which is good for once: authors' numbers, and codes on paper.

`fold` reads it from the entries; `carried` says it again, so that a journal that begins with that
needs none of what stood before it. The same entry twice, or in another order, changes nothing:
numbers only grow, and what is spent stays so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from panicdoor.records.journal import FIELDS_MAX, Value, parse

NUMBER_MAX: Final = 10**15 - 1  # what a text of an order can say as seq
CARRIED: Final = "carried"
WHOLE: Final = "whole"  # the field of the last of a row of carried entries

_KINDS: Final = frozenset({b"accepted", b"armed", b"spent", b"login", CARRIED.encode()})
_CODE: Final = re.compile(r"([a-z0-9._@-]{1,64}) ([0-9]{1,3})")
_RANGE: Final = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")
_ROOM: Final = FIELDS_MAX - 200  # characters of one entry's list; the rest is what stands around it


@dataclass(frozen=True, slots=True)
class Lanes:
    """What the entries so far say.

    `numbers` has the last seq of each author, `floor` that of the last arm-seq; `spent` the codes
    that are good for nothing any more, as pairs of principal and number. `last` is the number of
    the last entry, 0 where there was none: a journal that is missing says nothing of all that.
    `whole` is False where these may be the entries of a later file alone, without what was carried.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    floor: int = 0
    spent: frozenset[tuple[str, int]] = frozenset()
    last: int = 0
    whole: bool = True


def fold(lines: Iterable[bytes]) -> Lanes:
    """Return what the lines of a journal say. What is no entry, or says it wrongly, says nothing.

    With or without line feeds; the files of one journal may be given in any order.
    """
    numbers: dict[str, int] = {}
    spent: set[tuple[str, int]] = set()
    floor = last = 0
    first, whole = 0, False
    for line in lines:
        entry = parse(line.removesuffix(b"\n"))
        if entry is None:
            continue
        last, first = max(last, entry.n), min(first or entry.n, entry.n)
        _, _, _, kind, text = entry.line.split(b" ", 4)
        if kind not in _KINDS:
            continue
        try:
            fields = msgspec.json.decode(text, type=dict[str, object])
        except (ValueError, RecursionError):
            continue
        for author, number in _numbers(kind, fields):
            numbers[author] = max(number, numbers.get(author, 0))
        floor = max(floor, _floor(kind, fields))
        spent.update(_spent(kind, fields))
        whole = whole or (kind == CARRIED.encode() and fields.get(WHOLE) is True)
    return Lanes(numbers, floor, frozenset(spent), last, whole or first <= 1)


def carried(lanes: Lanes) -> list[dict[str, Value]]:
    """Return the fields of the entries that say it all again, the last of them with WHOLE.

    There is at least one, and each fits a line.
    """
    entries: list[dict[str, Value]] = []
    for numbers in _portions((name, str(n)) for name, n in sorted(lanes.numbers.items())):
        entries.append({"numbers": {name: int(n) for name, n in numbers.items()}})
    for spent in _portions(_ranges(lanes.spent)):
        entries.append({"spent": {**spent}})
    entries.append({"floor": lanes.floor, WHOLE: True})
    return entries


def _numbers(kind: bytes, fields: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    if kind == b"accepted":
        pairs: Iterable[tuple[object, object]] = [(fields.get("by"), fields.get("seq"))]
    else:
        pairs = _dict(fields.get("numbers")).items() if kind == CARRIED.encode() else ()
    for author, number in pairs:
        if isinstance(author, str) and _number(number):
            yield author, _number(number)


def _floor(kind: bytes, fields: Mapping[str, object]) -> int:
    name = {b"armed": "seq", CARRIED.encode(): "floor"}.get(kind, "")
    return _number(fields.get(name))


def _spent(kind: bytes, fields: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    """Yield the codes that an order used, that a login used, or that were struck."""
    if kind == CARRIED.encode():
        for name, text in _dict(fields.get("spent")).items():
            for match in _RANGE.finditer(text if isinstance(text, str) else ""):
                low = int(match[1])
                yield from ((name, n) for n in range(low, int(match[2] or low) + 1))
        return
    codes, one = fields.get("codes"), fields.get("code")
    if isinstance(one, int) or (isinstance(one, str) and one.isdigit()):
        one = f"{fields.get('by')} {one}"  # of who logged in
    for code in [*(codes if isinstance(codes, list) else ()), one]:
        found = _CODE.fullmatch(code) if isinstance(code, str) else None
        if found:
            yield found[1], int(found[2])


def _number(value: object) -> int:
    """Return what can be a seq, else 0."""
    right = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= NUMBER_MAX
    return value if right and isinstance(value, int) else 0


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _ranges(spent: frozenset[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Yield each principal with its spent codes, as in 1-50,53: 999 codes fit a line."""
    codes: dict[str, list[int]] = {}
    for name, n in sorted(spent):
        codes.setdefault(name, []).append(n)
    for name, numbers in codes.items():
        rows: list[list[int]] = []
        for n in numbers:
            if rows and n == rows[-1][1] + 1:
                rows[-1][1] = n
            else:
                rows.append([n, n])
        yield name, ",".join(f"{a}-{b}" if b > a else str(a) for a, b in rows)


def _portions(pairs: Iterable[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """Yield them in portions, each of which fits an entry."""
    portion: dict[str, str] = {}
    length = 0
    for name, text in pairs:
        size = len(name) + len(text) + 6
        if portion and length + size > _ROOM:
            yield portion
            portion, length = {}, 0
        portion[name] = text
        length += size
    if portion:
        yield portion
