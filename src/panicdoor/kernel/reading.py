"""Reading the small files in which the kernel tells about itself, each with a limit.

Files of /proc and /sys are made while they are read: their size is not known before, and a read
may return less than there is. Nothing here waits for a disk, as long as it is given such files.
"""

import os
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
SMALL: Final = 4096  # bytes: what a file of one value, or of one process, has room in
LARGE: Final = 1 << 20  # bytes of a table, such as /proc/vmstat or /proc/self/mounts


def glance(path: str, most: int = SMALL) -> bytes:
    """Return what one read(2) gives: all of a file that the kernel makes at once. Raises OSError.

    That is so for the files of a process and for single values, not for tables.
    """
    fd = os.open(path, _FLAGS)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def read(path: str, most: int = LARGE) -> bytes:
    """Return a file up to its end, but no more than `most` bytes. Raises OSError."""
    fd = os.open(path, _FLAGS)
    try:
        pieces = []
        while most > 0 and (piece := os.read(fd, min(most, 64 << 10))):
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def value(path: str) -> str:
    """Return a file of one value as text; "" where it cannot be read."""
    try:
        return glance(path).strip().decode("latin-1")
    except OSError:
        return ""


def number(text: bytes | str) -> int | None:
    """Return a decimal number of 64 bits as the kernel writes it, or None."""
    digits = text.strip()
    if isinstance(digits, bytes):
        digits = digits.decode("latin-1")
    if (
        not digits.removeprefix("-").isdecimal()
        or not digits.isascii()
        or len(digits) > len(str(1 << 64))
    ):
        return None
    return int(digits)


def bytewise(path: str) -> str:
    """Return a path that Python has read (PEP 383) with a character for each of its bytes.

    So it is escaped as `\\xNN`, like every other name that the host has, and can be typed again.
    """
    return path if path.isascii() else os.fsencode(path).decode("latin-1")
