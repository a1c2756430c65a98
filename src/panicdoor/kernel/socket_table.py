"""All TCP and UDP sockets of this network namespace, by whichever way the kernel allows.

sock_diag is asked first; where it is refused, the text of /proc/net is read instead.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple

from panicdoor.kernel import proc_net, sock_diag
from panicdoor.kernel.inet import FAMILIES, Socket
from panicdoor.kernel.netlink import NetlinkError


class Table(NamedTuple):
    """The sockets, told one by one, and where they come from.

    Iterating raises OSError or NetlinkError where the kernel breaks off in the middle.
    """

    source: str
    sockets: Iterator[Socket]


def read(protocol: int, states: Collection[int] = sock_diag.ALL_STATES) -> Table:
    """Return the sockets of a protocol, IPv4 and IPv6, in one of these states. Raises OSError."""
    told = chain.from_iterable(sock_diag.read(family, protocol, states) for family in FAMILIES)
    try:
        first = next(told, None)
    except (OSError, NetlinkError):
        text = chain.from_iterable(proc_net.read(family, protocol, states) for family in FAMILIES)
        return Table(proc_net.NET, text)
    return Table("sock_diag", chain([first], told) if first is not None else iter(()))
