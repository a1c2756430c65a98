"""What the Tab key adds to a line that is being typed: names of commands, options, values."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from panicdoor.commands.registry import Command

NAMES_OF: Final = frozenset({"help", "order"})  # commands whose first word is a command's name
BUILT_IN: Final = ("exit",)  # what a console knows besides


class Completion(NamedTuple):
    """The new line and cursor, and what could follow where it is not one thing."""

    line: str
    position: int
    choices: tuple[str, ...]


def complete(line: str, position: int, commands: Mapping[str, Command]) -> Completion:
    """Return `line` with as much added at `position` as is certain."""
    before, after = line[:position], line[position:]
    words = before.split(" ")
    start = words[-1]
    earlier = [word for word in words[:-1] if word]
    choices = tuple(c for c in _candidates(earlier, start, commands) if c.startswith(start))
    if not choices:
        return Completion(line, position, ())
    common = _common(choices)
    if len(choices) == 1:
        common += "" if after.startswith(" ") else " "
        choices = ()
    added = before[: len(before) - len(start)] + common
    return Completion(added + after, len(added), choices)


def _candidates(earlier: list[str], start: str, commands: Mapping[str, Command]) -> list[str]:
    if not earlier:
        return sorted([*commands, *BUILT_IN])
    found = commands.get(earlier[0])
    if found is None:
        return []
    options = {a.word: a for a in found.arguments if a.option}
    last = options.get(earlier[-1])
    if last is not None and last.kind != "bool":
        return list(last.choices)
    if start.startswith("-"):
        return [word for word in options if word not in earlier]
    if found.name not in NAMES_OF or len(earlier) != 1:
        return []
    levels = {command.level.value for command in commands.values()}
    return sorted({*commands, *levels}) if found.name == "help" else sorted(commands)


def _common(choices: tuple[str, ...]) -> str:
    first, last = min(choices), max(choices)
    at = 0
    while at < len(first) and first[at] == last[at]:
        at += 1
    return first[:at]
