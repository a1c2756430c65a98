"""How full a file system is: statvfs(3). Asking one whose server is away may never end.

So this is for processes that can be spared, and never for mounts that nobody named before.
"""

import os
from typing import Final, NamedTuple

FULL_PERCENT: Final = 90.0  # what is above is worth a look: the usual alarm of monitoring systems


class Usage(NamedTuple):
    """Bytes and inodes of one file system.

    `left` is what a user without privilege may still have; `inodes` is 0 where the file system
    makes them as it needs them, so that they cannot run out.
    """

    size: int
    used: int
    left: int
    inodes: int
    inodes_used: int

    @property
    def percent(self) -> float:
        """How much of what users may have is used, as df(1) counts it."""
        return _percent(self.used, self.used + self.left)

    @property
    def inodes_percent(self) -> float:
        """How many of the inodes are used."""
        return _percent(self.inodes_used, self.inodes)

    @property
    def worst(self) -> float:
        """The larger of the two."""
        return max(self.percent, self.inodes_percent)

    @property
    def full(self) -> bool:
        """Whether it is beyond what is normal."""
        return self.worst >= FULL_PERCENT


def usage(point: bytes) -> Usage:
    """Ask the file system mounted on `point`. Raises OSError. May block for ever."""
    told = os.statvfs(point)
    return measure(
        told.f_frsize, told.f_blocks, told.f_bfree, told.f_bavail, told.f_files, told.f_ffree
    )


def measure(
    unit: int, blocks: int, free: int, available: int, files: int, files_free: int
) -> Usage:
    """Return the usage from the kernel's numbers; whatever they are, none of ours is negative."""
    return Usage(
        max(0, blocks * unit),
        max(0, (blocks - free) * unit),
        max(0, available * unit),
        max(0, files),
        max(0, files - files_free),
    )


def _percent(part: int, whole: int) -> float:
    return min(100.0, 100.0 * part / whole) if whole > 0 else 0.0
