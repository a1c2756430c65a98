"""TCP and UDP sockets as text, from /proc/net/{tcp,udp}{,6}: proc_net(5), proc_net_tcp.rst.

For kernels that refuse sock_diag. It costs more than netlink, and does not say how many
connections may wait at a listener. Lines that do not look as they should are passed over.
"""

import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from socket import AF_INET
from typing import Final

from panicdoor.kernel import reading
from panicdoor.kernel.inet import LISTEN, STATES, TCP, UDP, Socket

NET: Final = "/proc/net"  # of our own network namespace; /proc/PID/net is that of a process

_WORD: Final = struct.Struct("=I")
_WORD_DIGITS: Final = 8
_HEX: Final = b"0123456789ABCDEFabcdef"
_FIELDS: Final = 10  # up to the inode
_DROPS: Final = 12  # index of the last field of udp's tables
_ON: Final = 1  # the timer that runs is the one for sending again
_DIGITS: Final = {4: 8, 6: 32}  # hexadecimal digits of an address


def parse(line: bytes, protocol: int, family: int) -> Socket | None:
    """Return the socket of one line, or None: the heading, or a line that nobody understands."""
    fields = line.split()
    if len(fields) < _FIELDS:
        return None
    try:
        local, port = _endpoint(fields[1], family)
        remote, remote_port = _endpoint(fields[2], family)
        state = _hex(fields[3])
        send, _, receive = fields[4].partition(b":")
        timer, _, _ = fields[5].partition(b":")
        trying = _hex(fields[6]) if _hex(timer) == _ON else 0
        drops = _decimal(fields[_DROPS]) if protocol == UDP and len(fields) > _DROPS else -1
        listens = protocol == TCP and state == LISTEN
        return Socket(
            protocol, family, state, local, port, remote, remote_port, _hex(receive),
            -1 if listens else _hex(send), trying, _decimal(fields[7]), _decimal(fields[9]), 0,
            drops,
        )  # fmt: skip
    except ValueError:
        return None


def read(
    family: int, protocol: int, states: Collection[int] = frozenset(STATES), net: str = NET
) -> Iterator[Socket]:
    """Yield the sockets of a table, none where this kernel has no such table. Raises OSError."""
    name = f"{net}/{'tcp' if protocol == TCP else 'udp'}{'' if family == AF_INET else '6'}"
    with suppress(FileNotFoundError), open(name, "rb") as file:
        for line in file:
            found = parse(line, protocol, family)
            if found is not None and found.state in states:
                yield found


def _endpoint(field: bytes, family: int) -> tuple[bytes, int]:
    """Return address and port; each word of an address stands in the host's own byte order."""
    address, _, port = field.partition(b":")
    if len(address) != _DIGITS[4 if family == AF_INET else 6]:
        raise ValueError(field)
    words = [
        _WORD.pack(_hex(address[at : at + _WORD_DIGITS]))
        for at in range(0, len(address), _WORD_DIGITS)
    ]
    return b"".join(words), _hex(port) & 0xFFFF


def _hex(field: bytes) -> int:
    if not 0 < len(field) <= _WORD_DIGITS or field.strip(_HEX):
        raise ValueError(field)
    return int(field, 16)


def _decimal(field: bytes) -> int:
    number = reading.number(field)
    if number is None:
        raise ValueError(field)
    return number
