"""Which socket of a SO_REUSEPORT group gets a datagram, decided by its first byte in the kernel.

So a flood of one format fills the queue of that format alone. The program is classic BPF (socket
filters, linux/filter.h); what it returns is the index of a socket in the order of their bind(2),
and an index that does not exist falls back to the kernel's hash (net/core/sock_reuseport.c). It
is given the payload, without the UDP header, and ends with 0 where it reads beyond that: an empty
datagram goes to the first socket.
"""

import struct
from array import array
from collections.abc import Mapping
from socket import SOL_SOCKET, socket
from typing import Final

SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h; the socket module has no name for it

_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS: A = payload[k]
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K: skip jt or jf instructions
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_FILTER: Final = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_PROGRAM: Final = struct.Struct("HP")  # struct sock_fprog: length, pointer


def program(queues: Mapping[int, int], other: int) -> bytes:
    """Return the filter: first byte `b` goes to socket `queues[b]`, every other to `other`."""
    code = [_FILTER.pack(_LOAD_BYTE, 0, 0, 0)]
    for byte, queue in queues.items():
        code.append(_FILTER.pack(_JUMP_EQUAL, 0, 1, byte))
        code.append(_FILTER.pack(_RETURN, 0, 0, queue))
    code.append(_FILTER.pack(_RETURN, 0, 0, other))
    return b"".join(code)


def steer(sock: socket, queues: Mapping[int, int], other: int) -> None:
    """Attach `program` to the group of a bound SO_REUSEPORT socket; one socket speaks for all.

    Raises OSError where the kernel will not have it (EINVAL: no SO_REUSEPORT on the socket).
    """
    code = array("B", program(queues, other))
    address, size = code.buffer_info()
    sock.setsockopt(
        SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, _PROGRAM.pack(size // _FILTER.size, address)
    )
