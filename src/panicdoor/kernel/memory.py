"""Keeping a process in memory when the host has none left, or its disk is gone.

Order matters (mlock(2), madvise(2)): the limit is raised, everything mapped is read in once, the
stack is grown to its full size, and only then is it all locked. A lock is not inherited by a fork
and survives a change of user, so every process locks itself at birth, while it may.
"""

import contextlib
import resource
from enum import Enum
from typing import Final

from panicdoor.kernel import libc

STACK_MAX: Final = 8 << 20  # bytes: the usual RLIMIT_STACK; no deeper stack is prepared
CAP_IPC_LOCK: Final = 14  # capabilities(7)
STACK_GUARD: Final = 64 << 10  # bytes left below: the limit itself must not be touched


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


def lock(ranges: Ranges, privileged: bool) -> Locked:
    """Lock this process's memory as far as its limits allow, and say how far that was.

    `ranges` are read in first; pages that are shared stay shared. With MCL_FUTURE under a finite
    RLIMIT_MEMLOCK a process dies at its next megabyte unless it is `privileged`: keeps
    CAP_IPC_LOCK. Then only what is held now is locked. Never raises.
    """
    unlimited = _raise_limit()
    for start, end in ranges:
        # A device, a hole, an older kernel: what is not read in now is read when it is needed.
        with contextlib.suppress(OSError):
            libc.madvise(start, end - start, libc.MADV_POPULATE_READ)
    now = libc.MCL_CURRENT | libc.MCL_ONFAULT
    if unlimited or privileged:
        with contextlib.suppress(OSError):
            libc.mlockall(now | libc.MCL_FUTURE)
            return Locked.ALL
    with contextlib.suppress(OSError):
        libc.mlockall(now)
        return Locked.CURRENT
    return Locked.NONE


def privileged() -> bool:
    """Say whether this process has CAP_IPC_LOCK: RLIMIT_MEMLOCK does not bind it then."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next((line for line in status if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) >> CAP_IPC_LOCK & 1)


def _raise_limit() -> bool:
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
