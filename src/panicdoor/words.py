"""The one grammar for typed commands and for the `do:` line of an order.

A line is bare words and words in single quotes, separated by blanks:

    word = 1*bare / "'" *(printable ASCII but the quote) "'"
    bare = A-Z a-z 0-9 . _ : / @ = + , % -

There are no escapes, no variables, no globs: a word means itself. But `?`, which many try first,
means `help`, where a line begins with it.
"""

import re
from typing import Final

from panicdoor.errors import CommandError

LINE_MAX: Final = 1024  # characters; a path of PATH_MAX does not fit, no order needs one
SHELLS: Final = frozenset("|;&<>$*`")  # characters that a shell would do something with
WORDS_MAX: Final = 64  # no command takes nearly as many
SECONDS_MAX: Final = 3650 * 86400  # ten years: whoever asks for more does not mean a time

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

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
    if line == "?" or line.startswith("? "):
        line = f"help{line[1:]}"
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            if not SHELLS.isdisjoint(line[at:]):
                raise CommandError(f"column {at + 1}: this is no shell, it has no | ; & < > $ *")
            raise CommandError(
                f"column {at + 1}: a word is letters, digits and ._:/@=+,%- or 'in single quotes'"
            )
        found.append(match[1].strip("'") if match[1].startswith("'") else match[1])
        if len(found) > WORDS_MAX:
            raise CommandError(f"a line may have {WORDS_MAX} words")
        at = match.end()
    return tuple(found)


def seconds(word: str) -> int | None:
    """Return a time typed as `90s`, `15m`, `6h` or `2d` in seconds.

    None where it is none of these, nothing at all, or more than SECONDS_MAX.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", word, re.ASCII)
    if match is None:
        return None
    found = int(match[1]) * _UNITS[match[2]]
    return found if 0 < found <= SECONDS_MAX else None


def join(words: tuple[str, ...]) -> str:
    """Return the line that `parse` splits into `words`, or raise CommandError where none does."""
    line = " ".join(w if re.fullmatch(r"[A-Za-z0-9._:/@=+,%-]+", w) else f"'{w}'" for w in words)
    if parse(line) != words:
        raise CommandError("a word may not have a single quote in it, nor anything unprintable")
    return line
