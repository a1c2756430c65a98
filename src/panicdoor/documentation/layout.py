"""How texts are cut, wrapped and paged, for terminals and datagrams. Used at start only."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from panicdoor.documentation.template import width

COLUMNS: Final = 80
MARGIN: Final = 79  # a line of 80 makes some terminals insert an empty one
ROWS: Final = 23  # of 24: the cursor stands on the last one, and the first must not scroll away
TITLE_MAX: Final = 44  # columns of a screen's heading, before the page number and the clock
KEY_MAX: Final = 20  # characters of a key of [elsewhere]; a longer one is cut


def cut(text: str, columns: int) -> str:
    """Return `text`, or its beginning and `...`, in at most `columns`."""
    return text if len(text) <= columns else text[: columns - 3] + "..."


def wrap(text: str, first: str = "", columns: int = MARGIN) -> list[str]:
    """Return `text` in lines behind `first`; later lines are indented as far.

    A single word too long for its line, such as a URL, goes on a line of its own, uncut as long as
    it has at most COLUMNS characters.
    """
    indent = " " * len(first)
    lines: list[str] = []
    line = first
    for word in text.split():
        joined = line + word if line in (first, indent) else f"{line} {word}"
        if width(joined) <= columns:
            line = joined
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = indent + word
        if width(line) > columns:
            lines.append(cut(word, COLUMNS))
            line = indent
    if line.strip():
        lines.append(line.rstrip())
    return lines


def prose(paragraphs: Iterable[str], indent: str = "") -> list[str]:
    """Return paragraphs wrapped, an empty line after each; an indented one stays as it is."""
    lines: list[str] = []
    for paragraph in paragraphs:
        if paragraph.startswith(" "):
            lines += textwrap.indent(textwrap.dedent(paragraph), indent + "  ").split("\n")
        else:
            lines += wrap(paragraph, indent)
        lines.append("")
    return lines


def columns(pairs: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Return `word  what it is` lines with the descriptions in one column."""
    left = max((len(word) for word, _ in pairs), default=0)
    return [line for word, text in pairs for line in wrap(text, f"{indent}{word:<{left}}  ")]


def table(pairs: Sequence[tuple[str, str]], rows: int, more: str) -> list[str]:
    """Return `key  value` entries, two short ones beside each other, in at most `rows` lines.

    What does not fit whole is replaced by the line `more`.
    """
    half = COLUMNS // 2 - 2
    lines: list[str] = []
    alone = False  # the last line is one short entry, and there may be room beside it
    for n, (key, value) in enumerate(pairs):
        entry = f"  {cut(key, KEY_MAX):<8} {value}"
        beside = f"{lines[-1]:<{half}}{entry}" if alone else ""
        if alone and len(lines[-1]) < half and len(beside) <= MARGIN:
            lines[-1] = beside
            alone = False
            continue
        alone = len(entry) <= MARGIN
        new = [entry] if alone else wrap(value, f"  {cut(key, KEY_MAX):<8} ")
        spare = 0 if n == len(pairs) - 1 else 1  # for `more`, should the next one not fit
        if len(lines) + len(new) > rows - spare:
            return [*lines, more]
        lines += new
    return lines


def pack(blocks: Iterable[list[str]], room: int, measure: Callable[[str], int]) -> list[str]:
    """Return the blocks of lines on pages of at most `room` bytes, as `measure` counts them.

    A block that fits on one page is not divided. The empty line at a block's end stays with it,
    so that pages read one after the other are one text.
    """
    pages: list[str] = []
    page = ""
    for block in blocks:
        text = "".join(f"{line}\n" for line in block)
        pieces = [text] if measure(text) <= room else text.splitlines(keepends=True)
        for piece in pieces:
            if page and measure(page + piece) > room:
                pages.append(page)
                page = ""
            page += piece
    return [*pages, page.rstrip("\n") + "\n"] if page else pages
