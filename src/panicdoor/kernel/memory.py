"""Keeping a process in memory when the host has none left, or its disk is gone.

Order matters (mlock(2), madvise(2)): the limit is raised, everything mapped is read in once, the
stack is grown to its full size, and only then is it all locked. A lock is not inherited by a fork
and survives a change of user, so every process locks itself at birth, while it may.
"""

import resource
from enum import Enum
from typing import Final

from panicdoor.kernel import libc

STACK_MAX: Final = 8 << 20  # bytes: the usual RLIMIT_STACK; no deeper stack is prepared
STACK_GUARD: Final = 64 << 10  # bytes left below: the limit itself must not be touched


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


def lock(keeps_root: bool) -> Locked:
    """Lock this process's memory as far as its limits allow, and say how far that was.

    With MCL_FUTURE under a finite RLIMIT_MEMLOCK a process without CAP_IPC_LOCK dies at its next
    megabyte, so then only what is held now is locked. Never raises.
    """
    unlimited = _raise_limit()
    _populate()
    _grow_stack()
    future = libc.MCL_FUTURE if unlimited or keeps_root else 0
    for flags, result in (
        (libc.MCL_CURRENT | libc.MCL_ONFAULT | future, Locked.ALL if future else Locked.CURRENT),
        (libc.MCL_CURRENT | libc.MCL_ONFAULT, Locked.CURRENT),
    ):
        try:
            libc.mlockall(flags)
        except OSError:
            continue
        return result
    return Locked.NONE


def _raise_limit() -> bool:
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in (resource.RLIM_INFINITY, hard):
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        except (ValueError, OSError):
            continue
        return limit == resource.RLIM_INFINITY
    return False


def _mappings() -> list[tuple[int, int, str, str]]:
    """Return this process's mappings as (start, end, permissions, name): proc_pid_maps(5)."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        lines = [line.split(maxsplit=5) for line in maps]
    return [
        (int(low, 16), int(high, 16), fields[1], fields[5].strip() if len(fields) > 5 else "")  # noqa: PLR2004
        for fields in lines
        for low, high in [fields[0].split("-")]
    ]


def _populate() -> None:
    """Read every readable mapping into memory; shared pages stay shared."""
    for start, end, permissions, _ in _mappings():
        if permissions.startswith("r"):
            try:
                libc.madvise(start, end - start, libc.MADV_POPULATE_READ)
            except OSError:
                continue  # a device, a hole, or an older kernel: locking reads the rest


def _grow_stack() -> None:
    """Let the stack mapping have its full size now: a locked stack may not grow past the limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    size = STACK_MAX if soft == resource.RLIM_INFINITY else min(soft, STACK_MAX)
    for start, end, _, name in _mappings():
        if name == "[stack]":
            lowest = end - size + STACK_GUARD
            if lowest < start:
                libc.touch(lowest)
