"""Keeping a process in memory when the host has none left, or its disk is gone.

Order matters (mlock(2), madvise(2)): the limit is raised, everything mapped is read in once, the
stack is grown to its full size, and only then is it all locked. A lock is not inherited by a fork
and survives a change of user, so every process locks itself at birth, while it may.
"""

import contextlib
import resource
import sys
from enum import Enum
from typing import Final, NamedTuple

from panicdoor.kernel import elf, libc

STACK_MAX: Final = 8 << 20  # bytes: the usual RLIMIT_STACK; no deeper stack is prepared
CAP_IPC_LOCK: Final = 14  # capabilities(7)
STACK_GUARD: Final = 64 << 10  # bytes left below: the limit itself must not be touched

# Sections of libraries that are read when they are loaded, or when C++ or Rust code raises. That
# happens to nobody here who could go on then.
UNREAD: Final = (b".rela.dyn", b".eh_frame", b".eh_frame_hdr", b".gcc_except_table")
UNREAD_MIN: Final = 64 << 10  # bytes: less is read in with its neighbours anyway

_BLOCK_STEP: Final = 16  # bytes: Python's own allocator has blocks of multiples of it
_BLOCK_MAX: Final = 512  # bytes; what is larger comes from malloc(3)
_ROW: Final = 8  # blocks in a row: a place where new ones lie together, and no gap
_GAPS_MAX: Final = 1 << 16  # of one size
_PAGE: Final = resource.getpagesize()
_BYTES_HEAD: Final = sys.getsizeof(b"")
_plugs: Final[list[list[bytes]]] = []

_Range = tuple[int, int]


class Ranges(NamedTuple):
    """Addresses that are to be in memory, and those of files that need not."""

    needed: tuple[_Range, ...] = ()
    unread: tuple[_Range, ...] = ()


class Locked(Enum):
    """How much of a process's memory is locked."""

    ALL = "all memory, now and later"
    CURRENT = "the memory held at start"
    NONE = "no memory"


def settle_malloc() -> None:
    """Keep freed memory and take no second arena: what was faulted in once stays ours."""
    libc.mallopt(libc.M_ARENA_MAX, 1)
    libc.mallopt(libc.M_TRIM_THRESHOLD, 64 << 20)
    libc.mallopt(libc.M_MMAP_THRESHOLD, 16 << 20)


def trim_malloc() -> None:
    """Give back what importing has freed: before a fork, or every child inherits it."""
    libc.malloc_trim()


def plug_gaps() -> None:
    """Fill the gaps that imports left between Python's small objects: once, before any fork.

    Else every child fills them with objects of its own, and copies a page for each. Of each size
    blocks are taken until some lie in a row; those are given back.
    """
    for size in range(_BLOCK_STEP * 3, _BLOCK_MAX + 1, _BLOCK_STEP):
        blocks: list[bytes] = []
        row = last = 0
        while row < _ROW and len(blocks) < _GAPS_MAX:
            blocks.append(bytes(bytearray(size - _BYTES_HEAD)))
            row = row + 1 if id(blocks[-1]) == last + size else 0
            last = id(blocks[-1])
        _plugs.append(blocks[:-_ROW])


def survey() -> Ranges:
    """Give the stack its full size, and return what is mapped and needed: once, before any fork.

    Children have the same mappings, and looking them up again would cost each of them memory, as
    would a long list: neighbours are one range. What is UNREAD of libraries is needed by nobody.
    A locked stack may not grow past the limit, so it is grown while nothing is locked.
    """
    mappings = _mappings()
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    size = STACK_MAX if soft == resource.RLIM_INFINITY else min(soft, STACK_MAX)
    needed: list[_Range] = []
    unread: list[_Range] = []
    for mapping in mappings:
        start, end = mapping.start, mapping.end
        if mapping.name == "[stack]" and end - size + STACK_GUARD < start:
            libc.touch(end - size + STACK_GUARD)
        for low, high in _unread(mapping):
            unread.append((low, high))
            _join(needed, start, low)
            start = high
        if mapping.readable:
            _join(needed, start, end)
    return Ranges(tuple(needed), tuple(unread))


def _join(ranges: list[_Range], start: int, end: int) -> None:
    """Add a range, to its neighbour where it has one."""
    if ranges and ranges[-1][1] == start:
        ranges[-1] = ranges[-1][0], end
    elif start < end:
        ranges.append((start, end))


def _unread(mapping: "Mapping") -> list[_Range]:
    """Return the whole pages of a mapping that nobody needs."""
    if not mapping.constant or not mapping.name.startswith("/"):
        return []
    try:
        with open(mapping.name, "rb") as file:
            sections = elf.constant_sections(file)
    except OSError:  # replaced by an upgrade, or a device
        return []
    found = []
    for offset, size in sorted(sections[name] for name in UNREAD if name in sections):
        # The first and the last page have neighbours in them.
        low = -(-max(offset, mapping.offset) // _PAGE) * _PAGE
        high = min(offset + size, mapping.offset + mapping.end - mapping.start) // _PAGE * _PAGE
        if high - low >= UNREAD_MIN:
            found.append(
                (mapping.start + low - mapping.offset, mapping.start + high - mapping.offset)
            )
    return found


def lock(ranges: Ranges, forever: bool) -> Locked:
    """Lock this process's memory as far as its limits allow, and say how far that was.

    What is `needed` is read in first; pages that are shared stay shared. With MCL_FUTURE under a
    finite RLIMIT_MEMLOCK a process dies at its next megabyte, so what comes later is locked too
    only `forever`: where there is no limit, or this process keeps CAP_IPC_LOCK. Never raises.
    """
    for start, end in ranges.needed:
        # A device, a hole, an older kernel: what is not read in now is read when it is needed.
        libc.populate(start, end - start)
    for start, end in ranges.unread:
        libc.discard(start, end - start)  # what came with its neighbours
    now = libc.MCL_CURRENT | libc.MCL_ONFAULT
    if forever and libc.mlockall(now | libc.MCL_FUTURE):
        return Locked.ALL
    return Locked.CURRENT if libc.mlockall(now) else Locked.NONE


def privileged() -> bool:
    """Say whether this process has CAP_IPC_LOCK: RLIMIT_MEMLOCK does not bind it then."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next((line for line in status if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) >> CAP_IPC_LOCK & 1)


def raise_limit() -> bool:
    """Raise RLIMIT_MEMLOCK as far as we may, for us and our children; True where it is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in (resource.RLIM_INFINITY, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return limit == resource.RLIM_INFINITY
    return False


class Mapping(NamedTuple):
    """A line of /proc/self/maps; `constant` where nobody may write to it or run it."""

    start: int
    end: int
    readable: bool
    constant: bool
    offset: int
    name: str


def _mappings() -> list[Mapping]:
    """Return this process's mappings: proc_pid_maps(5)."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            span, rights, offset, _, _, *name = line.rstrip("\n").split(maxsplit=5)
            low, _, high = span.partition("-")
            found.append(
                Mapping(
                    int(low, 16), int(high, 16), rights.startswith("r"), rights == "r--p",
                    int(offset, 16), "".join(name),
                )
            )  # fmt: skip
    return found
