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
from dataclasses import dataclass
from typing import Final

import msgspec

from panicdoor.config import Door
from panicdoor.kernel import libc, sealed

SLOTS: Final = 2
DOCUMENT_MAX: Final = 1216 << 10  # bytes: allowed_signers and door.toml, each at its largest

_HEAD: Final = struct.Struct("=QQ32s")  # serial, bytes of the document, SHA-256
_START: Final = struct.Struct("=QQ")  # the part of it that is hashed with the document
_SLOT: Final = _HEAD.size + DOCUMENT_MAX


class Document(msgspec.Struct, frozen=True):
    """What `door.toml` and `allowed_signers` say, the first parsed, the second as it stands."""

    door: Door
    signers: bytes


_DECODER: Final = msgspec.msgpack.Decoder(Document)
_ENCODER: Final = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class InForce:
    """A document and its serial, from 1."""

    serial: int
    document: Document


class PolicyMemory:
    """The two slots; empty until the first reload."""

    def __init__(self) -> None:
        self.fd, self._address = sealed.create("policy", SLOTS * _SLOT)

    def read(self) -> InForce | None:
        """Return what holds; None where there was no reload yet."""
        for serial, slot in sorted(self._heads(), reverse=True):
            document = self._document(serial, slot)
            if document is not None:
                return InForce(serial, document)
        return None

    def newest(self) -> int:
        """Return the highest serial that a slot claims to have; 0 where there was no reload."""
        return max(self._heads(), default=(0, 0))[0]

    def write(self, document: Document) -> int:
        """Put a document in force and return its serial.

        Raises ValueError where it is too large, or this process may only read.
        """
        data = _ENCODER.encode(document)
        if len(data) > DOCUMENT_MAX or not self._address:
            raise ValueError("this document cannot be written here")
        held = self.read()
        serial = held.serial + 1 if held else 1
        start = _START.pack(serial, len(data))
        # A valid slot has the serial that its number says, so this is never the one that holds.
        at = self._address + serial % SLOTS * _SLOT
        libc.store(at + _HEAD.size, data)
        libc.store(at, start + hashlib.sha256(start + data).digest())
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

    def _heads(self) -> list[tuple[int, int]]:
        """Return the serials that slots claim to have, each with its slot."""
        found = []
        for slot in range(SLOTS):
            serial, _, _ = _HEAD.unpack(os.pread(self.fd, _HEAD.size, slot * _SLOT))
            if serial and serial % SLOTS == slot:
                found.append((serial, slot))
        return found

    def _document(self, serial: int, slot: int) -> Document | None:
        head = os.pread(self.fd, _HEAD.size, slot * _SLOT)
        _, length, digest = _HEAD.unpack(head)
        if length > DOCUMENT_MAX:
            return None
        data = os.pread(self.fd, length, slot * _SLOT + _HEAD.size)
        if hashlib.sha256(head[: _START.size] + data).digest() != digest:
            return None
        return _DECODER.decode(data)
