"""TCP and UDP sockets of this network namespace, by sock_diag(7): linux/inet_diag.h.

The kernel filters by state before it tells, so asking for listeners costs nothing on a host with
a hundred thousand connections. The first request ever may load a module of the kernel
(inet_diag, tcp_diag, udp_diag), which starts modprobe(8) from the disk.
"""

import struct
from collections.abc import Collection, Iterator
from socket import AF_INET, ntohs
from typing import Final

from panicdoor.kernel import netlink
from panicdoor.kernel.inet import STATES, UDP, Socket

_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
# struct inet_diag_req_v2: family, protocol, extensions, states; the socket's id stays empty
_REQUEST: Final = struct.Struct("=BBBxI48x")
# struct inet_diag_msg: family, state, timer, retransmits; ports (big-endian), addresses, device,
# cookie; expires, receive queue, send queue, uid, inode
_ANSWER: Final = struct.Struct("=BBBBHH16s16sI8xIIIII")
_ON: Final = 1  # the timer that runs is the one for sending again: net/ipv4/inet_diag.c
_MEMORY: Final = 7  # INET_DIAG_SKMEMINFO
_MEMORY_FIELDS: Final = struct.Struct("=9I")  # enum sk_meminfo, whose last is SK_MEMINFO_DROPS
ALL_STATES: Final = frozenset(STATES)


def request(family: int, protocol: int, states: Collection[int]) -> bytes:
    """Return the body of a request for all sockets of a family in one of these states."""
    mask = sum(1 << state for state in states)
    extensions = 1 << (_MEMORY - 1) if protocol == UDP else 0
    return _REQUEST.pack(family, protocol, extensions, mask)


def parse(payload: bytes, protocol: int) -> Socket:
    """Return the socket that a message describes. Raises NetlinkError."""
    if len(payload) < _ANSWER.size:
        raise netlink.NetlinkError(f"a socket in {len(payload)} bytes")
    (
        family, state, timer, retransmits, port, remote_port, local, remote, device, _, receive,
        send, uid, inode,
    ) = _ANSWER.unpack_from(payload)  # fmt: skip
    if family == AF_INET:
        local, remote = local[:4], remote[:4]
    drops = -1
    if protocol == UDP:
        memory = netlink.attributes(payload, _ANSWER.size).get(_MEMORY, b"")
        if len(memory) >= _MEMORY_FIELDS.size:
            drops = _MEMORY_FIELDS.unpack_from(memory)[-1]
    return Socket(
        protocol, family, state, local, ntohs(port), remote, ntohs(remote_port), receive, send,
        retransmits if timer == _ON else 0, uid, inode, device, drops,
    )  # fmt: skip


def read(family: int, protocol: int, states: Collection[int] = ALL_STATES) -> Iterator[Socket]:
    """Yield the sockets as the kernel tells them. Raises OSError, NetlinkError."""
    for message in netlink.dump(netlink.SOCK_DIAG, _BY_FAMILY, request(family, protocol, states)):
        if message.kind == _BY_FAMILY:
            yield parse(message.payload, protocol)
