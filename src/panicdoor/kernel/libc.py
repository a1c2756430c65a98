"""System calls that Python's os module does not offer, by ctypes, each raising OSError.

The library is opened once, at import: nothing is looked up later.
"""

import ctypes
import os
import struct
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # mlockall(2)
MADV_DONTNEED: Final = 4  # madvise(2)
MADV_POPULATE_READ: Final = 22  # the same, Linux 5.14
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)
FALLOC_FL_KEEP_SIZE: Final = 1  # fallocate(2)
PROT_WRITE, MAP_SHARED = 2, 1  # mmap(2)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # mallopt(3)

SYS_LANDLOCK_CREATE_RULESET: Final = 444  # the same on every architecture
SYS_LANDLOCK_RESTRICT_SELF: Final = 446
_SYS_OPENAT2: Final = 437
RESOLVE_CACHED: Final = 0x20  # linux/openat2.h, Linux 5.12
_AT_FDCWD: Final = -100
_OPEN_HOW: Final = struct.Struct("=QQQ")  # flags, mode, resolve

_LIBC.syscall.restype = ctypes.c_long
# What every process calls at its birth is looked up once.
_madvise: Final = _LIBC.madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_mlockall: Final = _LIBC.mlockall
_signal: Final = _LIBC.signal
_signal.restype = ctypes.c_void_p
_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_LIBC.capset.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_LIBC.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def _checked(result: int, name: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def syscall(name: str, number: int, *arguments: object) -> int:
    """Make a system call by number; `name` is for the error's text."""
    return _checked(_LIBC.syscall(ctypes.c_long(number), *arguments), name)


def openat2(path: str, flags: int, resolve: int) -> int:
    """Open a file, with a rule for how its name is found: openat2(2); 0 is none."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    return syscall(
        "openat2",
        _SYS_OPENAT2,
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.c_char_p(how),
        ctypes.c_size_t(_OPEN_HOW.size),
    )


def mlockall(flags: int) -> bool:
    """Lock this process's memory: mlockall(2); False where it may not be."""
    return bool(_mlockall(flags) == 0)


def populate(start: int, length: int) -> bool:
    """Read a range of addresses in, as if each page were read: madvise(2); False where it fails."""
    return bool(_madvise(start, length, MADV_POPULATE_READ) == 0)


def discard(start: int, length: int) -> bool:
    """Let go of pages of a file until somebody reads them again: madvise(2); False where it fails.

    What was written to them is lost.
    """
    return bool(_madvise(start, length, MADV_DONTNEED) == 0)


def set_signal(number: int, action: int) -> None:
    """Have a signal ignored or do its default: signal(2).

    Python's own makes members of enumerations, at the cost of dozens of pages in each process.
    """
    _signal(number, action)


def prctl(option: int, value: int) -> None:
    """Change a property of this process: prctl(2)."""
    _checked(_LIBC.prctl(option, value, 0, 0, 0), "prctl")


def capset(header: bytes, data: bytes) -> None:
    """Set this process's capabilities: capset(2)."""
    _checked(_LIBC.capset(header, data), "capset")


def fallocate_keep_size(fd: int, length: int) -> None:
    """Reserve `length` bytes of disk for a file, and leave its size: fallocate(2)."""
    _checked(_LIBC.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, length), "fallocate")


def map_for_writing(fd: int, length: int) -> int:
    """Map the beginning of a file, shared, to be written and not read: mmap(2)."""
    address = _LIBC.mmap(None, length, PROT_WRITE, MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        _checked(-1, "mmap")
    return int(address)


def unmap(address: int, length: int) -> None:
    """Undo a mapping: munmap(2)."""
    _checked(_LIBC.munmap(address, length), "munmap")


def store(address: int, data: bytes) -> None:
    """Write bytes at `address`, all of which must be ours."""
    ctypes.memmove(address, data, len(data))


def mallopt(option: int, value: int) -> bool:
    """Tune malloc(3); False where this libc knows no such option (it is a hint, never a need)."""
    tune = getattr(_LIBC, "mallopt", None)
    return tune is not None and tune(option, value) == 1


def malloc_trim() -> bool:
    """Give free heap back to the kernel: malloc_trim(3); False where nothing was, or cannot be."""
    trim = getattr(_LIBC, "malloc_trim", None)
    return trim is not None and trim(0) == 1


def touch(address: int) -> None:
    """Write one zero byte at `address`, which must be ours: below a stack, the kernel grows it."""
    ctypes.memset(address, 0, 1)
