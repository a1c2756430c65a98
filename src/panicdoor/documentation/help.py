"""The registry as text for terminals: the list, and one command in full."""

from collections.abc import Iterable
from typing import Final

from panicdoor.commands.registry import Command, Level
from panicdoor.documentation.layout import columns, prose, wrap

LEVELS: Final = {
    Level.PUBLIC: "anyone, without a key",
    Level.OBSERVE: "look, change nothing",
    Level.RECOVER: "repair",
    Level.DEFEND: "lock, cut off, reboot",
}


def listing(commands: Iterable[Command]) -> str:
    """Return all commands, by level, a line each."""
    found = tuple(commands)
    left = max((len(c.brief) for c in found), default=0)
    lines: list[str] = []
    for level in Level:
        here = [c for c in found if c.level is level]
        if here:
            lines += [f"{level.value.upper()}  ({LEVELS[level]})"]
            lines += [line for c in here for line in wrap(c.summary, f"  {c.brief:<{left}}  ")]
    return "\n".join([*lines, "help NAME explains one of them.", ""])


def explain(command: Command, examples: bool = True) -> str:
    """Return one command in full."""
    lines = wrap(command.usage)
    lines += wrap(command.summary, "  ")
    lines += wrap(f"Level {command.level.value}: {LEVELS[command.level]}.", "  ")
    if command.undo:
        lines += wrap(f"Undo: {command.undo}", "  ")
    if command.makes_root:
        lines += wrap("Whoever may run this can become root.", "  ")
    if command.manual:
        lines += ["", *prose(command.manual, "  ")[:-1]]
    if command.arguments:
        lines += ["", *columns([(a.shown, a.about) for a in command.arguments])]
    if examples and command.examples:
        lines += ["", "  For example (... is text left out):"]
        for example in command.examples:
            lines.append(f"    > {example.line}")
            lines += [f"    {line}".rstrip() for line in example.output.split("\n")]
    return "\n".join([*lines, ""])
