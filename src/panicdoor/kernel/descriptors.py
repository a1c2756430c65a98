"""What processes have open: the links of /proc/PID/fd, read but never followed.

Reading a link asks only the kernel's own memory, so this waits for no disk and no server. A host
may have millions of descriptors: a scan ends at a number and at a time, and says so.
"""

import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

PROC: Final = "/proc"
LINKS_MAX: Final = 300_000  # links of one scan: about a second
SCAN_S: Final = 2.0  # seconds of one scan, on a host that is slow to answer


class Link(NamedTuple):
    """What one descriptor of one process is: `socket:[35]`, `/tmp/x (deleted)`."""

    pid: int
    fd: int
    target: str


class Scan:
    """One walk over all descriptors of all processes, ended early where there are too many.

    What was left out is known when the walk has ended: `unseen` are processes that are not ours
    to look into, `cut` says that the rest was not looked at.
    """

    def __init__(self, links_max: int = LINKS_MAX, seconds: float = SCAN_S) -> None:
        self.links = self.processes = self.unseen = 0
        self.cut = False
        self._links_max = links_max
        self._until = time.monotonic() + seconds

    def __iter__(self) -> Iterator[Link]:
        """Walk, in the order of pids. Raises OSError where there is no /proc at all."""
        for pid in sorted(int(entry) for entry in os.listdir(PROC) if entry.isdecimal()):
            if self.links >= self._links_max or time.monotonic() > self._until:
                self.cut = True
                return
            self.processes += 1
            yield from self._process(pid)

    def _process(self, pid: int) -> Iterator[Link]:
        folder = f"{PROC}/{pid}/fd"
        try:
            entries = os.listdir(folder)
        except PermissionError:
            self.unseen += 1
            return
        except OSError:
            return  # it has ended
        for entry in entries:
            if self.links >= self._links_max:
                self.cut = True
                return
            self.links += 1
            try:
                target = os.readlink(f"{folder}/{entry}")
            except OSError:
                continue
            yield Link(pid, int(entry), target)
