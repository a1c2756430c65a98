"""What a program needs to start at all: the loader that its ELF header names (elf(5))."""

import struct
from typing import Final

_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_LITTLE: Final = 1
_PT_INTERP: Final = 3
_SEGMENTS_MAX: Final = 64  # program headers that are looked at; programs have some 13


def interpreter(head: bytes) -> str:
    """Return the loader's path from a file's first 4 KiB; "" for what has none, or is no ELF."""
    if len(head) < 64 or not head.startswith(_MAGIC):  # noqa: PLR2004 - the header's own size
        return ""
    order = "<" if head[5] == _LITTLE else ">"
    wide = head[4] == _CLASS_64
    table = struct.unpack_from(f"{order}Q", head, 32) if wide else _u32(order, head, 28)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    for at in range(table[0], table[0] + size * min(count, _SEGMENTS_MAX), size or 1):
        if at + (40 if wide else 20) > len(head):
            return ""
        if _u32(order, head, at)[0] != _PT_INTERP:
            continue
        if wide:
            (offset,), (length,) = (struct.unpack_from(f"{order}Q", head, at + n) for n in (8, 32))
        else:
            (offset,), (length,) = (_u32(order, head, at + n) for n in (4, 16))
        return head[offset : offset + length].partition(b"\0")[0].decode("latin-1")
    return ""


def _u32(order: str, data: bytes, at: int) -> tuple[int]:
    (number,) = struct.unpack_from(f"{order}I", data, at)
    return (number,)
