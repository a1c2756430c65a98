"""OpenSSH's key revocation lists, of `ssh-keygen -k`: bytes in, a question answered out.

Everything in a list is understood, or the list is refused: one that is half understood lets in
whom it should keep out. What it revokes is gone for every use: keys by themselves or by hash
(SHA-1 or SHA-256), certificates by serial number or key id, of one authority or of all, and with
the key of an authority everything it has signed. A signature at the end is read over, as OpenSSH
does: who may write the file is said by its owner and mode.

Format: OpenSSH's PROTOCOL.krl. Serial 0 is what an authority writes that counts none: it is no
number that could be revoked.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from panicdoor.errors import ConfigError
from panicdoor.orders.certificates import Certificate
from panicdoor.orders.sshwire import Reader

MAGIC: Final = b"SSHKRL\n\0"
VERSION: Final = 1
FILE_MAX: Final = 1 << 20  # bytes; 30,000 keys by their hash
SERIAL_LIMIT: Final = 1 << 64

# Sections
CERTIFICATES: Final = 1
KEYS: Final = 2
SHA1: Final = 3
SIGNATURE: Final = 4
SHA256: Final = 5
EXTENSION: Final = 255
# Sections inside CERTIFICATES
SERIALS: Final = 0x20
SERIAL_RANGE: Final = 0x21
SERIAL_BITMAP: Final = 0x22
KEY_IDS: Final = 0x23
CERTIFICATE_EXTENSION: Final = 0x39

_HASH_SIZES: Final = {SHA1: 20, SHA256: 32}  # bytes

Range = tuple[int, int]  # the first and the last serial number


@dataclass(slots=True)
class _Revoked:
    """What one authority's certificates are revoked by; `ranges` are sorted once all are read."""

    ids: set[bytes] = field(default_factory=set)
    ranges: list[Range] = field(default_factory=list)
    bitmaps: list[tuple[int, int]] = field(default_factory=list)

    def has(self, certificate: Certificate) -> bool:
        serial = certificate.serial
        if certificate.id in self.ids:
            return True
        if not serial:
            return False
        at = bisect_right(self.ranges, (serial, SERIAL_LIMIT))
        if at and self.ranges[at - 1][1] >= serial:
            return True
        return any(at <= serial and bits >> (serial - at) & 1 for at, bits in self.bitmaps)


class Krl:
    """What is revoked."""

    def __init__(self) -> None:
        self._listed: dict[int, set[bytes]] = {KEYS: set(), SHA1: set(), SHA256: set()}
        self._certificates: dict[bytes, _Revoked] = {}

    def revokes(self, key: bytes, certificate: Certificate | None = None) -> bool:
        """Return whether a plain key (a blob), or the certificate that it came in, is revoked."""
        if self._lists(key):
            return True
        if certificate is None:
            return False
        found = (self._certificates.get(name) for name in (certificate.authority, b""))
        return self._lists(certificate.authority) or any(
            revoked.has(certificate) for revoked in found if revoked is not None
        )

    def _lists(self, key: bytes) -> bool:
        return (
            key in self._listed[KEYS]
            or hashlib.sha256(key).digest() in self._listed[SHA256]
            or hashlib.sha1(key, usedforsecurity=False).digest() in self._listed[SHA1]
        )

    def _take(self, section: int, data: Reader) -> None:
        """Take one section. Raises ValueError."""
        if section == CERTIFICATES:
            self._take_certificates(data)
        elif section in self._listed:
            blobs = list(_strings(data))
            size = _HASH_SIZES.get(section)
            if any(not blob or len(blob) != (size or len(blob)) for blob in blobs):
                raise ValueError("a key or a hash has another size")
            self._listed[section].update(blobs)
        elif section == EXTENSION:
            _skip_extension(data)
        else:
            raise ValueError(f"section {section} is unknown")

    def _take_certificates(self, data: Reader) -> None:
        revoked = self._certificates.setdefault(data.string(), _Revoked())
        data.string()  # reserved
        while not data.ended:
            kind, inside = data.byte(), Reader(data.string())
            if kind == SERIALS:
                while not inside.ended:
                    serial = inside.uint64()
                    revoked.ranges.append(_range(serial, serial))
            elif kind == SERIAL_RANGE:
                revoked.ranges.append(_range(inside.uint64(), inside.uint64()))
            elif kind == SERIAL_BITMAP:
                first, bits = inside.uint64(), inside.mpint()
                if first + bits.bit_length() > SERIAL_LIMIT:
                    raise ValueError("a bitmap goes beyond the last serial number")
                revoked.bitmaps.append((first, bits))
            elif kind == KEY_IDS:
                revoked.ids.update(_strings(inside))
            elif kind == CERTIFICATE_EXTENSION:
                _skip_extension(inside)
            else:
                raise ValueError(f"section {kind:#x} of certificates is unknown")
            inside.end()

    def _sort(self) -> None:
        """Make the ranges of each authority rise, with none that overlaps another."""
        for revoked in self._certificates.values():
            merged: list[Range] = []
            for first, last in sorted(revoked.ranges):
                if merged and first <= merged[-1][1]:
                    merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
                else:
                    merged.append((first, last))
            revoked.ranges = merged


NOTHING_REVOKED: Final = Krl()


def parse(data: bytes, file: str = "revoked") -> Krl:
    """Return the list in `data`, the contents of `file`.

    Raises ConfigError, naming `file`, for whatever is not wholly understood.
    """
    if len(data) > FILE_MAX:
        raise ConfigError(f"{file}: expected at most {FILE_MAX} bytes")
    if not data.startswith(MAGIC):
        raise ConfigError(f"{file}: expected a list made by: ssh-keygen -k -f {file} KEY.pub")
    found = Krl()
    reader = Reader(data[len(MAGIC) :])
    try:
        if reader.uint32() != VERSION:
            raise ValueError("its format has another version")
        for _ in ("its own version", "when it was made", "flags, none of them defined"):
            reader.uint64()
        reader.string()  # reserved
        reader.string()  # a comment
        while not reader.ended:
            section, inside = reader.byte(), Reader(reader.string())
            if section == SIGNATURE:
                reader.string()
                continue
            found._take(section, inside)
            inside.end()
    except ValueError as error:
        raise ConfigError(f"{file}: expected a whole list of revoked keys: {error}") from None
    found._sort()
    return found


def _strings(reader: Reader) -> Iterator[bytes]:
    while not reader.ended:
        yield reader.string()


def _range(first: int, last: int) -> Range:
    if not 0 < first <= last:
        raise ValueError("serial numbers are counted from 1, and rise")
    return first, last


def _skip_extension(reader: Reader) -> None:
    """Read over an extension. Raises ValueError where it must be understood."""
    reader.string()  # its name
    if reader.byte():
        raise ValueError("an extension that must be understood is unknown")
    reader.string()
