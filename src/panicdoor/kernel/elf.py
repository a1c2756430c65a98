"""ELF files, elf(5): the loader that a program needs to start at all, and where sections stand."""

import struct
from typing import BinaryIO, Final

_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_LITTLE: Final = 1
_PT_INTERP: Final = 3
_SEGMENTS_MAX: Final = 64  # program headers that are looked at; programs have some 13
_SECTIONS_MAX: Final = 256  # the same of sections; libraries have some 30
_NAMES_MAX: Final = 64 << 10  # bytes of their names
_SECTION: Final = struct.Struct("=II4QIIQQ")  # of 64 bits: name, type, flags, address, offset, ...
_SHF_WRITE: Final = 1


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


def constant_sections(file: BinaryIO) -> dict[bytes, tuple[int, int]]:
    """Return where in a file the sections are that nobody writes to, as (offset, bytes), by name.

    Of files of this machine's own kind alone; none where it is no ELF, or a damaged one.
    """
    head = file.read(64)
    if len(head) < 64 or head[:5] != _MAGIC + bytes([_CLASS_64]):  # noqa: PLR2004
        return {}
    (start,) = struct.unpack_from("=Q", head, 40)
    size, count, names = struct.unpack_from("=HHH", head, 58)
    if size != _SECTION.size or not names < count <= _SECTIONS_MAX or start >> 63:
        return {}
    file.seek(start)
    table = file.read(size * count)
    if len(table) < size * count:
        return {}
    rows = list(_SECTION.iter_unpack(table))
    offset, length = rows[names][4:6]
    if length > _NAMES_MAX or offset >> 63:
        return {}
    file.seek(offset)
    words = file.read(length)
    return {
        words[name:].partition(b"\0")[0]: (row_offset, row_length)
        for name, _, flags, _, row_offset, row_length, *_ in rows
        if not flags & _SHF_WRITE
    }


def _u32(order: str, data: bytes, at: int) -> tuple[int]:
    (number,) = struct.unpack_from(f"{order}I", data, at)
    return (number,)
