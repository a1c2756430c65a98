"""What grants mean for a command: who may run it, and what that takes. Nothing is asked of anyone.

A grant for a level allows every command of that level and of those below it; a grant for a command
allows that one. What no grant allows is refused, but for the public commands.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from panicdoor.commands.registry import Command, Level
from panicdoor.config import LEVELS, Grant


@dataclass(frozen=True, slots=True)
class Need:
    """What running a command takes at the least: how many signatures, 0 for public commands.

    `typed` says that some grant lets it be typed in a session instead.
    """

    signatures: int
    typed: bool


def typed(grant: Grant) -> bool:
    """Return whether what a grant allows may be typed in a session."""
    return grant.sessions and grant.signatures == 1


def level(grant: Grant) -> Level:
    """Return the highest level that a grant is for; public where it is for single commands."""
    return max((Level(word) for word in grant.may if word in LEVELS), default=Level.PUBLIC)


def allows(grant: Grant, command: Command) -> bool:
    """Return whether a grant is for that command."""
    return command.name in grant.may or command.level <= level(grant)


def need(grants: Iterable[Grant], command: Command) -> Need | None:
    """Return what running a command takes; None where nobody may."""
    if command.level is Level.PUBLIC:
        return Need(0, typed=True)
    found = [grant for grant in grants if allows(grant, command)]
    if not found:
        return None
    return Need(min(grant.signatures for grant in found), any(map(typed, found)))


def too_cheap(grants: Iterable[Grant], commands: Iterable[Command]) -> tuple[str, ...]:
    """Return a sentence for each command that makes root for less than something weaker takes.

    What does not make root is weaker. Public commands and those that nobody may run do not count.
    """
    grants = tuple(grants)
    needs = [(command, need(grants, command)) for command in commands]
    counts = [(command, found.signatures) for command, found in needs if found and found.signatures]
    weaker = [(count, command.name) for command, count in counts if not command.makes_root]
    most = max(weaker, default=(0, ""))
    return tuple(
        f"{command.name} makes root with {_signatures(count)},"
        f" and {most[1]}, which is weaker, takes {most[0]}"
        for command, count in counts
        if command.makes_root and count < most[0]
    )


def _signatures(count: int) -> str:
    return "1 signature" if count == 1 else f"{count} signatures"
