"""Files as far as they lie in memory: what a disk that no longer answers cannot hold up.

openat2(2) with RESOLVE_CACHED (Linux 5.12) finds a name only where the kernel knows it already,
and preadv2(2) with RWF_NOWAIT reads only what is in the page cache. What is not there is
NotInMemoryError: nobody knows, until the disk is asked, with `Files(..., wait=True)`. File systems
that are in memory themselves are simply asked, and those over a network never (kernel.mounts).
"""

import errno
import os
from collections.abc import Sequence
from typing import Final

from panicdoor.kernel import deleted, libc, mounts, reading

FILE_MAX: Final = 256 << 10  # bytes of a file
PIECE: Final = 64 << 10  # bytes read at a time

# File systems that are in memory as a whole: whoever asks them waits for nobody.
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs", "proc", "sysfs"})

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_UNKNOWN: Final = (errno.EAGAIN, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG)


class NotInMemoryError(Exception):
    """Only the disk, or somebody else's server, knows."""


class Files:
    """How files are asked for: from memory alone, or (`wait`) from the disk too.

    Both methods raise NotInMemoryError, and OSError where the file may not be seen.
    """

    def __init__(self, mounted: Sequence[mounts.Mount], wait: bool = False) -> None:
        seen = mounts.visible(mounted)
        self._waits = mounts.waiting(seen)
        self._points = sorted(
            ((mount.point.rstrip(b"/") + b"/", mount.kind) for mount in seen),
            key=lambda found: -len(found[0]),
        )
        self._wait = wait

    def stat(self, path: str) -> os.stat_result | None:
        """Return what stat(2) says; None where there is nothing."""
        fd = self._open(path, os.O_PATH)
        if fd is None:
            return None
        try:
            self._leave_alone(fd)
            return os.stat(fd)
        finally:
            os.close(fd)

    def read(self, path: str, most: int = FILE_MAX) -> bytes | None:
        """Return a file, `most` bytes of it; None where there is none."""
        fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if fd is None:
            return None
        try:
            self._leave_alone(fd)
            flags = 0 if self._may_wait(path) else os.RWF_NOWAIT
            pieces: list[bytes] = []
            at = 0
            while at < most:
                buffer = bytearray(min(PIECE, most - at))
                got = os.preadv(fd, [buffer], at, flags)
                if not got:
                    break
                pieces.append(bytes(buffer[:got]))
                at += got
            return b"".join(pieces)
        except OSError as error:
            if error.errno in _UNKNOWN:
                raise NotInMemoryError from error
            raise
        finally:
            os.close(fd)

    def _may_wait(self, path: str) -> bool:
        name = os.fsencode(path) + b"/"
        kind = next((kind for point, kind in self._points if name.startswith(point)), "")
        return self._wait or kind in IN_MEMORY

    def _open(self, path: str, flags: int) -> int | None:
        try:
            return libc.openat2(path, flags, 0 if self._may_wait(path) else libc.RESOLVE_CACHED)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if error.errno in _UNKNOWN:
                raise NotInMemoryError from error
            raise

    def _leave_alone(self, fd: int) -> None:
        """Leave a file on a mount that may not answer: fstat(2) would ask, too."""
        told = reading.glance(f"/proc/self/fdinfo/{fd}")
        if deleted.mount_of(told) in self._waits:
            raise NotInMemoryError
