"""What processes of a door cost, as the kernel counts it."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.running import Door

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Faults:
    """Pages that a process has faulted in: without, and with the help of a disk."""

    minor: int
    major: int

    def since(self, before: "Faults") -> "Faults":
        """Return how many came after `before`."""
        return Faults(self.minor - before.minor, self.major - before.major)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def faults(pid: int) -> Faults:
    """Return a process's page faults so far."""
    fields = _stat(pid)
    return Faults(int(fields[7]), int(fields[9]))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def everybody(door: Door) -> dict[str, int]:
    """Return all processes of a door, the supervisor too, by place."""
    return {"supervisor": door.pid, **door.places()}


def resident(pids: list[int]) -> int:
    """Return the KiB that all those processes together keep in memory, each page counted once.

    That is their PSS on a machine where nobody else maps the same files: an editor that happens to
    run on the same Python would otherwise make a door look smaller.
    """
    anonymous = 0
    files: Counter[tuple[str, str, str]] = Counter()
    for pid in pids:
        where, size = ("", "", ""), 0
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            key, *values = line.split()
            if not key.endswith(":"):
                where = key, values[1], values[3]
            elif key == "Rss:":
                size = int(values[0])
            elif key == "Anonymous:" and where[2] != "0":
                # A fork maps the same pages at the same place.
                files[where] = max(files[where], size - int(values[0]))
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        anonymous += sum(
            int(line.split()[1])
            for line in rollup.splitlines()
            if line.startswith(("Pss_Anon:", "Pss_Shmem:"))
        )
    return anonymous + sum(files.values())
