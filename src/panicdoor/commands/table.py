"""How commands that look at the host say what they saw: tables, units, and JSON.

Every cell and every string of JSON is escaped here, so that nothing a process, a file or a peer
calls itself can reach a terminal as anything but visible ASCII. Commands hand over plain text.

    yield from lines_as_parts(table([Column("pid", right=True), Column("name", least=8)], rows))
    yield from document({"processes": [...]})

A table takes 80 columns at most. The rows come in the order in which they are to be read: worst
first. What is not shown is said, with `left_out`.
"""

from collections.abc import Iterable, Iterator, Sequence
from json import dumps
from textwrap import wrap
from typing import Final, NamedTuple

from panicdoor.commands.registry import parts
from panicdoor.messages import PART_MAX
from panicdoor.printable import escape_line

WIDTH: Final = 80  # columns of the terminal that everybody has
GAP: Final = "  "  # between two columns
CUT: Final = "~"  # stands where a cell was cut
ROWS_MAX: Final = 1000  # rows of one table: at most 80 KiB held at once

_KIBI: Final = 1024
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_TENTHS_BELOW: Final = 10  # from here on a tenth says nothing to anybody
_SIZE_TENTHS_BELOW: Final = 100
_TIMES: Final = ((86400, "d"), (3600, "h"), (60, "min"))

Json = str | int | float | bool | None | Sequence["Json"] | dict[str, "Json"]


class Column(NamedTuple):
    """A column: its title, whether numbers stand in it, and what it may be cut to.

    Where a table is too wide, the widest columns that have a `least` lose first, but never below
    it. Numbers are not cut: half a number is a wrong one.
    """

    title: str
    right: bool = False
    least: int = 0


def table(headings: Sequence[Column], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, each with its line feed; nothing where there are no rows.

    At most ROWS_MAX rows are taken; the rest is counted and said.
    """
    shown: list[tuple[str, ...]] = []
    more = 0
    for row in rows:
        if len(shown) < ROWS_MAX:
            shown.append(tuple(escape_line(cell[: WIDTH + 1]) for cell in row))
        else:
            more += 1
    if not shown:
        return
    widths = _widths(headings, shown)
    for row in [tuple(column.title for column in headings), *shown]:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for column, width, cell in zip(headings, widths, map(cut, row, widths), strict=True)
        ]
        yield cut(GAP.join(cells).rstrip(), WIDTH) + "\n"
    yield from left_out(more, "rows")


def cut(text: str, width: int) -> str:
    """Return `text` in `width` characters at most, with `~` where the rest was."""
    return text if len(text) <= width else text[: max(0, width - len(CUT))] + CUT


def left_out(count: int, what: str) -> Iterator[str]:
    """Yield the line that says how much was not shown: `(12 more processes left out)`."""
    if count > 0:
        yield f"({count} more {what} left out)\n"


def findings(found: Iterable[str], none: str) -> Iterator[str]:
    """Yield what is wrong, each behind a `!`; where nothing is, the sentence `none`."""
    empty = True
    for text in found:
        empty = False
        yield from (f"{line}\n" for line in _wrapped(escape_line(text), "! "))
    if empty:
        yield from (f"{line}\n" for line in _wrapped(none, ""))


def _wrapped(text: str, first: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def lines_as_parts(lines: Iterable[str]) -> Iterator[str]:
    """Gather short lines, each with its line feed, into parts as large as a part may be."""
    held: list[str] = []
    size = 0
    for line in lines:
        if size + len(line) > PART_MAX and held:
            yield from parts("".join(held))
            held, size = [], 0
        held.append(line)
        size += len(line)
    yield from parts("".join(held))


def document(value: Json) -> Iterator[str]:
    """Yield `value` as JSON in ASCII, one line, in parts; strings are escaped as in tables."""
    yield from parts(dumps(_escaped(value)) + "\n")


def size(count: float) -> str:
    """Return bytes as `512 B`, `1.5 KiB`, `11.2 GiB`, `312 MiB`."""
    for unit in _SIZES:
        if abs(count) < _KIBI or unit == _SIZES[-1]:
            break
        count /= _KIBI
    if unit == "B" or abs(count) >= _SIZE_TENTHS_BELOW:
        return f"{count:.0f} {unit}"
    return f"{count:.1f} {unit}"


def percent(share: float) -> str:
    """Return a number of percent as `0 %`, `0.4 %`, `97 %`."""
    return f"{_short(share)} %"


def duration(seconds: float) -> str:
    """Return a time in its largest unit: `0.3 s`, `42 s`, `28 min`, `1.9 h`, `41 d`."""
    for length, unit in _TIMES:
        if abs(seconds) >= length:
            return f"{_short(seconds / length)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.1f}" if 0 < abs(number) < _TENTHS_BELOW else f"{number:.0f}"


def _widths(headings: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [len(column.title) for column in headings]
    for row in rows:
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - WIDTH
    while over > 0:
        room = [
            (width, at)
            for at, (column, width) in enumerate(zip(headings, widths, strict=True))
            if column.least and width > max(column.least, len(CUT))
        ]
        if not room:
            break
        widths[max(room)[1]] -= 1
        over -= 1
    return widths


def _escaped(value: Json) -> Json:
    if isinstance(value, str):
        return escape_line(value)
    if isinstance(value, dict):
        return {escape_line(key): _escaped(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_escaped(inner) for inner in value]
    return value
