"""The door's own sockets: bound early, for addresses that may not be there yet.

Port 903 must be ours: a client that took it as its source port (bindresvport(3), NFS) makes bind
fail for as long as it lives, so binding is tried for a while before it is given up.
tcp sets SO_REUSEADDR only: with SO_REUSEPORT a second door would take half of our connections
without a word. udp needs SO_REUSEPORT for its two queues, and is bound after tcp.
"""

import contextlib
import errno
import fcntl
import socket
import sys
import termios
import time
from typing import Final

from panicdoor.errors import ConfigError
from panicdoor.kernel import ports, reuseport

BACKLOG: Final = 1024  # connections the kernel holds until they are accepted; more get no answer
UNSENT_MAX: Final = 16 << 10  # bytes the kernel holds for one client that does not read
UNREAD_MAX: Final = 32 << 10  # bytes it holds of one that is not read; an order has 8 KiB
BIND_TRY_S: Final = 2.0  # seconds a port is tried for
IP_FREEBIND: Final = 15  # ip(7); not in Python's socket module before 3.13
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50  # ipv6(7)
IP_PKTINFO: Final = 8  # ip(7)
ORDER_BYTE: Final = ord("p")  # what the text of an order begins with


def listen_tcp(host: str, port: int) -> int:
    """Return the descriptor of a listening socket. Raises ConfigError."""
    with _socket(host, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. A telnet's Synch is urgent data (RFC 854): kept out of band,
        # its IAC would be missing from the stream, and what follows it would be taken for text.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        # And these: or the kernel lets one who does not read have four megabytes of its memory.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_MAX)
        _bind(listener, host, port)
        listener.listen(BACKLOG)
        return listener.detach()


def open_udp(host: str, port: int) -> tuple[int, int]:
    """Return the descriptors of an address's queues: orders have the second. Raises ConfigError."""
    with _socket(host, socket.SOCK_DGRAM) as rest, _socket(host, socket.SOCK_DGRAM) as orders:
        for queue in (rest, orders):
            queue.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if queue.family == socket.AF_INET6:
                queue.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
            else:
                queue.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            _bind(queue, host, port)
        reuseport.steer(rest, {ORDER_BYTE: 1}, other=0)
        return rest.detach(), orders.detach()


def untaken(fd: int) -> int:
    """Return how much of what was sent by a unix socket its peer has not read: SIOCOUTQ.

    The unit is the kernel's, of memory; 0 means that nothing waits.
    """
    return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    made.setblocking(False)
    with contextlib.suppress(OSError):
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def _bind(unbound: socket.socket, host: str, port: int) -> None:
    """Bind, for as long as somebody who may go away holds the port, or raise ConfigError."""
    udp = unbound.type == socket.SOCK_DGRAM
    where = f"{'udp' if udp else 'tcp'} {f'[{host}]' if ':' in host else host}:{port}"
    give_up = time.monotonic() + BIND_TRY_S
    while True:
        try:
            unbound.bind((host, port))
        except PermissionError as error:
            raise ConfigError(
                f"{where}: this user may not bind it; needs root or CAP_NET_BIND_SERVICE"
            ) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"{where}: {error.strerror}") from error
            if time.monotonic() > give_up:
                raise ConfigError(f"{where} is held by {ports.holder(port, udp)}") from error
            time.sleep(0.1)
        else:
            return
