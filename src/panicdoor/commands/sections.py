"""What `triage` looks at, section by section: see commands.snapshot.

The order matters: what costs little comes first, so that ten thousand processes on a host that
hardly moves leave nothing else unknown; then what grows with them; and what asks a file system
comes last, and only where no disk looks as if it might hang. What is only on a disk (certificates)
is read only then too.
"""

import heapq
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from panicdoor.commands import (
    certificates,
    clock,
    disk_tables,
    disks,
    kernel,
    listeners,
    login,
    memory,
    mounts,
    network,
    pressure,
    processes,
    services,
    sockets,
)
from panicdoor.commands.snapshot import WAIT_S, Report, Snapshot, section
from panicdoor.errors import CommandError
from panicdoor.kernel import (
    cgroups,
    counters,
    deleted,
    diskstats,
    inet,
    meminfo,
    reading,
    rtnetlink,
    socket_table,
    tasks,
)
from panicdoor.kernel import mounts as mount_table
from panicdoor.kernel import pressure as kernel_pressure
from panicdoor.kernel.descriptors import Link, Scan

PROCESSES_MAX: Final = 20_000  # processes that are kept: some 8 MiB
SCAN_S: Final = 0.3  # seconds of looking at descriptors
LINKS_MAX: Final = 100_000  # descriptors looked at
LISTENERS_MAX: Final = 2000
GROUPS_MAX: Final = 5  # groups near their limit
FILE_SYSTEMS_MAX: Final = 200  # file systems that are asked
HOLDERS_MIN: Final = 200  # descriptors below which no process is asked for its limit
HOLDERS_MAX: Final = 20  # processes that are
SYSTEMD_S: Final = 0.4  # seconds that systemd may take

# Whose statvfs(2) is answered from memory, without a disk: the counters of a mounted file system.
COUNTED: Final = frozenset(
    {"bcachefs", "btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs",
     "reiserfs", "tmpfs", "xfs"}
)  # fmt: skip
# What of the kernel's complaints says that a disk may hang.
DISK_TROUBLE: Final = ("disk error", "filesystem error", "hung task", "read-only")
IO_HIGH: Final = 20.0  # percent of 10 s in which nothing was done for a disk


class Group(NamedTuple):
    """A group near its limit of memory, and what of it cannot simply be dropped (no file cache)."""

    limit: cgroups.Limit
    needed: int

    @property
    def share(self) -> float:
        """Percent of the limit that is needed."""
        return 100 * self.needed / self.limit.limit if self.limit.limit else 100.0


class Tasks(NamedTuple):
    """All tasks of the host (processes and their threads), how many there may be, and how many
    are made in a second."""

    used: int
    most: int
    forks: float


class Holder(NamedTuple):
    """A process with many descriptors, and how many it may have."""

    pid: int
    name: str
    open: int
    most: int


class Room(NamedTuple):
    """File systems that answered, worst first, and those that were not asked."""

    asked: tuple[disk_tables.Asked, ...]
    not_asked: tuple[mount_table.Mount, ...]


class Held(NamedTuple):
    """What processes have open: `devices` has of each device the bytes of files that are deleted,
    and the largest of them; `holders` have the most descriptors. `cut`: not all were looked at."""

    size: int
    devices: Mapping[int, tuple[int, deleted.Deleted]]
    holders: tuple[Holder, ...]
    cut: bool


# The sections, in the order in which they are run


@section(0.5)
def _pressure(seen: Snapshot) -> Report:
    yield 0
    work = kernel_pressure.parse_work(seen.then(kernel_pressure.STAT))
    return pressure.look(pressure.Before(work, seen.before.at))


@section(0.4)
def _memory(seen: Snapshot) -> Report:
    """Everything but the processes."""
    yield 0
    before, after = meminfo.parse_vmstat(seen.then(meminfo.VMSTAT)), meminfo.activity()
    seconds = seen.since
    return memory.Report(
        meminfo.memory(),
        meminfo.swaps(),
        after,
        (after.swapped_in - before.swapped_in) * tasks.PAGE / seconds,
        (after.swapped_out - before.swapped_out) * tasks.PAGE / seconds,
        (after.major_faults - before.major_faults) / seconds,
        (), 0, (), (), False,
    )  # fmt: skip


