"""Keeping a process in memory when the host has none left, or its disk is gone.

Order matters (mlock(2), madvise(2)): the limit is raised, everything mapped is read in once, the
stack is grown to its full size, and only then is it all locked. A lock is not inherited by a fork
and survives a change of user, so every process locks itself at birth, while it may.
"""

import contextlib
import resource
import sys
from enum import Enum
from typing import Final

from panicdoor.kernel import libc

STACK_MAX: Final = 8 << 20  # bytes: the usual RLIMIT_STACK; no deeper stack is prepared
CAP_IPC_LOCK: Final = 14  # capabilities(7)
STACK_GUARD: Final = 64 << 10  # bytes left below: the limit itself must not be touched

_BLOCK_STEP: Final = 16  # bytes: Python's own allocator has blocks of multiples of it
_BLOCK_MAX: Final = 512  # bytes; what is larger comes from malloc(3)
_ROW: Final = 8  # blocks in a row: a place where new ones lie together, and no gap
_GAPS_MAX: Final = 1 << 16  # of one size
_BYTES_HEAD: Final = sys.getsizeof(b"")
_plugs: Final[list[list[bytes]]] = []

Ranges = tuple[tuple[int, int], ...]


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
    """Give the stack its full size, and return what is mapped and readable: once, before any fork.

    Children have the same mappings, and looking them up again would cost each of them memory, as
    would a long list: neighbours are one range.
    A locked stack may not grow past the limit, so it is grown while nothing is locked.
    """
    mappings = _mappings()
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    size = STACK_MAX if soft == resource.RLIM_INFINITY else min(soft, STACK_MAX)
    for start, end, _, name in mappings:
        if name == "[stack]" and end - size + STACK_GUARD < start:
            libc.touch(end - size + STACK_GUARD)
    ranges: list[tuple[int, int]] = []
    for start, end, readable, _ in mappings:
        if readable and ranges and ranges[-1][1] == start:
            ranges[-1] = ranges[-1][0], end
        elif readable:
            ranges.append((start, end))
    return tuple(ranges)


def lock(ranges: Ranges, forever: bool) -> Locked:
    """Lock this process's memory as far as its limits allow, and say how far that was.

    `ranges` are read in first; pages that are shared stay shared. With MCL_FUTURE under a finite
    RLIMIT_MEMLOCK a process dies at its next megabyte, so what comes later is locked too only
    `forever`: where there is no limit, or this process keeps CAP_IPC_LOCK. Never raises.
    """
    for start, end in ranges:
        # A device, a hole, an older kernel: what is not read in now is read when it is needed.
        libc.populate(start, end - start)
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


def _mappings() -> list[tuple[int, int, bool, str]]:
    """Return this process's mappings as (start, end, readable, name): proc_pid_maps(5)."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        rows = [line.split(maxsplit=5) for line in maps]
    return [
        (int(low, 16), int(high, 16), row[1].startswith("r"), row[-1].strip())
        for row in rows
        for low, high in [row[0].split("-")]
    ]
