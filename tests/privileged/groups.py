"""Control groups for tests: made at the top of a hierarchy, of whichever version it is."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from panicdoor.kernel import cgroups

LIMITS = {
    ("memory", 1): ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    ("memory", 2): ("memory.max", "memory.swap.max"),
    ("pids", 1): ("pids.max", ""),
    ("pids", 2): ("pids.max", ""),
}


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its name, its directory, and the version of its hierarchy."""

    name: str
    path: Path
    version: int

    @property
    def procs(self) -> str:
        """The file that takes a process in: 0 means whoever writes."""
        return str(self.path / "cgroup.procs")

    def limit(self, controller: str, most: int) -> None:
        """Set a limit; swap is no way around it."""
        file, swap = LIMITS[controller, self.version]
        (self.path / file).write_text(str(most))
        if swap:
            with suppress(OSError):
                (self.path / swap).write_text("0" if self.version == 2 else str(most))

    def kill(self) -> None:
        """End every process in it."""
        for _ in range(100):
            pids = (self.path / "cgroup.procs").read_text().split()
            if not pids:
                return
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.02)


@contextmanager
def group(controller: cgroups.Controller) -> Iterator[Group]:
    """Make a group that has this controller; skips where this machine cannot."""
    found = cgroups.hierarchy(controller)
    if found is None:
        pytest.skip("there are no control groups")
    made = Group(f"panicdoor-test-{os.getpid()}", Path(), found.version)
    made = Group(made.name, Path(found.root) / made.name, found.version)
    try:
        made.path.mkdir()
        if not (made.path / LIMITS[controller, found.version][0]).exists():
            made.path.rmdir()
            pytest.skip(f"the controller {controller} is not there for new groups")
    except OSError as error:
        pytest.skip(f"no control group can be made: {error.strerror}")
    try:
        yield made
    finally:
        made.kill()
        for _ in range(100):
            try:
                made.path.rmdir()
            except OSError:
                time.sleep(0.02)
            else:
                break
