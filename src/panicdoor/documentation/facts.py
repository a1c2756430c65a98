"""What the documentation tells about, besides the registry: the door's facts, and its ways in.

A line that needs a command or a way in which this door does not have is not printed: that is
decided here, once, and never by editing a text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from panicdoor.commands.registry import Command, Level

KNOWN_WAYS: Final = frozenset({"telnet", "nc", "http", "tls", "udp", "ssh", "order"})
WAYS: Final = frozenset({"telnet", "nc", "http", "tls", "udp", "ssh"})  # what a door has today


@dataclass(frozen=True, slots=True)
class Facts:
    """What its owner says about a door: printable ASCII, at most 80 characters a value.

    `fingerprint` is that of the door's key, `SHA256:...`; `fleet` and `contact` may be empty;
    `elsewhere` names the other ways to the machine, such as `console` or `runbook`. `certificate`
    is what it shows to clients of TLS, in DER.
    """

    name: str
    fleet: str
    contact: str
    elsewhere: Mapping[str, str]
    fingerprint: str
    version: str
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, printed only where all these ways in and all these commands exist."""

    text: str
    ways: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stock:
    """All there is to tell, of one door."""

    facts: Facts
    commands: Mapping[str, Command]
    ways: frozenset[str] = field(default=WAYS)

    def __post_init__(self) -> None:
        if unknown := self.ways - KNOWN_WAYS:
            raise ValueError(f"no such way in: {', '.join(sorted(unknown))}")

    def has(self, line: Line) -> bool:
        """Say whether everything that the line speaks of exists here."""
        return self.ways.issuperset(line.ways) and all(c in self.commands for c in line.commands)

    def keep(self, lines: Iterable[Line]) -> list[str]:
        """Return the texts of those lines that may be printed."""
        return [line.text for line in lines if self.has(line)]

    def level(self, level: Level) -> tuple[Command, ...]:
        """Return the commands of one level, in the order in which they were registered."""
        return tuple(c for c in self.commands.values() if c.level is level)

    @property
    def only_explains(self) -> bool:
        """True while no command does more than explain the door."""
        return all(c.level is Level.PUBLIC for c in self.commands.values())
