"""The policy in force since the last reload, in memory that outlives processes and disks.

Only a worker writes it, and everybody who needs it reads it: a place that is filled on a day
without a disk finds the policy of that day, not that of the start. Rules:
- two slots, written in turn, each with serial, length and a hash of all three: whoever dies half
  way through damages nothing, and the valid slot with the highest serial is what holds;
- what is here has been checked: whoever reads it may believe it, since nobody else can write it.
"""

import hashlib
import os
import struct
from typing import Final, NamedTuple

import msgspec

from panicdoor.config import Door
from panicdoor.kernel import libc, sealed
from panicdoor.orders.signers import FILE_MAX as SIGNERS_MAX

SLOTS: Final = 2
DOOR_MAX: Final = 192 << 10  # bytes of `door.toml`, parsed and packed: FILE_MAX, and much more
PIECE_MAX: Final = 16 << 10  # bytes read at once for the hash: memory that was used once stays ours

_HEAD: Final = struct.Struct("=QQQ32s")  # serial, bytes of the door and of the signers, SHA-256
_START: Final = struct.Struct("=QQQ")  # the part of it that is hashed with what follows
_SLOT: Final = _HEAD.size + DOOR_MAX + SIGNERS_MAX


class Document(msgspec.Struct, frozen=True):
    """What `door.toml` and `allowed_signers` say, the first parsed, the second as it stands."""

    door: Door
    signers: bytes


_DECODER: Final = msgspec.msgpack.Decoder(Door)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Slot(NamedTuple):
    """What a slot says of itself: its serial, where the door begins, and how long both parts are.

    The signers follow the door.
    """

    serial: int
    at: int
    door: int
    signers: int
    digest: bytes


class PolicyMemory:
    """The two slots; empty until the first reload."""

    def __init__(self) -> None:
        self.fd, self._address = sealed.create("policy", SLOTS * _SLOT)

    def newest(self) -> int:
        """Return the highest serial that a slot claims to have; 0 where there was no reload."""
        return max((slot.serial for slot in self._slots()), default=0)

    def read_door(self) -> tuple[int, Door] | None:
        """Return the serial of what holds, from 1, and the door; None without a reload so far."""
        slot = self._holds()
        return slot and (slot.serial, _DECODER.decode(os.pread(self.fd, slot.door, slot.at)))

    def read(self) -> tuple[int, Document] | None:
        """Return the same, and who there is."""
        slot = self._holds()
        if slot is None:
            return None
        door = _DECODER.decode(os.pread(self.fd, slot.door, slot.at))
        signers = os.pread(self.fd, slot.signers, slot.at + slot.door)
        return slot.serial, Document(door, signers)

    def write(self, document: Document) -> int:
        """Put a document in force and return its serial.

        Raises ValueError where it is too large, or this process may only read.
        """
        door, signers = _ENCODER.encode(document.door), document.signers
        if len(door) > DOOR_MAX or len(signers) > SIGNERS_MAX or not self._address:
            raise ValueError("this document cannot be written here")
        held = self._holds()
        serial = held.serial + 1 if held else 1
        start = _START.pack(serial, len(door), len(signers))
        digest = hashlib.sha256(start)
        digest.update(door)
        digest.update(signers)
        # What holds stands in the slot that its serial says, so this is the other one.
        at = self._address + serial % SLOTS * _SLOT
        libc.store(at + _HEAD.size, door)
        libc.store(at + _HEAD.size + len(door), signers)
        libc.store(at, start + digest.digest())
        return serial

    def only_read(self) -> None:
        """Give up writing, for good."""
        if self._address:
            libc.unmap(self._address, SLOTS * _SLOT)
            self._address = 0

    def close(self) -> None:
        """Give up all of it."""
        self.only_read()
        os.close(self.fd)

    def _slots(self) -> list[Slot]:
        """Return the slots that claim to have something."""
        found = []
        for number in range(SLOTS):
            at = number * _SLOT
            head = os.pread(self.fd, _HEAD.size, at)
            serial, door, signers, digest = _HEAD.unpack(head)
            if serial and serial % SLOTS == number:
                found.append(Slot(serial, at + _HEAD.size, door, signers, digest))
        return found

    def _holds(self) -> Slot | None:
        """Return the valid slot with the highest serial."""
        return next(filter(self._valid, sorted(self._slots(), reverse=True)), None)

    def _valid(self, slot: Slot) -> bool:
        if slot.door > DOOR_MAX or slot.signers > SIGNERS_MAX:
            return False
        digest = hashlib.sha256(_START.pack(slot.serial, slot.door, slot.signers))
        end = slot.at + slot.door + slot.signers
        for at in range(slot.at, end, PIECE_MAX):
            digest.update(os.pread(self.fd, min(PIECE_MAX, end - at), at))
        return digest.digest() == slot.digest
