"""Names of users and groups from /etc/passwd and /etc/group: files, and never a name service.

A name service may be what is broken. So may be the disk: `names` takes the file only from memory
(openat2(2) with RESOLVE_CACHED, preadv2(2) with RWF_NOWAIT), and where it is not there, what was
read last. `remember` reads it in any case, and may wait: it is for the start of a process.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from panicdoor.kernel import libc, reading

FILES: Final = {"user": "/etc/passwd", "group": "/etc/group"}
FILE_MAX: Final = 1 << 20  # bytes: some 20,000 lines
PIECE: Final = 64 << 10  # bytes read at a time
NAMES_MAX: Final = 10_000  # names of a file; they stay in memory
NAME_MAX: Final = 32  # characters: useradd(8) makes none that are longer

_FIELDS: Final = 3  # name, password, number
_NUMBER_MAX: Final = (1 << 32) - 1

Kind = Literal["user", "group"]
_known: dict[str, Mapping[int, str]] = {}


def parse(data: bytes) -> Mapping[int, str]:
    """Return the names in a passwd(5) or group(5) file by number; the first of a number counts."""
    found: dict[int, str] = {}
    for line in data[:FILE_MAX].split(b"\n"):
        fields = line.split(b":", _FIELDS)
        if len(fields) <= _FIELDS or not fields[0] or fields[0][:1] in b"+-#":
            continue
        number = reading.number(fields[2])
        if number is not None and 0 <= number <= _NUMBER_MAX:
            found.setdefault(number, fields[0][:NAME_MAX].decode("latin-1"))
            if len(found) == NAMES_MAX:
                break
    return MappingProxyType(found)


def remember() -> None:
    """Read both files, wherever they are. Waits for the disk."""
    for kind, path in FILES.items():
        try:
            _known[kind] = parse(reading.read(path, FILE_MAX))
        except OSError:
            continue


def names(kind: Kind) -> Mapping[int, str]:
    """Return the names as they are in memory, or as they were read last. Never waits."""
    data = _cached(FILES[kind])
    if data is not None:
        _known[kind] = parse(data)
    return _known.get(kind, MappingProxyType({}))


def user(number: int) -> str:
    """Return a user's name, or the number where there is none. For many, ask `names` once."""
    return names("user").get(number, str(number))


def _cached(path: str) -> bytes | None:
    """Return a file that lies in memory as a whole, or None."""
    try:
        fd = libc.openat2(path, os.O_RDONLY | os.O_NONBLOCK, libc.RESOLVE_CACHED)
    except OSError:
        return None
    try:
        pieces: list[bytes] = []
        buffer = bytearray(PIECE)
        at = 0
        while at < FILE_MAX and (got := os.preadv(fd, [buffer], at, os.RWF_NOWAIT)):
            pieces.append(bytes(buffer[:got]))
            at += got
        return b"".join(pieces)
    except OSError:
        return None
    finally:
        os.close(fd)
