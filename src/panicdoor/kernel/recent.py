"""Files that changed lately: a walk with an end, over one file system, that follows no link.

What counts is when the file itself, its name, mode or owner changed last (st_ctime): packages and
archives bring their own time of modification with them, and nobody can set this one.
"""

import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from panicdoor.kernel import reading

ENTRIES_MAX: Final = 50_000  # names that are looked at
WALK_S: Final = 3.0  # seconds of one walk
DEPTH_MAX: Final = 12
FILES_MAX: Final = 2000  # files that are kept, the newest


class File(NamedTuple):
    """A file, and when it changed, in seconds since 1970."""

    path: str
    at: float


class Walk:
    """One walk. `seen` and `cut` are known when it has ended: how many names, and if not all."""

    def __init__(self, entries_max: int = ENTRIES_MAX, seconds: float = WALK_S) -> None:
        self.seen = 0
        self.cut = False
        self._entries_max = entries_max
        self._until = time.monotonic() + seconds

    def newer(self, folder: str, since: float) -> list[File]:
        """Return the files below `folder` that changed since a moment, the newest first."""
        try:
            device = os.lstat(folder).st_dev
        except OSError:
            return []
        found = sorted(self._walk(folder, since, device, DEPTH_MAX), key=lambda file: -file.at)
        self.cut = self.cut or len(found) > FILES_MAX
        return found[:FILES_MAX]

    def _walk(self, folder: str, since: float, device: int, depth: int) -> Iterator[File]:
        folders = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self.seen >= self._entries_max or time.monotonic() > self._until:
                        self.cut = True
                        return
                    self.seen += 1
                    told = entry.stat(follow_symlinks=False)
                    if told.st_dev != device:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif told.st_ctime >= since:
                        yield File(reading.bytewise(entry.path), told.st_ctime)
        except OSError:
            return
        for path in folders:
            if depth:
                yield from self._walk(path, since, device, depth - 1)
            else:
                self.cut = True
