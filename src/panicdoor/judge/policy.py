"""What somebody who is known may do: the grants of `door.toml`. What no grant allows is refused.

What a grant is for says `commands.authority`. One that wants more than one signature, or no
sessions, allows nothing to somebody who types: that takes a signed order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from panicdoor.commands.authority import allows, level, typed
from panicdoor.commands.registry import Command, Level
from panicdoor.config import Grant

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody in a session. `address` is what a frontend said, a hint; `cap` the highest level.

    The cap is Level.DEFEND where the login proved everything that it can prove.
    """

    principal: str
    address: str
    cap: Level


@dataclass(frozen=True, slots=True)
class _Rule:
    """A grant, and its networks as numbers."""

    grant: Grant
    networks: tuple[Network, ...]

    def covers(self, address: str) -> bool:
        if not self.networks:
            return True
        try:
            number = ip_address(address)
        except ValueError:
            return False
        if isinstance(number, IPv6Address) and number.ipv4_mapped is not None:
            number = number.ipv4_mapped
        return any(number in network for network in self.networks)


class Policy:
    """All grants of a door."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        self._rules: Final = tuple(
            _Rule(grant, tuple(map(ip_network, grant.networks))) for grant in grants
        )

    def names(self, principal: str) -> bool:
        """Return whether any grant is for that principal."""
        return any(principal in rule.grant.to for rule in self._rules)

    def level(self, speaker: Speaker) -> Level:
        """Return the highest level that `speaker` may type commands of."""
        found = [level(rule.grant) for rule in self._of(speaker) if typed(rule.grant)]
        return min(speaker.cap, max(found, default=Level.PUBLIC))

    def refused(self, command: Command, speaker: Speaker | None) -> str:
        """Return why `speaker`, or a stranger, may not type that command; `""` where they may."""
        if command.level is Level.PUBLIC:
            return ""
        if speaker is None:
            return f"{command.name} is not for everybody; with your ssh key: see doc"
        if command.level > speaker.cap:
            return f"{command.name} needs more than {speaker.cap.value}, all that this login gives"
        rules = [rule for rule in self._of(speaker, near=False) if allows(rule.grant, command)]
        if not rules:
            return f"no grant lets {speaker.principal} run {command.name}"
        near = [rule for rule in rules if rule.covers(speaker.address)]
        if not near:
            return f"no grant lets {speaker.principal} run {command.name} from {speaker.address}"
        if any(typed(rule.grant) for rule in near):
            return ""
        count = min(rule.grant.signatures for rule in near)
        if count == 1:
            return f"{command.name} is taken as a signed order only"
        return f"{command.name} needs {count} signatures: it is taken as an order only"

    def _of(self, speaker: Speaker, near: bool = True) -> Iterator[_Rule]:
        for rule in self._rules:
            if speaker.principal in rule.grant.to and (not near or rule.covers(speaker.address)):
                yield rule
