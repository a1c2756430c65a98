"""Who may hold a slot: whom a newcomer replaces when every slot is taken.

Nobody is turned away. In a full pool the newcomer takes the slot of a member of the fullest
aggregate, inside it of its fullest part, inside that of its fullest part again, and there of the
oldest. So a flood, from however many addresses of a network, drops its own connections, and who
comes from elsewhere stays. IPv4 is told apart by /16, /24 and address, IPv6 by /32, /48 and /56.

Addresses inside the networks that grants name have a pool of their own, with the same rule: what
strangers do takes nothing there.

Every step is a few dictionary operations, however full the pool. Nothing here waits.
"""

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

Network = IPv4Network | IPv6Network
Path = tuple[int, int, int, int]  # three aggregates from wide to narrow, then the member's id

_V6_BITS: Final = 128
_V4_WIDE, _V4_MIDDLE = 16, 8  # bits below a /16, about a provider, and a /24, the least routed
_V6_WIDE, _V6_MIDDLE, _V6_NARROW = 96, 80, 72  # below a provider's /32, a customer's /48 and /56
_V6: Final = 1 << _V6_BITS  # a bit that no address has: keeps the two families apart


class Admission:
    """The slots of one process: `strangers` of them for anybody, `operators` for `networks`.

    Ids are the caller's, any integers. Raises ValueError for a pool without a slot.
    """

    def __init__(self, strangers: int, operators: int, networks: Sequence[Network]) -> None:
        self._strangers = _Pool(strangers)
        self._operators = _Pool(operators)
        self._networks: dict[int, set[int]] = {}  # bits below the prefix -> prefixes
        self.know(networks)

    def know(self, networks: Sequence[Network]) -> None:
        """Let newcomers from these networks into the operators' pool, and from no others."""
        self._networks = {}
        for network in networks:
            below = network.max_prefixlen - network.prefixlen
            first = int(network.network_address) | (_V6 if isinstance(network, IPv6Network) else 0)
            self._networks.setdefault(below, set()).add(first >> below)

    def enter(self, id: int, address: str) -> int | None:
        """Give a slot to `id`; return the id that lost its own for it, to be dropped, or None.

        `address` is text as accept(2) gives it, with or without a zone. Raises OSError for what
        is no address and ValueError for an id that is inside.
        """
        number = _number(address)
        return (self._operators if self._known(number) else self._strangers).enter(id, number)

    def dispensable(self) -> int | None:
        """Return who goes first where room is short for another reason; None where nobody is."""
        for pool in (self._strangers, self._operators):
            if pool.members:
                return pool.everybody.fullest()
        return None

    def leave(self, id: int) -> None:
        """Give back the slot of `id`; nothing happens where it has none (any more)."""
        if not self._strangers.leave(id):
            self._operators.leave(id)

    def _known(self, number: int) -> bool:
        for below, prefixes in self._networks.items():  # noqa: SIM110  a generator takes 3 times as long
            if number >> below in prefixes:
                return True
        return False


class _Pool:
    """At most `size` members."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a pool needs a slot")
        self.size = size
        self.members: dict[int, Path] = {}
        self.everybody = _Aggregate(0)

    def enter(self, id: int, number: int) -> int | None:
        if id in self.members:
            raise ValueError(f"{id} is inside")
        path = _path(number, id)
        self.members[id] = path
        # Counted before the choice: a newcomer to a crowd replaces one of the crowd.
        self.everybody.add(path)
        if len(self.members) <= self.size:
            return None
        victim = self.everybody.fullest()
        self.leave(victim)
        return victim

    def leave(self, id: int) -> bool:
        path = self.members.pop(id, None)
        if path is not None:
            self.everybody.remove(path)
        return path is not None


class _Aggregate:
    """The members that share the first `depth` keys of their paths, by the next key.

    A part with one member is that member's path: a pool of strangers from everywhere costs no
    object for each aggregate of each.
    """

    __slots__ = ("count", "depth", "parts", "ranks", "top")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.count = 0
        self.parts: dict[int, _Aggregate | Path] = {}
        # Parts by their count, those first that have had it longest. OrderedDict, because the
        # first key of a dict is found past the remains of all that were before it.
        self.ranks: dict[int, OrderedDict[int, None]] = {}
        self.top = 0  # the highest rank

    def add(self, path: Path) -> None:
        self.count += 1
        key = path[self.depth]
        part = self.parts.get(key)
        if part is None:
            self.parts[key] = path
            self._rank(key, 0, 1)
            return
        if isinstance(part, tuple):
            alone, part = part, _Aggregate(self.depth + 1)
            part.add(alone)
            self.parts[key] = part
        part.add(path)
        self._rank(key, part.count - 1, part.count)

    def remove(self, path: Path) -> None:
        self.count -= 1
        key = path[self.depth]
        part = self.parts[key]
        left = 0
        if isinstance(part, _Aggregate):
            part.remove(path)
            left = part.count
        if not left:
            del self.parts[key]
        self._rank(key, left + 1, left)

    def fullest(self) -> int:
        """Return the id of the oldest in the fullest part of the fullest part ..."""
        part: _Aggregate | Path = self
        while isinstance(part, _Aggregate):
            part = part.parts[next(iter(part.ranks[part.top]))]
        return part[-1]

    def _rank(self, key: int, before: int, after: int) -> None:
        """Move a part to the next rank, up or down."""
        ranks = self.ranks
        if after:
            rank = ranks.get(after)
            if rank is None:
                rank = ranks[after] = OrderedDict()
            rank[key] = None
        if before:
            rank = ranks[before]
            del rank[key]
            if not rank:
                del ranks[before]
        if after > self.top or (before == self.top and before not in ranks):
            self.top = after


def _number(address: str) -> int:
    if ":" not in address:
        return int.from_bytes(inet_pton(AF_INET, address), "big")
    return _V6 | int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]), "big")


def _path(number: int, id: int) -> Path:
    if number < _V6:
        return number >> _V4_WIDE, number >> _V4_MIDDLE, number, id
    return number >> _V6_WIDE, number >> _V6_MIDDLE, number >> _V6_NARROW, id