@section(0.4)
def _groups(seen: Snapshot) -> Report:
    """The groups that are near their limit of memory."""
    hierarchy = cgroups.hierarchy("memory")
    found = []
    if hierarchy is not None:
        survey = cgroups.Survey(hierarchy)
        for limit in cgroups.limits("memory", survey, hierarchy.version):
            if limit.share >= memory.GROUP_HIGH:
                found.append(Group(limit, limit.used - _cache(hierarchy.root + limit.group)))
        seen.cut("groups", survey.left_out, "too many groups: not all were looked at")
    yield 0
    return tuple(heapq.nlargest(GROUPS_MAX, found, key=lambda group: group.share))


def _cache(path: str) -> int:
    """Return the bytes of files that the group has in memory, and that can be read again."""
    try:
        told = cgroups.parse_events(reading.read(f"{path}/memory.stat"))
    except OSError:
        return 0
    prefix = "total_" if "total_active_file" in told else ""  # version 1 has both, and means it
    return told.get(f"{prefix}active_file", 0) + told.get(f"{prefix}inactive_file", 0)


@section(0.1)
def _tasks(seen: Snapshot) -> Report:
    """Known even where there are too many processes to look at each."""
    yield 0
    load = kernel_pressure.load()
    most = tasks.limit()
    if load is None or not most:
        raise CommandError("the kernel does not tell")
    before = kernel_pressure.parse_work(seen.then(kernel_pressure.STAT))
    return Tasks(load.tasks, most, (kernel_pressure.work().forks - before.forks) / seen.since)


@section(0.3)
def _kernel(seen: Snapshot) -> Report:
    report = kernel.look()
    seen.cut("kernel", not report.whole, "too many messages: the newest were not read")
    yield 0
    return report


@section(0.2)
def _clock(_: Snapshot) -> Report:
    report = clock.look()
    yield 0
    return report


@section(0.3)
def _mounts(seen: Snapshot) -> Report:
    report = mounts.look()
    seen.cut("mounts", report.cut, "too many mounts: not all were looked at")
    yield 0
    return report


@section(0.2)
def _disks(seen: Snapshot) -> Report:
    yield 0
    before = diskstats.parse(seen.then(diskstats.DISKSTATS))
    return tuple(diskstats.activity(before, diskstats.read(), seen.since))


@section(0.2)
def _sockets(seen: Snapshot) -> Report:
    """The counters and limits; the sockets themselves are not counted."""
    yield 0
    limits = [counters.descriptors(), counters.conntrack(), *counters.tcp()]
    return sockets.Report(
        limits=sorted((one for one in limits if one), key=lambda one: -one.percent),
        before=counters.network(map(seen.then, counters.NETSTAT)),
        after=counters.network(),
        seconds=seen.since,
    )


@section(0.3)
def _network(seen: Snapshot) -> Report:
    """Only errors are compared: what they were before, a file tells, and no driver is asked."""
    yield 0
    errors = counters.parse_interfaces(seen.then(counters.INTERFACES))
    links, seconds = rtnetlink.links(), seen.since
    before = {one.device: one._replace(errors=errors.get(one.name, one.errors)) for one in links}
    return network.Report(links, before, rtnetlink.addresses(), rtnetlink.default_routes(), seconds)


@section(0.3)
def _listeners(seen: Snapshot) -> Report:
    """Those whose queue is full; who holds them is asked only then."""
    told = socket_table.read(inet.TCP, (inet.LISTEN,))
    found = [listeners.Listener(one, ()) for one in islice(told.sockets, LISTENERS_MAX)]
    many = len(found) == LISTENERS_MAX
    seen.cut("listeners", many, f"only the first {LISTENERS_MAX} listeners were looked at")
    yield 0
    if any(one.full for one in found):
        return listeners.look()
    return listeners.Report([], told.source, 0, False, False)


@section(0.7)
def _processes(seen: Snapshot) -> Report:
    """Looked at twice where one look does not tell: who is stuck, dead for good, or busy."""
    report, before = processes.once(PROCESSES_MAX)
    waits = kernel_pressure.system("cpu")
    busy = (
        waits is None or waits.some is None or waits.some.last_10 > pressure.NORMAL["cpu", "some"]
    )
    if busy or report.states["D"] or report.states["Z"] >= processes.DEAD_HIGH:
        yield WAIT_S
        report = processes.look(before, PROCESSES_MAX)
    else:
        yield 0
    seen.cut("processes", report.more > 0, f"{report.more} processes were left out")
    return report


@section(SYSTEMD_S + 0.1)
def _services(_: Snapshot) -> Report:
    report = services.look(SYSTEMD_S)
    if report.absent:
        raise CommandError(report.absent)
    yield 0
    return report


