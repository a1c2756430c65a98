"""All processes, from /proc/PID/stat and /proc/PID/status: proc_pid_stat(5), proc_pid_status(5).

What may wait and what may not: stat, statm, status, comm, wchan and oom_score take no lock that a
stuck process can hold. cmdline, environ and maps take the lock of the process's memory (mmap_lock),
which a process that hangs in a page fault, or one of its threads, may hold for ever; io, stack and
syscall take the lock of its credentials. Of those only `command_line` and `program` are here;
whoever calls them says first what for, and expects no answer.

A process that ends while it is read is no error: it is not there.
"""

import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from panicdoor.kernel import reading

PROC: Final = "/proc"
HZ: Final = os.sysconf("SC_CLK_TCK")  # ticks per second of the times in stat
PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # bytes
PIDS_MAX: Final = 50_000  # processes looked at: some 4 s of a processor, 8 MiB of numbers
THREADS_MAX: Final = 500  # threads of one process
COMMAND_MAX: Final = 4096  # bytes of a command line

_STAT_FIELDS: Final = 23  # after the name, up to rss and one more: a cut number is a wrong one
_KIB: Final = 1024
_VALUE_MAX: Final = 40  # characters that are looked at for a number


class Stat(NamedTuple):
    """A line of stat. `ticks` is processor time, `started` when since boot: both in 1/HZ s.

    `state` is one letter: R runs, S sleeps, D waits and cannot be killed, Z is dead and not
    collected, T is stopped, I is an idle kernel thread. `tty` is a device number, 0 for none.
    `kernel` says that it is a thread of the kernel. `rss` is in bytes.
    """

    pid: int
    name: str
    state: str
    parent: int
    tty: int
    kernel: bool
    ticks: int
    threads: int
    started: int
    rss: int


class Status(NamedTuple):
    """What only status says. Bytes; None where there is none: kernel threads have no memory.

    `uid` is the real one. In `name` the kernel writes line feeds and backslashes as escapes.
    """

    name: str
    uid: int
    rss: int | None
    anonymous: int | None
    swapped: int | None
    tracer: int
    voluntary_switches: int
    forced_switches: int


_PTS, _TTY, _SERIAL = range(136, 144), 4, 64  # Documentation/admin-guide/devices.txt
_PF_KTHREAD: Final = 0x00200000  # linux/sched.h


def parse_stat(data: bytes) -> Stat | None:
    """Read a line of stat; None for what is none. The name may hold anything, `) R 1` too."""
    head, _, rest = data.rpartition(b")")
    pid, _, name = head.partition(b" (")
    field = rest.split(None, _STAT_FIELDS)
    if len(field) < _STAT_FIELDS:
        return None
    try:
        return Stat(
            int(pid),
            name.decode("latin-1"),
            field[0][:1].decode("latin-1"),
            int(field[1]),
            int(field[4]),
            bool(int(field[6]) & _PF_KTHREAD),
            int(field[11]) + int(field[12]),
            int(field[17]),
            int(field[19]),
            max(0, int(field[21])) * PAGE,
        )
    except ValueError:
        return None


def parse_status(data: bytes) -> Status | None:
    """Read status's text; None for what is none. Its first line is the name."""
    uid = _value(data, b"\nUid:")
    if uid is None:
        return None
    return Status(
        data[: data.find(b"\n")].removeprefix(b"Name:\t").decode("latin-1"),
        uid,
        _size(data, b"\nVmRSS:"),
        _size(data, b"\nRssAnon:"),
        _size(data, b"\nVmSwap:"),
        _value(data, b"\nTracerPid:") or 0,
        _value(data, b"\nvoluntary_ctxt_switches:") or 0,
        _value(data, b"\nnonvoluntary_ctxt_switches:") or 0,
    )


def _value(data: bytes, title: bytes) -> int | None:
    at = data.find(title)
    if at < 0:
        return None
    # The first number of the line: it is followed by a tab, by " kB" or by the line's end.
    words = data[at + len(title) : at + len(title) + _VALUE_MAX].split(None, 1)
    return reading.number(words[0]) if words else None


def _size(data: bytes, title: bytes) -> int | None:
    kib = _value(data, title)
    return None if kib is None else max(0, kib) * _KIB


def pids(root: str = PROC) -> tuple[list[int], int]:
    """Return the pids, PIDS_MAX at most, and how many more there are. Raises OSError."""
    found: list[int] = []
    more = 0
    with os.scandir(root) as entries:
        for entry in entries:
            if not entry.name.isdecimal() or not entry.name.isascii():
                continue
            if len(found) < PIDS_MAX:
                found.append(int(entry.name))
            else:
                more += 1
    return found, more


