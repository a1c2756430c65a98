"""docs/panicdoor.8, the manual page, made from the registry (man(7) macros of roff)."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from panicdoor.commands.registry import Command, Level
from panicdoor.documentation.help import LEVELS

Subcommand = tuple[str, str]  # how it is typed after `panicdoor`, and what it does

FILES: Final = (
    ("door.toml", "Where the door listens, and who may do what; each key is explained in it."),
    ("allowed_signers", "Whose ssh keys it knows, and by which name: see ssh-keygen(1)."),
    ("identity, tls.pem", "The keys of this door alone, never copied to another."),
    ("identity.pub", "The key by which ssh and people know the door."),
    ("journal", "What people with a key did, and what befell the door: journal show DIR."),
    ("places", "Which processes a door left behind, for the next serve."),
)
EXIT_CODES: Final = (
    ("0", "done"),
    ("1", "the door refused, or failed"),
    ("2", "wrong usage, or a wrong configuration"),
    ("3", "nothing answered"),
)


def man(subcommands: Sequence[Subcommand], commands: Mapping[str, Command]) -> str:
    """Return the page: the program's own subcommands in brief, the door's commands in full."""
    lines = [
        '.\\" Made by "panicdoor docs"; do not edit.',
        '.TH PANICDOOR 8 "" "panicdoor" "System administration"',
        ".SH NAME",
        "panicdoor \\- an emergency door into a machine, which explains itself",
        ".SH SYNOPSIS",
    ]
    for usage, _ in subcommands:
        lines += [f".B panicdoor {_roff(usage.split(' ')[0])}"]
        lines += [_roff(usage.partition(" ")[2]), ".br"]
    lines += [".SH DESCRIPTION"]
    lines += _prose(
        "panicdoor listens on tcp and udp port 903, held in memory, so that there is still "
        "somebody to talk to when ssh, PAM, LDAP, DNS, systemd, fork(2) or the disk have failed. "
        "To telnet, nc, a browser, curl, openssl s_client or a datagram it says what it is, whose "
        "it is, and what may be done. To ssh with a key that it knows it shows what is "
        "wrong with the host: ssh -p 903 YOU@HOST triage. It has no accounts and takes no password."
    )
    lines += [".SH SUBCOMMANDS"]
    for usage, about in subcommands:
        lines += [".TP", f".B {_roff(usage)}", *_prose(about)]
    lines += [".SH COMMANDS OF THE DOOR"]
    lines += _prose("These are typed at the door, not at a shell. Brackets: may be left out.")
    for level in Level:
        found = [c for c in commands.values() if c.level is level]
        if found:
            lines += [f".SS {level.value.capitalize()}: {_roff(LEVELS[level])}"]
            for entry in found:
                lines += _command(entry)
    lines += [".SH FILES", *_prose("In DIR, which is usually /etc/panicdoor:")]
    for name, about in FILES:
        lines += [".TP", f".B {_roff(name)}", *_prose(about)]
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES:
        lines += [".TP", f".B {code}", *_prose(meaning)]
    lines += [
        ".SH SEE ALSO",
        ".BR ssh (1),",
        ".BR ssh\\-keygen (1),",
        ".BR nc (1),",
        ".BR telnet (1)",
        "",
    ]
    return "\n".join(lines)


def _command(entry: Command) -> list[str]:
    lines = [".TP", f".B {_roff(entry.usage)}", *_prose(entry.summary)]
    for paragraph in entry.manual:
        if paragraph.startswith(" "):
            lines += [".IP", ".nf", *map(_line, paragraph.split("\n")), ".fi"]
        else:
            lines += [".IP", *_prose(paragraph)]
    if entry.undo:
        lines += [".IP", *_prose(f"Undo: {entry.undo}")]
    if entry.makes_root:
        lines += [".IP", *_prose("Whoever may run this can become root.")]
    if entry.arguments:
        lines += [".RS"]
        for argument in entry.arguments:
            lines += [".TP", f".I {_roff(argument.shown)}", *_prose(argument.about)]
        lines += [".RE"]
    return lines


def _prose(text: str) -> list[str]:
    """A sentence a line, as roff wants it: it sets its own spaces between them."""
    return [_line(s) for s in re.split(r"(?<=[.:?]) (?=[A-Z])", " ".join(text.split()))]


def _line(text: str) -> str:
    shown = _roff(text)
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


def _roff(text: str) -> str:
    for char, escape in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga")):
        text = text.replace(char, escape)
    return text.replace("^", "\\(ha").replace("~", "\\(ti")