@section(login.BANNER_S + 0.2)
def _login(seen: Snapshot) -> Report:
    before = login.begin()
    yield 0
    running = seen.reports.get("processes")
    if not isinstance(running, processes.Report):
        raise CommandError("processes could not be looked at")
    mounted, _ = mount_table.read()
    return login.look(before, [process.stat for process in running.shown], mounted)


class _Counted(Scan):
    """A walk over descriptors that also counts them by process."""

    def __init__(self) -> None:
        super().__init__(LINKS_MAX, SCAN_S)
        self.by_pid: Counter[int] = Counter()

    def __iter__(self) -> Iterator[Link]:
        for link in super().__iter__():
            self.by_pid[link.pid] += 1
            yield link


@section(SCAN_S + 0.2)
def _held(seen: Snapshot) -> Report:
    """What processes have open: one walk for deleted files and for descriptors."""
    scan = _Counted()
    found = deleted.find(scan)
    devices: dict[int, tuple[int, deleted.Deleted]] = {}
    for file in found.files:
        try:
            device = os.stat(f"/proc/{file.link.pid}/fd/{file.link.fd}").st_dev
        except OSError:
            continue
        size, largest = devices.get(device, (0, file))
        devices[device] = size + file.size, largest
    seen.cut("held", found.cut, "too many descriptors: not all were looked at")
    yield 0
    return Held(found.size, devices, tuple(_holders(scan.by_pid)), found.cut)


def _holders(by_pid: Counter[int]) -> Iterator[Holder]:
    for pid, count in by_pid.most_common(HOLDERS_MAX):
        if count < HOLDERS_MIN:
            return
        stat = tasks.stat(pid)
        most = soft_limit(reading.value(f"/proc/{pid}/limits"))
        if stat is not None and most:
            yield Holder(pid, stat.name, count, most)


def soft_limit(text: str) -> int:
    """Return how many files a process may open, from /proc/PID/limits; 0 where it does not say."""
    for line in text.split("\n"):
        if line.startswith("Max open files"):
            return next(filter(None, map(reading.number, line.split()[3:4])), 0)
    return 0


@section(0.3)
def _room(seen: Snapshot) -> Report:
    """How full file systems are: those first, and mostly only those, that need no disk to say."""
    yield 0
    mounted, _ = mount_table.read()
    waits = mount_table.waiting(mounted)
    safe = disks_answer(seen.reports) == ""
    asked: list[disk_tables.Asked] = []
    left: list[mount_table.Mount] = []
    for mount in mount_table.file_systems(mounted):
        if (
            mount.read_only
            or mount.kind in mount_table.NEVER_WRITTEN
            or (mount.kind == "overlay" and mount.point != b"/")
        ):
            continue
        may_ask = mount.id not in waits and (mount.kind in COUNTED or safe)
        if may_ask and len(asked) < FILE_SYSTEMS_MAX:
            asked.append(disks.ask(mount))
        else:
            left.append(mount)
    return Room(tuple(sorted(asked, key=lambda one: one.rank)), tuple(left))


@section(0.5)
def _certificates(seen: Snapshot) -> Report:
    """Certificates under /etc, which is on a disk: only where all disks answer."""
    yield 0
    why = disks_answer(seen.reports)
    if why:
        raise CommandError(f"not read, as {why}")
    for step in certificates.look():
        if isinstance(step, certificates.Report):
            seen.cut("certificates", step.cut, "too many certificates: not all were read")
            return step
    return None


def disks_answer(reports: Mapping[str, object]) -> str:
    """Return "" where nothing speaks against asking a disk, or what does, as a sentence's end."""
    running, waits = reports.get("processes"), reports.get("pressure")
    said, busy = reports.get("kernel"), reports.get("disks")
    if not isinstance(running, processes.Report) or running.stuck_count:
        return "a process hangs" if running else "nobody knows whether a process hangs"
    if isinstance(waits, pressure.Report):
        full = waits.resources["io"].full if waits.resources["io"] else None
        if full is not None and full.last_10 > IO_HIGH:
            return "all wait for a disk"
    if isinstance(said, kernel.Report) and any(
        found.recent and found.complaint.name in DISK_TROUBLE for found in said.classes
    ):
        return "the kernel complains of a disk"
    if isinstance(busy, tuple) and any(disk.stuck for disk in busy):
        return "a disk does not answer"
    return ""
