"""The one grammar for typed commands and for the `do:` line of an order.

A line is bare words and words in single quotes, separated by blanks:

    word = 1*bare / "'" *(printable ASCII but the quote) "'"
    bare = A-Z a-z 0-9 . _ : / @ = + , % -

There are no escapes, no variables, no globs: a word means itself.
"""

import re
from typing import Final

from panicdoor.errors import CommandError

LINE_MAX: Final = 1024  # characters; a path of PATH_MAX does not fit, no order needs one
WORDS_MAX: Final = 64  # no command takes nearly as many

_WORD: Final = re.compile(r"([A-Za-z0-9._:/@=+,%-]+|'[\x20-\x26\x28-\x7e]*')(?: +|$)", re.ASCII)


def parse(line: str) -> tuple[str, ...]:
    """Split one line into words.

    Raises CommandError, naming the column (from 1), where the line does not follow the grammar,
    has more than WORDS_MAX words or more than LINE_MAX characters.
    """
    line = line.strip(" ")
    if len(line) > LINE_MAX:
        raise CommandError(f"a line may have {LINE_MAX} characters")
    found: list[str] = []
    at = 0
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise CommandError(
                f"column {at + 1}: a word is letters, digits and ._:/@=+,%- or 'in single quotes'"
            )
        found.append(match[1].strip("'") if match[1].startswith("'") else match[1])
        if len(found) > WORDS_MAX:
            raise CommandError(f"a line may have {WORDS_MAX} words")
        at = match.end()
    return tuple(found)


def join(words: tuple[str, ...]) -> str:
    """Return the line that `parse` splits into `words`, or raise CommandError where none does."""
    line = " ".join(w if re.fullmatch(r"[A-Za-z0-9._:/@=+,%-]+", w) else f"'{w}'" for w in words)
    if parse(line) != words:
        raise CommandError("a word may not have a single quote in it, nor anything unprintable")
    return line
