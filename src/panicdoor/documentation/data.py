"""The documentation as plain values, for JSON. The keys are documented in docs/commands.md."""

from typing import Any, Final

from panicdoor.commands.authority import Need
from panicdoor.commands.registry import Command
from panicdoor.documentation.facts import Stock
from panicdoor.documentation.template import HOST, PORT

NEEDS: Final = "\x07"  # before a command's name: a blank for what that takes now

DOOR_KEYS: Final = (
    ("name", "the door's own name"),
    ("fleet", "the fleet it belongs to, or empty"),
    ("contact", "its owner, or empty"),
    ("fingerprint", "its public key, as `SHA256:` and base64"),
    ("address", "the numeric address that you reached"),
    ("port", "the port that you reached, a number"),
    ("ways", "the ways in: some of telnet, nc, http, tls, udp, ssh, order"),
    ("elsewhere", "an object: other ways to the machine, as the owner wrote them"),
    ("version", "of panicdoor"),
)
COMMAND_KEYS: Final = (
    ("name", "the word to type"),
    ("level", "public, observe, recover or defend"),
    ("usage", "the whole line, optional words in brackets"),
    ("summary", "one sentence"),
    ("manual", "more of it, a list of paragraphs"),
    ("undo", "the line that takes it back, or empty"),
    ("makes_root", "true where running it is as good as being root"),
    ("needs", "an object: what it takes on this door now"),
    ("arguments", "a list of objects, in the order in which they are typed"),
)
NEED_KEYS: Final = (
    ("signatures", "how many people must sign, at the least: 0 for none, null where nobody may"),
    ("typed", "true where somebody may type it in ssh instead"),
)
ARGUMENT_KEYS: Final = (
    ("name", "as the usage has it, in small letters"),
    ("kind", "str, int, seconds (typed as 90s, 15m, 6h or 2d), or bool for a flag"),
    ("about", "what it means"),
    ("required", "false where it may be left out"),
    ("default", "what is taken then"),
    ("rest", "true where it takes all the words that are left"),
    ("option", "true where it is typed as --name, anywhere behind the command"),
    ("value", "what the word behind an option is; cpu|memory where it is one of these"),
)
FIELD_KEYS: Final = (
    ("path", "where it is, as jq(1) takes it"),
    ("kind", "what it is, one of the table below, with a `?` where it may be null"),
    ("about", "what it means"),
)


def door(stock: Stock) -> dict[str, Any]:
    """Return what is known of the door; address and port are blanks."""
    facts = stock.facts
    return {
        "name": facts.name,
        "fleet": facts.fleet,
        "contact": facts.contact,
        "fingerprint": facts.fingerprint,
        "address": HOST,
        "port": PORT,
        "ways": sorted(stock.ways),
        "elsewhere": dict(facts.elsewhere),
        "version": facts.version,
    }


def needs(need: Need | None) -> dict[str, Any]:
    """Return what running a command takes."""
    return {
        "signatures": need.signatures if need else None,
        "typed": need is not None and need.typed,
    }


def command(entry: Command) -> dict[str, Any]:
    """Return what is known of a command; what it takes is a blank."""
    return {
        "name": entry.name,
        "level": entry.level.value,
        "usage": entry.usage,
        "summary": entry.summary,
        "manual": list(entry.manual),
        "undo": entry.undo,
        "makes_root": entry.makes_root,
        "needs": f"{NEEDS}{entry.name}",
        "arguments": [
            {
                "name": argument.name.replace("_", "-"),
                "kind": argument.kind,
                "about": argument.about,
                "required": argument.required,
                "default": argument.default,
                "rest": argument.rest,
                "option": argument.option,
                "value": argument.value,
            }
            for argument in entry.arguments
        ],
    }


def fields(entry: Command) -> list[dict[str, str]]:
    """Return what is known of a command's JSON."""
    return [field._asdict() for field in entry.fields]
