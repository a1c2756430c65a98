"""What /proc says about a server's processes, and where they may run.

A family is a process and all its descendants, each with its start time, so that a number used
again is never mistaken for the process that had it before.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.client import SkippedError

PROC = Path("/proc")
CPUACCT = Path("/sys/fs/cgroup/cpuacct")
UNIFIED = Path("/sys/fs/cgroup")


def _stat(pid: int) -> tuple[int, int] | None:
    """Return the parent and the start time (clock ticks since boot) of a process, if it lives."""
    try:
        fields = (PROC / str(pid) / "stat").read_text("latin-1").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else (int(fields[1]), int(fields[19]))


def family(pid: int) -> dict[int, int]:
    """Return the living processes of a family as pid -> start time."""
    everyone = {
        number: stat
        for number in (int(name) for name in os.listdir(PROC) if name.isdigit())
        if (stat := _stat(number)) is not None
    }
    found = {pid: everyone[pid][1]} if pid in everyone else {}
    grown = True
    while grown:
        young = {n: s for n, (parent, s) in everyone.items() if parent in found and n not in found}
        found |= young
        grown = bool(young)
    return found


def is_alive(pid: int, start: int) -> bool:
    """Say whether this very process still lives."""
    stat = _stat(pid)
    return stat is not None and stat[1] == start


def role(pid: int) -> str:
    """Return the role that a process of the door has in its title, `untitled` without one."""
    try:
        line = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    before, _, after = line.replace(b"\0", b" ").decode("latin-1").strip().partition(": ")
    return after if before == "panicdoor" else "untitled"


def name(pid: int) -> str:
    """Return the kernel's own name of a process, of 15 bytes."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (PROC / str(pid) / "comm").read_text("latin-1").rstrip("\n")
    return "gone"


def count() -> int:
    """Return how many processes there are in all."""
    return sum(name.isdigit() for name in os.listdir(PROC))


def _group(pid: int) -> Path:
    """Return the directory of the control group in which a process's CPU time is counted."""
    for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return CPUACCT / path.lstrip("/")
        if not controllers and not CPUACCT.exists():
            return UNIFIED / path.lstrip("/")
    raise SkippedError("no control group counts CPU time here")


def _cpu_ms(group: Path) -> float:
    v1 = group / "cpuacct.usage"
    if v1.exists():
        return int(v1.read_text()) / 1e6
    usage = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(usage["usage_usec"]) / 1e3


@contextmanager
def metered(pid: int) -> Iterator[Callable[[], float]]:
    """Meanwhile a family has a control group of its own; yields what tells its CPU time, in ms.

    The kernel counts there to the nanosecond (cpuacct.usage of version 1) or microsecond (cpu.stat
    of version 2), whoever was born and has ended meanwhile included.
    """
    home = _group(pid)
    group = home / f"panicdoor-bench-{pid}"
    try:
        group.mkdir()
    except OSError as error:
        raise SkippedError(f"no control group can be made in {home}: {error.strerror}") from error
    try:
        for member in map(str, family(pid)):
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(member)
        yield lambda: _cpu_ms(group)
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (home / "cgroup.procs").write_text(member)
        group.rmdir()


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set size, in bytes: `own` is the part of `pss` that no file backs."""

    pss: int
    own: int


def memory(pid: int) -> dict[int, Memory]:
    """Return what each process of a family holds, pages shared among them counted once.

    PermissionError where a process may not be looked into.
    """
    found = {}
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = (PROC / str(member) / "smaps_rollup").read_text().splitlines()[1:]
            sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines}
            own = sizes["Pss_Anon:"] + sizes["Pss_Shmem:"]
            found[member] = Memory(sizes["Pss:"], own)
    return found


def _pin(pid: int, cpus: set[int]) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(PROC / str(pid) / "task"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), cpus)


@contextmanager
def one_core(pid: int) -> Iterator[None]:
    """Meanwhile a family runs on one core, and this process, with its children, on another."""
    ours = os.sched_getaffinity(0)
    theirs, mine, *_ = sorted(ours)
    try:
        for member in family(pid):
            _pin(member, {theirs})
        os.sched_setaffinity(0, {mine})
        yield
    finally:
        os.sched_setaffinity(0, ours)
        for member in family(pid):
            _pin(member, ours)
