"""A TCP or UDP socket of this host as the kernel describes it, whichever way it was asked.

Addresses stay bytes until somebody prints them: a host may have a hundred thousand sockets.
"""

from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final, NamedTuple

TCP: Final = 6  # IPPROTO_TCP
UDP: Final = 17  # IPPROTO_UDP
FAMILIES: Final = (AF_INET, AF_INET6)

ESTABLISHED: Final = 1
UNCONNECTED: Final = 7  # TCP_CLOSE, which is how a UDP socket without a peer looks
CLOSE_WAIT: Final = 8
LISTEN: Final = 10
# include/net/tcp_states.h, by the names that ss(8) uses
STATES: Final = {
    ESTABLISHED: "established",
    2: "syn-sent",
    3: "syn-recv",
    4: "fin-wait-1",
    5: "fin-wait-2",
    6: "time-wait",
    UNCONNECTED: "unconnected",
    CLOSE_WAIT: "close-wait",
    9: "last-ack",
    LISTEN: "listen",
    11: "closing",
    12: "syn-recv",  # TCP_NEW_SYN_RECV
}

_MAPPED: Final = bytes(10) + b"\xff\xff"  # IPv4 on an IPv6 socket: RFC 4291, 2.5.5.2


class Socket(NamedTuple):
    """One socket.

    `receive` and `send` are bytes not yet read and not yet acknowledged; of a listener they are
    connections waiting to be accepted and how many may wait (-1: not known). `retransmits` counts
    the tries of what is being sent again now. `drops` are datagrams for which there was no room
    (-1: not known). `inode` names the socket as links under /proc/PID/fd do; 0: nobody holds it.
    """

    protocol: int
    family: int
    state: int
    local: bytes
    port: int
    remote: bytes
    remote_port: int
    receive: int
    send: int
    retransmits: int
    uid: int
    inode: int
    device: int
    drops: int = -1

    @property
    def name(self) -> str:
        """The protocol as people write it."""
        return "tcp" if self.protocol == TCP else "udp"


def state_name(state: int) -> str:
    """Return a state's name; one that this program does not know is a number."""
    return STATES.get(state, str(state))


def host(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as text; IPv4 in IPv6 as IPv4. Other lengths: "?"."""
    if address.startswith(_MAPPED) and len(address) == 16:  # noqa: PLR2004 - RFC 4291
        address = address[-4:]
    for family, size in ((AF_INET, 4), (AF_INET6, 16)):
        if len(address) == size:
            return inet_ntop(family, address)
    return "?"


def endpoint(address: bytes, port: int) -> str:
    """Return `192.0.2.1:903`, `[2001:db8::1]:903`; port 0 is any, so `*`."""
    text = host(address)
    return f"{f'[{text}]' if ':' in text else text}:{port or '*'}"
