"""Asking a command as an operator does, with what holds for every answer checked on the way."""

import json
import re
from typing import Any

from tests.commands.fitting import check
from tests.documentation.doors import CHALLENGE, NOW, V4, manual

from panicdoor.commands.registry import COMMANDS, Context, Level, Where, call
from panicdoor.messages import PART_MAX
from panicdoor.words import parse

CONTEXT = Context(manual(), V4, NOW, lambda: CHALLENGE)


def parts(line: str) -> list[str]:
    """Return the parts of the answer."""
    found = list(call(CONTEXT, parse(line)))
    for part in found:
        assert 0 < len(part) <= PART_MAX
        assert part.replace("\n", "").isprintable()
        assert part.isascii()
    return found


def screen(line: str, wide: bool = False) -> str:
    """Return the answer as text of 80 columns; `wide` where command lines are in it."""
    text = "".join(parts(line))
    assert text.endswith("\n")
    assert wide or max(map(len, text.split("\n"))) <= 80
    return text


def document(line: str) -> Any:
    """Return the answer of `line --json`."""
    text = "".join(parts(f"{line} --json"))
    assert text.count("\n") == 1
    found = json.loads(text)
    check(line, found)
    return found


def is_an_observer(name: str) -> None:
    """Check that a command only looks, from its own seat, and that its examples are true."""
    command = COMMANDS[name]
    assert (command.level, command.where) == (Level.OBSERVE, Where.OBSERVER)
    assert command.undo == ""
    assert not command.makes_root
    for example in command.examples:
        pattern = ".*".join(map(re.escape, example.output.split("...")))
        printed = "".join(parts(example.line)).strip("\n")
        assert re.fullmatch(pattern, printed, re.DOTALL), printed
