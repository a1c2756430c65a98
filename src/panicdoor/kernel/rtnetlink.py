"""Interfaces, their addresses and the default routes, by rtnetlink(7).

Layouts and numbers are those of linux/rtnetlink.h, if_link.h and if_addr.h. A router on the
Internet has a million routes: the kernel tells the default ones first, and reading ends at a
number.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import Final, NamedTuple

from panicdoor.kernel import netlink
from panicdoor.kernel.netlink import Message, NetlinkError

LINKS_MAX: Final = 20_000  # interfaces that are read: a host of containers has one for each
ADDRESSES_MAX: Final = 20_000
ROUTES_MAX: Final = 20_000  # routes of a family that are looked through for default ones
MAIN: Final = 254  # RT_TABLE_MAIN: where routes are that no rule has sent elsewhere

_NEW_LINK, _GET_LINK = 16, 18
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_NEW_ROUTE, _GET_ROUTE = 24, 26

_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_IFNAME, _MTU, _OPERSTATE, _LINKINFO, _STATS64 = 3, 4, 16, 18, 23
_INFO_KIND: Final = 1  # IFLA_INFO_KIND, inside IFLA_LINKINFO
_UP: Final = 0x1  # IFF_UP: somebody wants it up
_LOOPBACK: Final = 0x8  # IFF_LOOPBACK
# struct rtnl_link_stats64: rx and tx packets, bytes, errors, dropped, and more behind these
_STATS: Final = struct.Struct("=8Q")
# RFC 2863, 3.1.14, as linux/if.h numbers them
_OPERATIONAL: Final = (
    "unknown", "not present", "down", "lower layer down", "testing", "dormant", "up",
)  # fmt: skip

_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_TENTATIVE, _DUPLICATE = 0x40, 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED

# struct rtmsg: family, prefixes of destination and source, tos; table, protocol, scope, type; flags
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_OIF, _GATEWAY, _PRIORITY, _MULTIPATH, _TABLE, _VIA = 4, 5, 6, 9, 15, 18
_UNICAST: Final = 1  # RTN_UNICAST
_ROUTE_KINDS: Final = {_UNICAST: "", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
_HOP: Final = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface
_DEAD, _LINK_DOWN = 0x01, 0x10  # RTNH_F_DEAD, RTNH_F_LINKDOWN
_NUMBER: Final = struct.Struct("=I")


class Link(NamedTuple):
    """An interface: whether it is wanted up, how it is, and what it counted since it was made.

    `kind` is "" for hardware, else what makes it up: `bridge`, `veth`, `bond`, `vlan`.
    """

    device: int
    name: str
    kind: str
    up: bool
    state: str
    mtu: int
    loopback: bool
    received: int
    sent: int
    errors: int
    dropped: int

    @property
    def works(self) -> bool:
        """Whether packets can go through; drivers that do not say count as working."""
        return self.up and self.state in ("up", "unknown")


class Address(NamedTuple):
    """An address of an interface. `taken` says that another host on the link has it too.

    `usable` is false then, and while that is being found out (RFC 4862, 5.4).
    """

    device: int
    address: bytes
    prefix: int
    usable: bool
    taken: bool


class Route(NamedTuple):
    """One way to everywhere: an empty gateway is everything on the link; `kind` "" is a way.

    Other kinds (`unreachable`) are rules that there is none. A lower metric wins.
    """

    family: int
    table: int
    kind: str
    device: int
    gateway: bytes
    metric: int
    alive: bool


def parse_link(payload: bytes) -> Link:
    """Return the interface of one message. Raises NetlinkError."""
    _, _, index, flags, _ = _unpack(_LINK, payload)
    told = netlink.attributes(payload, _LINK.size)
    counts = told.get(_STATS64, b"")
    packets = _STATS.unpack_from(counts) if len(counts) >= _STATS.size else (0,) * 8
    state = int.from_bytes(told.get(_OPERSTATE, b"\0")[:1], "little")
    return Link(
        index,
        _text(told.get(_IFNAME, b"")),
        _text(netlink.attributes(told.get(_LINKINFO, b"")).get(_INFO_KIND, b"")),
        bool(flags & _UP),
        _OPERATIONAL[state] if state < len(_OPERATIONAL) else str(state),
        _number(told.get(_MTU, b"")),
        bool(flags & _LOOPBACK),
        packets[2],
        packets[3],
        packets[4] + packets[5],
        packets[6] + packets[7],
    )


def parse_address(payload: bytes) -> Address:
    """Return the address of one message. Raises NetlinkError."""
    _, prefix, flags, _, index = _unpack(_ADDRESS, payload)
    told = netlink.attributes(payload, _ADDRESS.size)
    flags = _number(told[_IFA_FLAGS]) if _IFA_FLAGS in told else flags
    # On a line between two points the other one's address is IFA_ADDRESS, ours IFA_LOCAL.
    address = told.get(_IFA_LOCAL) or told.get(_IFA_ADDRESS, b"")
    taken = bool(flags & _DUPLICATE)
    return Address(index, address, prefix, not taken and not flags & _TENTATIVE, taken)


def parse_route(payload: bytes) -> list[Route]:
    """Return the default routes that one message describes: mostly none. Raises NetlinkError.

    A route that goes several ways at once has one for each.
    """
    family, to, origin, _, table, _, _, kind, flags = _unpack(_ROUTE, payload)
    if to or origin or kind not in _ROUTE_KINDS or family not in (AF_INET, AF_INET6):
        return []
    told = netlink.attributes(payload, _ROUTE.size)
    table = _number(told[_TABLE]) if _TABLE in told else table
    metric = _number(told.get(_PRIORITY, b""))
    hops = list(_hops(told[_MULTIPATH])) if _MULTIPATH in told else []
    if not hops:
        hops = [(_number(told.get(_OIF, b"")), flags, _gateway(told))]
    return [
        Route(
            family, table, _ROUTE_KINDS[kind], index, gateway, metric,
            not flags & (_DEAD | _LINK_DOWN),
        )
        for index, flags, gateway in hops
    ]  # fmt: skip


def links() -> list[Link]:
    """Return the interfaces of this network namespace. Raises OSError, NetlinkError."""
    asked = _dump(_GET_LINK, _NEW_LINK, _LINK.pack(AF_UNSPEC, 0, 0, 0, 0), LINKS_MAX)
    return [parse_link(message.payload) for message in asked]


def addresses() -> list[Address]:
    """Return the addresses of all interfaces. Raises OSError, NetlinkError."""
    body = _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0)
    asked = _dump(_GET_ADDRESS, _NEW_ADDRESS, body, ADDRESSES_MAX)
    return [parse_address(message.payload) for message in asked]


def default_routes() -> list[Route]:
    """Return the ways to everywhere, IPv4 before IPv6, the best first. Raises as `links`."""
    found = []
    for family in (AF_INET, AF_INET6):
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for message in _dump(_GET_ROUTE, _NEW_ROUTE, body, ROUTES_MAX):
            found += parse_route(message.payload)
    return sorted(found, key=lambda route: (route.family, route.table != MAIN, route.metric))


def _dump(ask: int, answer: int, body: bytes, most: int) -> Iterator[Message]:
    told = netlink.dump(netlink.ROUTE, ask, body)
    return islice((message for message in told if message.kind == answer), most)


def _hops(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield interface, flags and gateway of each hop of a route with several."""
    at = 0
    while len(data) - at >= _HOP.size:
        size, flags, _, index = _HOP.unpack_from(data, at)
        if not _HOP.size <= size <= len(data) - at:
            raise NetlinkError(f"a hop of {size} bytes in {len(data) - at}")
        yield index, flags, _gateway(netlink.attributes(data[at : at + size], _HOP.size))
        at += (size + 3) & ~3


def _gateway(told: dict[int, bytes]) -> bytes:
    """Return the next hop's address; a route may lead through one of the other family (RTA_VIA)."""
    return told.get(_GATEWAY) or told.get(_VIA, b"")[2:]


def _unpack(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) < layout.size:
        raise NetlinkError(f"{len(payload)} bytes where {layout.size} are needed")
    return layout.unpack_from(payload)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("latin-1")


def _number(data: bytes) -> int:
    return int(_NUMBER.unpack(data)[0]) if len(data) == _NUMBER.size else 0
