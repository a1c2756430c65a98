"""What stands in the JSON of a command: a table beside the command, which is its documentation.

    _FIELDS: Final = fields(
        '''
        .findings[] text: what is not normal, worst first
        .processes[].pid int: of the process
        .processes[].user text?: its name in /etc/passwd
        '''
    )

A line is a path as jq(1) takes it, the kind of value (KINDS), and what it means; it goes on in
lines that are indented deeper. `[]` is each item of a list, `.*` each key of an object whose keys
are names; `?` says that null may stand there. A path is there in every answer, whatever the host is
like, but for two cases: below a list or an object that is empty or null, and where one has a
meaning that begins with `alone`: that field is the whole document then.
"""

import inspect
import re
from typing import Final, NamedTuple

KINDS: Final = {
    "text": "a string of printable ASCII; what else the host had in it is escaped as \\xNN",
    "bool": "true or false",
    "int": "a whole number",
    "bytes": "a whole number of bytes",
    "seconds": "a number of seconds",
    "percent": "a number of percent",
    "time": "seconds since 1970 in UTC, a number",
    "date": "a date and a time as RFC 3339 writes them",
    "number": "a number, of the unit that is told",
    "object": "an object, of which only `?` is told here: its own fields stand below",
}

_KEY: Final = re.compile(r"((?:\.(?:[a-z_0-9]+|\*)(?:\[\])*)+) ([a-z]+)(\??)")


class Field(NamedTuple):
    """One value: `path` as jq(1) takes it, `kind` of KINDS, with a `?` where it may be null."""

    path: str
    kind: str
    about: str


def fields(text: str) -> tuple[Field, ...]:
    """Return the fields of a table. Raises TypeError for what is none, or there twice."""
    found: dict[str, Field] = {}
    for line in inspect.cleandoc(text).replace("\n  ", " ").split("\n"):
        key, _, about = line.partition(": ")
        read = _KEY.fullmatch(key)
        if read is None or read[2] not in KINDS or not about:
            raise TypeError(f"a line is `.path kind: what it means`, not {line!r}")
        if read[1] in found:
            raise TypeError(f"{read[1]} is there twice")
        found[read[1]] = Field(read[1], read[2] + read[3], about)
    return tuple(found.values())
