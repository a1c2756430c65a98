"""The command `network`: interfaces, addresses, and whether there is a way to everywhere."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from typing import Final

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    findings,
    left_out,
    lines_as_parts,
    size,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import rtnetlink
from panicdoor.kernel.inet import host
from panicdoor.kernel.netlink import NetlinkError
from panicdoor.kernel.rtnetlink import MAIN, Address, Link, Route

SAMPLE_S: Final = 0.5  # seconds between two looks at the counters
ROWS_MAX: Final = 200  # interfaces that are shown, worst first: each container has one
ADDRESSES_SHOWN: Final = 200
ROUTES_SHOWN: Final = 50
NAMED_MAX: Final = 5  # findings of a kind that have a sentence of their own
ERRORS_HIGH: Final = 0  # packets a second that were broken: a good line has none

_CARRIERS: Final = (
    "",
    "bond",
    "team",
    "vlan",
    "macvlan",
    "ipvlan",
    "veth",
)  # kinds that lead outside
_LINK_LOCAL: Final = b"\xfe\x80"  # fe80::/10 as every host makes them: RFC 4291, 2.5.6
_LOCAL_IPV6: Final = (0xFE, 0xFC)  # first seven bits: of a link, of a site (fc00::/7, RFC 4193)


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen, worst first: `before` and `links` are the same interfaces at two moments."""

    links: list[Link]
    before: dict[int, Link]
    addresses: list[Address]
    routes: list[Route]
    seconds: float

    def name(self, device: int) -> str:
        """Return an interface's name."""
        return next((link.name for link in self.links if link.device == device), str(device))

    def rate(self, link: Link, field: str) -> float:
        """Return how much a counter of an interface grew a second."""
        old = self.before.get(link.device, link)
        grown: int = getattr(link, field) - getattr(old, field)
        return max(0, grown) / self.seconds


def look() -> Report:
    """Ask twice, SAMPLE_S apart. Raises CommandError."""
    try:
        before = {link.device: link for link in rtnetlink.links()}
        began = time.monotonic()
        addresses, routes = rtnetlink.addresses(), rtnetlink.default_routes()
        time.sleep(max(0.0, began + SAMPLE_S - time.monotonic()))
        links = rtnetlink.links()
        seconds = time.monotonic() - began
    except (OSError, NetlinkError) as error:
        raise CommandError(f"the kernel does not tell its interfaces: {error}") from error
    links.sort(key=lambda link: (not link.up, link.works, link.loopback, link.name))
    return Report(links, before, addresses, routes, seconds)


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    down = [link for link in report.links if _missed(report, link)]
    for link in down[:NAMED_MAX]:
        yield f"interface {link.name} is switched on, but {link.state}"
    if len(down) > NAMED_MAX:
        yield f"{len(down) - NAMED_MAX} more interfaces are switched on and do not work"
    ways = [route for route in report.routes if route.table == MAIN and not route.kind]
    for family, name in ((AF_INET, "IPv4"), (AF_INET6, "IPv6")):
        ours = [route for route in ways if route.family == family]
        if ours and not any(route.alive for route in ours):
            yield f"the default route of {name} is dead: its interface does not work"
        elif not ours and _reaches_out(report, family):
            yield f"there is no default route for {name}, though there are addresses"
    for link in report.links:
        if (errors := report.rate(link, "errors")) > ERRORS_HIGH:
            yield f"interface {link.name}: {errors:.0f} broken packets a second (normal 0)"
    for address in report.addresses:
        if address.taken:
            yield (
                f"{host(address.address)} on {report.name(address.device)} cannot be used: "
                "another host has it too"
            )


def _missed(report: Report, link: Link) -> bool:
    """Return whether an interface should work, and does not.

    A bridge without members has no carrier, and a socket for a second cable nobody's address.
    """
    if not link.up or link.works or link.kind not in _CARRIERS:
        return False
    used = {one.device for one in report.addresses if not one.address.startswith(_LINK_LOCAL)}
    return link.device in used | {route.device for route in report.routes}


def _reaches_out(report: Report, family: int) -> bool:
    """Return whether a working interface has an address that is for more than its own site.

    One that does not say how it is must be of a kind that leads outside.
    """
    works = {
        link.device
        for link in report.links
        if link.works and not link.loopback and (link.state == "up" or link.kind in _CARRIERS)
    }
    length = 4 if family == AF_INET else 16
    return any(
        one.device in works and len(one.address) == length and not _stays_near(one.address)
        for one in report.addresses
    )


