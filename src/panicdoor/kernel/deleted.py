"""Files that were deleted and still take room, because a process has them open.

A link under /proc/PID/fd that ends in "(deleted)" names one; stat(2) through that link tells its
size. On a network file system that may wait for the server, so the mount is found out first, from
/proc/PID/fdinfo, and files there are counted and not asked. Files in memory (memfd, shared
memory) are on no mount and are nobody's disk.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from panicdoor.kernel import mounts, reading
from panicdoor.kernel.descriptors import Link, Scan
from panicdoor.kernel.mounts import Mount

MARK: Final = " (deleted)"
FILES_MAX: Final = 10_000  # deleted files that are asked for their size
TABLES_MAX: Final = 200  # mount tables of other namespaces that are read: one for each container
_BLOCK: Final = 512  # bytes of what stat(2) calls a block


class Deleted(NamedTuple):
    """One deleted file and one of those who hold it open. `size` is what it takes on the disk."""

    size: int
    link: Link
    holders: int

    @property
    def name(self) -> str:
        """What the file was called, as its last holder's namespace saw it."""
        return reading.bytewise(self.link.target.removesuffix(MARK))


class Found(NamedTuple):
    """What one scan found, largest first.

    `waiting` files are on mounts that were not asked; `cut` says that there may be more.
    """

    files: list[Deleted]
    waiting: int = 0
    cut: bool = False

    @property
    def size(self) -> int:
        """Bytes that would be free if nobody held them."""
        return sum(file.size for file in self.files)


def mount_of(fdinfo: bytes) -> int:
    """Return the mount id that a file of /proc/PID/fdinfo names; -1 where it names none."""
    for line in fdinfo.split(b"\n"):
        name, _, value = line.partition(b":")
        number = reading.number(value) if name == b"mnt_id" else None
        if number is not None:
            return number
    return -1


def find(scan: Scan) -> Found:
    """Return the deleted files that processes hold open, each once. Raises OSError."""
    ours = _Tables()
    seen: dict[tuple[int, int], Deleted] = {}
    waiting = asked = 0
    for link in scan:
        if not link.target.endswith(MARK):
            continue
        if asked == FILES_MAX:
            return Found(_largest_first(seen), waiting, True)
        asked += 1
        may_wait = ours.may_wait(link)
        if may_wait is None:
            continue
        if may_wait:
            waiting += 1
            continue
        try:
            told = os.stat(f"/proc/{link.pid}/fd/{link.fd}")
        except OSError:
            continue  # closed meanwhile
        if told.st_nlink:
            continue  # it is only called so
        key = told.st_dev, told.st_ino
        known = seen.get(key)
        if known is None:
            seen[key] = Deleted(told.st_blocks * _BLOCK, link, 1)
        else:
            seen[key] = known._replace(holders=known.holders + 1)
    return Found(_largest_first(seen), waiting, scan.cut)


def _largest_first(seen: Mapping[tuple[int, int], Deleted]) -> list[Deleted]:
    return sorted(seen.values(), key=lambda file: -file.size)


class _Tables:
    """Which mounts may wait, in our own namespace and in those of others as they are met."""

    def __init__(self) -> None:
        mounted, _ = mounts.read()
        self._waits = _waits(mounted)
        self._read: set[str] = set()

    def may_wait(self, link: Link) -> bool | None:
        """Return whether the link's file may wait for somebody; None where it is on no mount."""
        try:
            mount = mount_of(reading.glance(f"/proc/{link.pid}/fdinfo/{link.fd}"))
        except OSError:
            return None
        if mount not in self._waits:
            self._learn(link.pid)
        return self._waits.get(mount)

    def _learn(self, pid: int) -> None:
        """Read the mounts of another namespace, once. Mount ids are the same in all of them."""
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in self._read or len(self._read) >= TABLES_MAX:
                return
            self._read.add(namespace)
            mounted, _ = mounts.read(f"/proc/{pid}/mountinfo")
        except OSError:
            return
        self._waits = {**_waits(mounted), **self._waits}


def _waits(mounted: list[Mount]) -> Mapping[int, bool]:
    waiting = mounts.waiting(mounted)
    return {mount.id: mount.id in waiting for mount in mounted}
