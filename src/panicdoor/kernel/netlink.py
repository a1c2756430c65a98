"""Asking the kernel by netlink(7): a request, the messages of its answer, their attributes.

Numbers and layouts are those of linux/netlink.h. `messages` and `attributes` only read bytes;
`dump` is the one that asks. An answer that does not hold together raises NetlinkError, a refusal
by the kernel OSError with the kernel's own error number.
"""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

ROUTE: Final = 0  # NETLINK_ROUTE: rtnetlink(7)
SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG: sock_diag(7)

ANSWER_S: Final = 2.0  # seconds: a dump is made while it is read, so there is nothing to wait for
BUFFER_BYTES: Final = 64 << 10  # the kernel fills 32 KiB at most at a time (af_netlink.c)

_REQUEST: Final = 0x001  # NLM_F_REQUEST
_DUMP: Final = 0x300  # NLM_F_ROOT | NLM_F_MATCH
_ERROR: Final = 2  # NLMSG_ERROR
_DONE: Final = 3  # NLMSG_DONE
_OVERRUN: Final = 4  # NLMSG_OVERRUN
_FIRST_KIND: Final = 0x10  # NLMSG_MIN_TYPE: what is below is about the conversation
_NESTED: Final = 0x3FFF  # NLA_TYPE_MASK: without the flags of nesting and byte order
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr: length, type
_ERRNO: Final = struct.Struct("=i")  # the first field of struct nlmsgerr, and of NLMSG_DONE


class NetlinkError(Exception):
    """The kernel's answer does not hold together."""


class Message(NamedTuple):
    """One message of an answer: its type, and what follows its header."""

    kind: int
    payload: bytes


def request(kind: int, body: bytes) -> bytes:
    """Return the message that asks for everything of a kind."""
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, kind, _REQUEST | _DUMP, 0, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one packet. Raises NetlinkError where a length is wrong."""
    at, end = 0, len(data)
    while at < end:
        if end - at < _HEADER.size:
            raise NetlinkError(f"{end - at} bytes are no message")
        size, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= size <= end - at:
            raise NetlinkError(f"a message of {size} bytes in {end - at}")
        yield Message(kind, data[at + _HEADER.size : at + size])
        at += (size + 3) & ~3


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes from `start` on; of those that come twice the last.

    Raises NetlinkError where a length is wrong. A rest too short for an attribute is padding.
    """
    found = {}
    at, end = start, len(data)
    while end - at >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= size <= end - at:
            raise NetlinkError(f"an attribute of {size} bytes in {end - at}")
        found[kind & _NESTED] = data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found


def dump(protocol: int, kind: int, body: bytes) -> Iterator[Message]:
    """Ask for everything of a kind, and yield the answer as the kernel makes it.

    Whoever has enough closes the iterator. Raises OSError (refused, or no answer in time) and
    NetlinkError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as asked:
        asked.settimeout(ANSWER_S)
        asked.connect((0, 0))  # nobody but the kernel can then answer
        asked.send(request(kind, body))
        buffer = bytearray(BUFFER_BYTES)
        while True:
            size = asked.recv_into(buffer, 0, socket.MSG_TRUNC)
            if not 0 < size <= BUFFER_BYTES:
                raise NetlinkError(f"a packet of {size} bytes")
            for message in messages(bytes(memoryview(buffer)[:size])):
                if message.kind >= _FIRST_KIND:
                    yield message
                elif message.kind == _DONE:
                    _refusal(message.payload)
                    return
                elif message.kind == _ERROR:
                    _refusal(message.payload)
                    raise NetlinkError("an acknowledgement instead of an answer")
                elif message.kind == _OVERRUN:
                    raise NetlinkError("messages were lost")


def _refusal(payload: bytes) -> None:
    """Raise what the kernel refused with, if it did."""
    number = _ERRNO.unpack_from(payload)[0] if len(payload) >= _ERRNO.size else 0
    if number < 0:
        raise OSError(-number, f"netlink: {os.strerror(-number)}")