def limit(root: str = PROC) -> int:
    """Return how many tasks the host may have, threads counted; 0 where the kernel does not tell.

    kernel.pid_max or kernel.threads-max, whichever is less: proc_sys_kernel(5).
    """
    found = (reading.value(f"{root}/sys/kernel/{name}") for name in ("pid_max", "threads-max"))
    return min(filter(None, map(reading.number, found)), default=0)


def stat(pid: int, root: str = PROC) -> Stat | None:
    """Return a process's stat; None where it is gone, or not to be read."""
    try:
        return parse_stat(reading.glance(f"{root}/{pid}/stat"))
    except OSError:
        return None


def status(pid: int, root: str = PROC) -> Status | None:
    """Return a process's status; None where it is gone, or not to be read."""
    try:
        return parse_status(reading.glance(f"{root}/{pid}/status"))
    except OSError:
        return None


def stats(found: list[int], root: str = PROC) -> Iterator[Stat]:
    """Yield the stat of each process of `found` that is still there."""
    for pid in found:
        read = stat(pid, root)
        if read is not None:
            yield read


def threads(pid: int, root: str = PROC) -> tuple[list[Stat], bool]:
    """Return the stat of a process's threads, THREADS_MAX at most, and whether there are more."""
    try:
        found, more = pids(f"{root}/{pid}/task")
    except OSError:
        return [], False
    read = stats(found[:THREADS_MAX], f"{root}/{pid}/task")
    return list(read), bool(more) or len(found) > THREADS_MAX


def owner(pid: int, root: str = PROC) -> int:
    """Return the uid that a process's files have, -1 where it is gone: cheaper than status.

    It is the effective uid, and 0 for a process that may not be dumped.
    """
    try:
        return os.stat(f"{root}/{pid}").st_uid
    except OSError:
        return -1


def age(started: int) -> float:
    """Return the seconds since `started` (Stat), as the time since boot counts, asleep or not."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / HZ)


def terminal(tty: int) -> str:
    """Return the name of a terminal by its device number (Stat): `pts/3`, `tty1`, "" for none."""
    major, minor = tty >> 8 & 0xFFF, tty & 0xFF | tty >> 12 & 0xFFF00
    if major in _PTS:
        return f"pts/{minor + 256 * (major - _PTS[0])}"
    if major == _TTY:
        return f"tty{minor}" if minor < _SERIAL else f"ttyS{minor - _SERIAL}"
    return f"{major}:{minor}" if tty else ""


def waits_in(pid: int, root: str = PROC) -> str:
    """Return the kernel function that a process waits in; "" where it runs or we may not know."""
    function = reading.value(f"{root}/{pid}/wchan")
    return "" if function == "0" else function


def oom_score(pid: int, root: str = PROC) -> int | None:
    """Return how likely the kernel kills the process when memory is out: 0 never, 1000 and more."""
    return reading.number(reading.value(f"{root}/{pid}/oom_score"))


def group(pid: int, root: str = PROC) -> str:
    """Return the process's control group: of version 2, or systemd's, or the longest."""
    try:
        return parse_group(reading.glance(f"{root}/{pid}/cgroup"))
    except OSError:
        return ""


def parse_group(data: bytes) -> str:
    """Read the text of /proc/PID/cgroup, cgroups(7)."""
    paths = [line.split(b":", 2) for line in data.split(b"\n") if line.count(b":") > 1]
    found = {path[1]: path[2].decode("latin-1") for path in paths}
    best = [found.get(b"", ""), found.get(b"name=systemd", ""), *found.values()]
    return next((path for path in best[:2] if len(path) > 1), max(best, key=len))


def command_line(pid: int, root: str = PROC) -> str | None:
    """Return a process's command line, COMMAND_MAX bytes at most; None where it may not be read.

    MAY NOT RETURN: see above. The process itself may have written anything there.
    """
    try:
        data = reading.glance(f"{root}/{pid}/cmdline", COMMAND_MAX)
    except OSError:
        return None
    return data.rstrip(b"\0").replace(b"\0", b" ").decode("latin-1")


def program(pid: int, root: str = PROC) -> str | None:
    """Return the path of the program that a process runs; None where there is none to be read.

    MAY NOT RETURN on kernels that take the lock of its memory for this (before Linux 4.1).
    """
    try:
        return reading.bytewise(os.readlink(f"{root}/{pid}/exe"))
    except OSError:
        return None
