"""The registry as text for terminals: the list, and one command in full."""

from collections.abc import Iterable, Sequence
from typing import Final

from panicdoor.commands.authority import Need
from panicdoor.commands.registry import Command, Level
from panicdoor.documentation.layout import columns, prose, wrap

LEVELS: Final = {
    Level.PUBLIC: "anyone, without a key",
    Level.OBSERVE: "look, change nothing",
    Level.RECOVER: "repair",
    Level.DEFEND: "lock, cut off, reboot",
}

COUNTS: Final = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")


def listing(commands: Iterable[Command]) -> str:
    """Return all commands, by level: for everybody in a line each, the others by name.

    That is a screen, and fits into a datagram, whatever a door can do.
    """
    found = tuple(commands)
    lines: list[str] = []
    more = ""
    for level in Level:
        here = [c for c in found if c.level is level]
        if here and level is Level.PUBLIC:
            lines += _described(level, here)
        elif here:
            lines += [_heading(level), *wrap("  ".join(c.name for c in here), "  ")]
            more += f" help {level.value} lists those."
    return "\n".join([*lines, *wrap(f"help NAME explains one of them.{more}"), ""])


def level_listing(level: Level, commands: Sequence[Command]) -> str:
    """Return the commands of one level, a line each."""
    return "\n".join([*_described(level, commands), ""])


def _heading(level: Level) -> str:
    return f"{level.value.upper()}  ({LEVELS[level]})"


def _described(level: Level, commands: Sequence[Command]) -> list[str]:
    left = max(len(c.brief) for c in commands)
    rows = [line for c in commands for line in wrap(c.summary, f"  {c.brief:<{left}}  ")]
    return [_heading(level), *rows]


def level_line(command: Command) -> str:
    """Return the level of a command, and what it means."""
    return f"Level {command.level.value}: {LEVELS[command.level]}."


def takes(need: Need | None) -> str:
    """Return what it takes to run a command: how many sign, never who, since strangers read it."""
    if need is None:
        return "No grant names it: nobody."
    if not need.signatures:
        return ""
    count = COUNTS[need.signatures - 1]
    plural = "" if need.signatures == 1 else "s"
    if need.typed:
        return f"{count} signature{plural}, or typed in ssh by whoever a grant names."
    return f"{count} signature{plural}; not to be typed, even in ssh."


def explain(command: Command, examples: bool = True, level: str = "") -> str:
    """Return one command in full. `level` stands for the line about its level."""
    lines = wrap(command.usage)
    lines += wrap(command.summary, "  ")
    lines += [level] if level else wrap(level_line(command), "  ")
    if command.undo:
        lines += wrap(f"Undo: {command.undo}", "  ")
    if command.makes_root:
        lines += wrap("Whoever may run this can become root.", "  ")
    if command.manual:
        lines += ["", *prose(command.manual, "  ")[:-1]]
    if command.arguments:
        lines += ["", *columns([(a.shown, a.about) for a in command.arguments])]
    if command.fields:
        lines += wrap(f"What is in the JSON: help {command.name} --json", "  ")
    if examples and command.examples:
        lines += ["", "  For example (... is text left out):"]
        for example in command.examples:
            lines.append(f"    > {example.line}")
            lines += [f"    {line}".rstrip() for line in example.output.split("\n")]
    return "\n".join([*lines, ""])
