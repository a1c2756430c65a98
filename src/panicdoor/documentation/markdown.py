"""docs/commands.md, made from the registry."""

from collections.abc import Iterable, Mapping

from panicdoor.commands.fields import KINDS
from panicdoor.commands.registry import Command, Level
from panicdoor.documentation.data import (
    ARGUMENT_KEYS,
    COMMAND_KEYS,
    DOOR_KEYS,
    FIELD_KEYS,
    NEED_KEYS,
)
from panicdoor.documentation.help import LEVELS


def markdown(commands: Mapping[str, Command]) -> str:
    """Return the reference of all commands, and of the JSON that describes them."""
    lines = [
        "<!-- Made by `panicdoor docs` from src/panicdoor/commands; do not edit. -->",
        "",
        "# Commands",
        "",
        "Type a command on a line (telnet, nc, openssl s_client; with your key: ssh), or send",
        "it in a datagram behind the byte 0x01. Words are bare or in 'single quotes'; words in",
        "brackets may be left out.",
        "`help` lists what a door has, `help NAME` explains one.",
        "",
    ]
    for level in Level:
        found = [c for c in commands.values() if c.level is level]
        if found:
            lines += [f"## {level.value.capitalize()}: {LEVELS[level]}", ""]
            for entry in found:
                lines += _command(entry)
    return "\n".join([*lines, *_json()])


def _command(entry: Command) -> list[str]:
    lines = [f"### `{entry.usage}`", "", _text(entry.summary), ""]
    for paragraph in entry.manual:
        lines += [paragraph if paragraph.startswith(" ") else _text(paragraph), ""]
    if entry.undo:
        lines += [f"Undo: `{entry.undo}`", ""]
    if entry.makes_root:
        lines += ["Whoever may run this can become root.", ""]
    if entry.arguments:
        lines += _table(("argument", "meaning"), [(a.shown, a.about) for a in entry.arguments])
    if entry.fields:
        rows = [(field.path, f"{field.kind}: {field.about}") for field in entry.fields]
        lines += ["JSON:", "", *_table(("field", "kind and meaning"), rows)]
    for example in entry.examples:
        lines += ["```console", f"> {example.line}", *example.output.split("\n"), "```", ""]
    return lines


def _json() -> list[str]:
    return [
        "## JSON",
        "",
        "`doc --json` prints one object, in ASCII: `door` is an object, `commands` a list of",
        "objects. `about --json` prints an object with `door` alone, `help --json` one with",
        "`commands` alone, `help NAME --json` one command, and `challenge --json` an object with",
        "`challenge`. Keys may be added; those that are here keep their meaning.",
        "",
        "What the commands that look at the host print stands with each of them: a path as jq(1)",
        "takes it, the kind of value, and what it means. `[]` is each item of a list, `.*` each",
        "key of an object whose keys are names, and `?` says that null may stand there. Every path",
        "is there in every answer, but below a list or an object that is empty or null, and where",
        "it says `alone`: that field is the whole document then.",
        "",
        *_table(("kind", "meaning"), KINDS.items()),
        *_table(("door", "meaning"), DOOR_KEYS),
        *_table(("command", "meaning"), COMMAND_KEYS),
        *_table(("needs", "meaning"), NEED_KEYS),
        *_table(("argument", "meaning"), ARGUMENT_KEYS),
        "`help NAME --json` has besides `fields`, a list of objects:",
        "",
        *_table(("field", "meaning"), FIELD_KEYS),
    ]


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    lines += [f"| `{key}` | {_text(about)} |" for key, about in rows]
    return [*lines, ""]


def _text(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\*_<>|[]" else c for c in text.replace("\n", " "))