def _stays_near(address: bytes) -> bool:
    return len(address) == 16 and address[0] & 0xFE in _LOCAL_IPV6  # noqa: PLR2004 - IPv6


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .interfaces[].name text: an interface
    .interfaces[].kind text?: such as bridge or veth; null for hardware
    .interfaces[].up bool: whether it is switched on
    .interfaces[].state text: up, down, or what the kernel says instead
    .interfaces[].mtu bytes: the largest packet
    .interfaces[].received bytes: since it is there
    .interfaces[].received_s number: bytes a second
    .interfaces[].sent bytes: since it is there
    .interfaces[].sent_s number: bytes a second
    .interfaces[].errors int: broken packets, since it is there
    .interfaces[].errors_s number: broken packets a second
    .interfaces[].dropped int: packets for which there was no room or no use
    .interfaces[].dropped_s number: such packets a second
    .interfaces[].addresses[] text: with the length of the prefix
    .default_routes[].family text: IPv4 or IPv6
    .default_routes[].table int: of routes; 254 is the main one
    .default_routes[].kind text: unicast, or what refuses: blackhole, unreachable, prohibit
    .default_routes[].interface text?: where packets go
    .default_routes[].gateway text?: to whom; null where straight onto the link
    .default_routes[].metric int: the lowest is taken
    .default_routes[].alive bool: whether its interface works
    .left_out int: interfaces that are not shown
    .seconds seconds: in which rates were measured
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def network(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show interfaces, addresses, default routes.

    First what is not normal, if anything is; then the interfaces, those first that are switched on
    and do not work; their addresses; and the ways to everywhere, the one that is taken first. Rates
    are measured over half a second, ERRORS and DROPPED are since the interface was made. Normal: no
    errors a second, a default route for each family that has addresses of more than its own link.
    Seen is the network namespace of this door, and no other.

    Arguments:
        json: print one JSON object, with up to 200 interfaces

    Examples:
        > network
        ...
        INTERFACE...STATE...MTU...IN/S...OUT/S  ERRORS  DROPPED
        ...lo ...
        ADDRESS...INTERFACE...
        127.0.0.1/8...lo...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing unusual about the network.")
    yield from table(
        [
            Column("INTERFACE", least=15),
            Column("STATE"),
            Column("MTU", right=True),
            Column("IN/S", right=True),
            Column("OUT/S", right=True),
            Column("ERRORS", right=True),
            Column("DROPPED", right=True),
        ],
        (
            (
                link.name,
                link.state if link.up else "off",
                str(link.mtu),
                size(report.rate(link, "received")),
                size(report.rate(link, "sent")),
                str(link.errors),
                str(link.dropped),
            )
            for link in report.links[:ROWS_MAX]
        ),
    )
    yield from left_out(len(report.links) - ROWS_MAX, "interfaces")
    names = {link.device: link.name for link in report.links}
    yield "\n"
    yield from _address_lines(report, names)
    yield "\n"
    yield from _route_lines(report, names)


def _address_lines(report: Report, names: Mapping[int, str]) -> Iterator[str]:
    yield from table(
        [Column("ADDRESS", least=24), Column("INTERFACE", least=15), Column("STATE")],
        (
            (
                f"{host(address.address)}/{address.prefix}",
                names.get(address.device, str(address.device)),
                "TAKEN BY ANOTHER HOST" if address.taken else "" if address.usable else "not yet",
            )
            for address in report.addresses[:ADDRESSES_SHOWN]
        ),
    )
    yield from left_out(len(report.addresses) - ADDRESSES_SHOWN, "addresses")


def _route_lines(report: Report, names: Mapping[int, str]) -> Iterator[str]:
    yield from table(
        [
            Column("DEFAULT ROUTE", least=24),
            Column("INTERFACE", least=15),
            Column("METRIC", right=True),
            Column("TABLE", right=True),
            Column("STATE"),
        ],
        (
            (
                _way(route),
                names.get(route.device, "-"),
                str(route.metric),
                "main" if route.table == MAIN else str(route.table),
                "" if route.alive else "DEAD",
            )
            for route in report.routes[:ROUTES_SHOWN]
        ),
    )
    yield from left_out(len(report.routes) - ROUTES_SHOWN, "routes")


def _way(route: Route) -> str:
    family = "IPv4" if route.family == AF_INET else "IPv6"
    return f"{family} {route.kind or (host(route.gateway) if route.gateway else 'on the link')}"


def _document(report: Report) -> Json:
    shown = report.links[:ROWS_MAX]
    return {
        "findings": list(wrong(report)),
        "interfaces": [_interface(report, link) for link in shown],
        "default_routes": _routes(report, report.routes[:ROUTES_SHOWN]),
        "left_out": len(report.links) - len(shown),
        "seconds": round(report.seconds, 3),
    }


def _interface(report: Report, link: Link) -> Json:
    ours = [address for address in report.addresses if address.device == link.device]
    return {
        "name": link.name,
        "kind": link.kind or None,
        "up": link.up,
        "state": link.state,
        "mtu": link.mtu,
        "received": link.received,
        "received_s": round(report.rate(link, "received")),
        "sent": link.sent,
        "sent_s": round(report.rate(link, "sent")),
        "errors": link.errors,
        "errors_s": round(report.rate(link, "errors"), 1),
        "dropped": link.dropped,
        "dropped_s": round(report.rate(link, "dropped"), 1),
        "addresses": [f"{host(one.address)}/{one.prefix}" for one in ours[:ADDRESSES_SHOWN]],
    }


def _routes(report: Report, routes: Sequence[Route]) -> Json:
    names = {link.device: link.name for link in report.links}
    return [
        {
            "family": "IPv4" if route.family == AF_INET else "IPv6",
            "table": route.table,
            "kind": route.kind or "unicast",
            "interface": names.get(route.device),
            "gateway": host(route.gateway) if route.gateway else None,
            "metric": route.metric,
            "alive": route.alive,
        }
        for route in routes
    ]
