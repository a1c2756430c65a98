"""Wires: what joins two places that may speak to each other.

One SOCK_SEQPACKET pair for each pair of places that `roles.MESSAGES` joins, opened before the
first fork and never again. A wire belongs to the two places, not to the processes that fill them:

- a peer that died is not seen as an end, so whoever asks has a deadline;
- a packet may outlive its reader, so requests say until when somebody waits;
- a full wire refuses at once: nobody here ever waits for a peer;
- requests are read one at a time: what waits for its turn waits in the kernel, which bounds it;
- packets are read without their ancillary data, so no peer can push descriptors into us. The one
  exception is a wire on which sockets are handed over: there each packet has exactly one, or is
  dropped with whatever it brought;
- an end that comes is for ever: the supervisor's, whose end nobody else holds (whoever sees it is
  alone, and serves on), or that of a peer which shut the wire, and with it its own place's.
"""

import functools
import operator
import os
import select
import socket
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from panicdoor.messages import PACKET_MAX, Ask, Handover, Message
from panicdoor.roles import MESSAGES, ROLE_OF, ROLES, SUPERVISOR, allowed

FDS_MAX: Final = 8  # descriptors of one packet that are taken, to be closed; the kernel drops more
BURST: Final = 16  # packets read from one wire before the others have their turn

_ENCODER: Final = msgspec.msgpack.Encoder()


class _Reading(NamedTuple):
    """How one role reads another's packets, and how many messages at once."""

    decoder: msgspec.msgpack.Decoder[Message]
    passes: bool
    at_once: int


def _reading(sender: str, receiver: str) -> _Reading:
    """Return how packets are read; where nothing may come only nil fits, and is junk."""
    kinds = allowed(sender, receiver)
    union = functools.reduce(operator.or_, kinds) if kinds else None
    decoder = msgspec.msgpack.Decoder(union)
    return _Reading(decoder, Handover in kinds, 1 if Ask in kinds else BURST)


# Made once, before any fork: all processes share them.
_READINGS: Final = {
    (sender, receiver): _reading(sender, receiver)
    for sender in (SUPERVISOR, *(role.name for role in ROLES))
    for receiver in (SUPERVISOR, *(role.name for role in ROLES))
}


def role_of(place: str) -> str:
    """Return the name of the role that a place is a seat of."""
    return SUPERVISOR if place == SUPERVISOR else ROLE_OF[place].name


def joined() -> tuple[tuple[str, str], ...]:
    """Return the pairs of places that have a wire, each pair once."""
    places = (SUPERVISOR, *ROLE_OF)
    roles = {(a, b) for senders, receivers, _ in MESSAGES for a in senders for b in receivers}
    return tuple(
        (a, b)
        for i, a in enumerate(places)
        for b in places[i + 1 :]
        if (role_of(a), role_of(b)) in roles or (role_of(b), role_of(a)) in roles
    )


def open_all() -> dict[tuple[str, str], int]:
    """Open every wire: the descriptor of the end that `place` holds to `peer`, by (place, peer)."""
    ends = {}
    for a, b in joined():
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one.setblocking(False)
        other.setblocking(False)
        ends[a, b], ends[b, a] = one.detach(), other.detach()
    return ends


class Wire:
    """One place's end of a wire.

    `dropped` counts packets that did not fit, `refused` messages that the wire had no room for or
    that are larger than a packet. `over` is True once the peer has ended for good; then nothing is
    sent or received any more.
    """

    __slots__ = ("_at_once", "_decoder", "_passes", "_socket", "dropped", "over", "peer", "refused")

    def __init__(self, place: str, peer: str, fd: int) -> None:
        self.peer = peer
        self.dropped = self.refused = 0
        self.over = False
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)  # again: our predecessor, taken over, may have undone it
        self._decoder, self._passes, self._at_once = _READINGS[role_of(peer), role_of(place)]

    def fileno(self) -> int:
        """Return the descriptor, for whoever waits on it."""
        return self._socket.fileno()

    def send(self, message: Message, fd: int = -1) -> bool:
        """Send one message; False, at once, where the wire is full or the peer has ended.

        With `fd` goes a copy of that descriptor, which only a Handover may bring.
        """
        packet = _ENCODER.encode(message)
        if not self.over and len(packet) <= PACKET_MAX:
            try:
                if fd < 0:
                    self._socket.send(packet)
                else:
                    socket.send_fds(self._socket, [packet], [fd])
            except OSError:
                pass  # full, or shut
            else:
                return True
        self.refused += 1
        return False

    def receive(self) -> Iterator[Message]:
        """Yield the messages that wait; junk is dropped and counted.

        One message where requests come, else BURST; never more than BURST packets are read.
        """
        room = self._at_once
        for _ in range(BURST):
            try:
                packet, fds = self._read()
            except BlockingIOError:
                return
            except OSError:
                self.over = True
                return
            if not packet and not fds and self._hung_up():
                self.over = True
                return
            try:
                message = self._decoder.decode(packet) if len(packet) <= PACKET_MAX else None
            except (ValueError, RecursionError):  # no message, no UTF-8, too deep
                message = None
            if self._passes:
                message = _with_descriptor(message, fds)
            if message is None:
                self.dropped += 1
                continue
            yield message
            room -= 1
            if not room:
                return

    def _read(self) -> tuple[bytes, list[int]]:
        """Return the next packet, and the descriptors that came with it where any may come."""
        if not self._passes:
            return self._socket.recv(PACKET_MAX + 1), []
        packet, fds, _, _ = socket.recv_fds(self._socket, PACKET_MAX + 1, FDS_MAX)
        return packet, fds

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _hung_up(self) -> bool:
        """Tell an ended peer from an empty packet: both read as b"".

        One that has only shut its sending (POLLRDHUP) would read as b"" for ever, too.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))


def _with_descriptor(message: Message | None, fds: list[int]) -> Message | None:
    """Return a Handover with the one descriptor that came with it; else None, and close them."""
    if isinstance(message, Handover) and len(fds) == 1:
        return msgspec.structs.replace(message, fd=fds[0])
    for fd in fds:
        os.close(fd)
    return None
