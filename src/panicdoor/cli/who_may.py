"""`panicdoor who-may COMMAND DIR`: who may run a command of a door, read from its files."""

import argparse
from json import dumps
from pathlib import Path
from typing import Any, Final

from panicdoor.commands.authority import allows, need, too_cheap, typed
from panicdoor.commands.registry import COMMANDS, Command, Level
from panicdoor.config import Grant
from panicdoor.documentation.help import LEVELS
from panicdoor.documentation.layout import wrap
from panicdoor.errors import ConfigError
from panicdoor.orders import signers
from panicdoor.printable import escape_line
from panicdoor.processes.directory import SIGNERS, read_policy

_SHOWN_MAX: Final = 40  # characters of an unknown name that the error repeats

_ABOUT = """\
Say who may run COMMAND on the door of DIR, how many of them must sign, and from
where, as door.toml and allowed_signers say it now. No door need be open, and
one that is may still hold an older policy: see panicdoor reload.
"""

_MORE = """\
COMMAND may also be a level, for all commands of it.

exit codes: 0 said, 2 there is no such command, or a file in DIR is wrong

example:
  panicdoor who-may triage /etc/panicdoor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument("command", metavar="COMMAND", help="the command, or a level")
    parser.add_argument("dir", metavar="DIR", type=Path, help="the directory of the door")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Read and print. Raises ConfigError."""
    found = _commands(arguments.command)
    policy = read_policy(arguments.dir)
    grants = policy.door.grants
    if arguments.json:
        print(dumps({"commands": [described(command, grants) for command in found]}))
        return 0
    together: dict[tuple[str, ...], list[str]] = {}
    for command in found:
        together.setdefault(terms(command, grants), []).append(command.name)
    for lines, names in together.items():
        print("\n".join([*wrap("  ".join(names)), *lines]))
    for remark in signers.parse(policy.signers).remarks:
        print(f"note: {SIGNERS}: {escape_line(str(remark))}")
    for note in too_cheap(grants, COMMANDS.values()):
        print(f"note: {note}")
    return 0


def _commands(name: str) -> list[Command]:
    """Return the command of that name, or all of that level. Raises ConfigError."""
    if name in COMMANDS:
        return [COMMANDS[name]]
    found = [command for command in COMMANDS.values() if command.level.value == name]
    if not found:
        shown = escape_line(name)[:_SHOWN_MAX]
        raise ConfigError(f"this door has no command '{shown}', and none of such a level")
    return found


def terms(command: Command, grants: tuple[Grant, ...]) -> tuple[str, ...]:
    """Return who may run a command and what that takes, in lines."""
    lines = [f"  level {command.level.value}: {LEVELS[command.level]}"]
    if command.makes_root:
        lines.append("  whoever may run this can become root")
    if command.level is Level.PUBLIC:
        return tuple(lines)
    allowing = [grant for grant in grants if allows(grant, command)]
    if not allowing:
        lines.append("  nobody: no grant names it, and what no grant allows is refused")
    for grant in allowing:
        lines += wrap(", ".join(grant.to), "  ")
        lines += wrap(_how(grant), "      ")
        lines += wrap(f"from {', '.join(grant.networks) or 'any network'}", "      ")
    return tuple(lines)


def _how(grant: Grant) -> str:
    """Return what one grant asks for."""
    if typed(grant):
        return "typed in an ssh session, or an order with 1 signature"
    if grant.signatures == 1:
        return "an order with 1 signature, never typed"
    return f"an order with {grant.signatures} signatures, of as many people; never typed"


def described(command: Command, grants: tuple[Grant, ...]) -> dict[str, Any]:
    """Return the same for programs."""
    found = need(grants, command)
    allowing = [grant for grant in grants if allows(grant, command)]
    return {
        "name": command.name,
        "level": command.level.value,
        "makes_root": command.makes_root,
        "anyone": command.level is Level.PUBLIC,
        "signatures": found.signatures if found else None,
        "grants": [
            {
                "to": list(grant.to),
                "signatures": grant.signatures,
                "typed": typed(grant),
                "from": list(grant.networks),
            }
            for grant in (allowing if command.level is not Level.PUBLIC else ())
        ],
    }
