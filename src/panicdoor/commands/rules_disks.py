"""Rules about disks, file systems and descriptors: see commands.findings."""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from panicdoor.commands.disk_tables import AWAIT_MS, DELETED_BYTES, milliseconds
from panicdoor.commands.findings import Finding, Severity, rule
from panicdoor.commands.memory import DIRTY_HIGH
from panicdoor.commands.memory import Report as Memory
from panicdoor.commands.mounts import Report as Mounts
from panicdoor.commands.pressure import NORMAL
from panicdoor.commands.pressure import Report as Pressure
from panicdoor.commands.sections import Held, Room
from panicdoor.commands.sockets import LIMIT_HIGH
from panicdoor.commands.sockets import Report as Sockets
from panicdoor.commands.table import percent, size
from panicdoor.kernel.diskstats import Activity
from panicdoor.kernel.filesystems import FULL_PERCENT
from panicdoor.kernel.tasks import stat

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN

IO_BROKEN: Final = 50.0  # percent of 10 s in which nothing was done for a disk
LIMIT_CRITICAL: Final = 95.0  # percent of the descriptors there are
FULL_BROKEN: Final = 99.9  # percent of a file system: writing fails
LEFT_BROKEN: Final = 1 << 20  # bytes
DELETED_SHARE: Final = 5.0  # percent of a full file system
NO_ROOM: Final = "no room"  # the key of a file system to which nothing can be written
BUSY: Final = 50.0  # percent of the time that a slow disk is at work, or it only slept
NAMED_MAX: Final = 5  # findings of one rule


@rule("DISK", normal="requests end", source="Documentation/admin-guide/iostats.rst")
def disk_stuck(disks: Sequence[Activity]) -> Iterator[Finding]:
    """A disk has requests, and ends none."""
    for disk in [disk for disk in disks if disk.stuck][:NAMED_MAX]:
        yield Finding(
            BROKEN,
            f"{disk.name} does not answer: {disk.in_flight} requests wait, none has ended",
            ("disks", "kernel"),
            ("kernel disk error",),
        )


@rule("DISK", normal="never", source="ext4(5): errors=remount-ro")
def read_only(mounts: Mounts) -> Iterator[Finding]:
    """A file system was made read-only by the kernel."""
    broken = [seen for seen in mounts.mounts if seen.state == "broken"]
    for seen in broken[:NAMED_MAX]:
        yield Finding(
            BROKEN,
            f"{seen.point} ({seen.mount.kind}) was made read-only, as after an error of its disk",
            ("kernel", "mounts"),
            ("kernel filesystem error", "kernel disk error", "kernel read-only"),
        )


@rule(
    "DISK",
    normal=f"all tasks wait less than {NORMAL['io', 'full']:.0f} % of 10 s",
    source="Documentation/accounting/psi.rst",
)
def io_waits(pressure: Pressure) -> Iterator[Finding]:
    """All tasks wait for a disk."""
    found = pressure.resources["io"]
    share = found.full.last_10 if found and found.full else 0.0
    if share > NORMAL["io", "full"]:
        yield Finding(
            BROKEN if share >= IO_BROKEN else WARN,
            f"all tasks waited for a disk {percent(share)} of the last 10 s (normal below "
            f"{NORMAL['io', 'full']:.0f} %)",
            ("pressure", "disks"),
            ("disk_stuck", "memory_low", "swapping", "disk_slow"),
        )


@rule("DISK", normal=f"below {AWAIT_MS} ms", source="Gregg, 60 seconds: iostat")
def disk_slow(disks: Sequence[Activity]) -> Iterator[Finding]:
    """A disk that is at work takes long for each request."""
    for disk in disks[:NAMED_MAX]:
        time = disk.await_ms
        if time is not None and time > AWAIT_MS and disk.busy_percent > BUSY:
            yield Finding(
                WARN,
                f"{disk.name} takes {milliseconds(time)} for a request (normal below {AWAIT_MS} "
                f"ms); {size(disk.written_bytes_s)}/s written, {size(disk.read_bytes_s)}/s read",
                ("disks",),
                ("swapping",),
            )


@rule(
    "DISK",
    normal=f"below {DIRTY_HIGH:.0f} % of memory",
    source="Documentation/admin-guide/sysctl/vm.rst: dirty_ratio",
)
def written_late(memory: Memory) -> Iterator[Finding]:
    """More is written than disks can take: whoever writes is made to wait."""
    waiting = memory.memory.dirty + memory.memory.writeback
    share = 100 * waiting / memory.memory.total if memory.memory.total else 0.0
    if share > DIRTY_HIGH:
        yield Finding(
            WARN,
            f"{size(waiting)} ({percent(share)} of memory) wait to be written to a disk",
            ("disks", "memory"),
            ("disk_stuck", "disk_slow"),
        )


@rule("DISK", normal=f"below {FULL_PERCENT:.0f} %", source="statvfs(3)")
def file_system_full(room: Room) -> Iterator[Finding]:
    """A file system has no room left, or gives an error."""
    for answer in room.asked:
        point = answer.mount.point.decode("latin-1")
        if answer.error:
            yield Finding(BROKEN, f"{point} gives an error: {answer.error}", ("disks", "kernel"))
            continue
        used = answer.usage
        if used is None or not used.size or used.percent < FULL_PERCENT:
            continue
        full = used.percent >= FULL_BROKEN or used.left < LEFT_BROKEN
        yield Finding(
            BROKEN if full else WARN,
            f"{point} is {percent(used.percent)} full, {size(used.left)} left",
            ("disks",),
            (f"deleted {answer.mount.device}",),
            key=NO_ROOM if full else "",
        )


@rule("DISK", normal=f"below {FULL_PERCENT:.0f} %", source="statvfs(3): f_files")
def inodes_gone(room: Room) -> Iterator[Finding]:
    """A file system can hold no more files, whatever their size."""
    for answer in room.asked:
        used = answer.usage
        if used is None or used.inodes_percent < FULL_PERCENT:
            continue
        gone = used.inodes_used >= used.inodes
        yield Finding(
            BROKEN if gone else WARN,
            f"{answer.mount.point.decode('latin-1')} has {used.inodes - used.inodes_used} of "
            f"{used.inodes} inodes left: "
            f"{'no' if gone else 'soon no'} new files, whatever room there is",
            ("disks",),
            key=NO_ROOM if gone else "",
        )


@rule(
    "DISK",
    normal=f"below {DELETED_SHARE:.0f} % of a full file system, and 1 GiB in all",
    source="unlink(2): the room comes back with the last descriptor",
)
def deleted_open(held: Held, room: Room) -> Iterator[Finding]:
    """Deleted files take room that a full file system needs."""
    told = 0
    for answer in room.asked:
        device, used = _device(answer.mount.device), answer.usage
        if used is None or device not in held.devices or used.percent < FULL_PERCENT:
            continue
        taken, largest = held.devices[device]
        if used.size and 100 * taken / used.size >= DELETED_SHARE:
            told += taken
            point = answer.mount.point.decode("latin-1")
            yield _deleted(taken, f" of {point}", largest.link.pid, answer.mount.device)
    if held.size - told >= DELETED_BYTES and held.devices:
        _, largest = max(held.devices.values(), key=lambda one: one[0])
        yield _deleted(held.size - told, "", largest.link.pid, "")


def _deleted(taken: int, where: str, pid: int, device: str) -> Finding:
    holder = stat(pid)
    return Finding(
        WARN,
        f"{size(taken)}{where} are of deleted files that {holder.name if holder else '?'} (pid "
        f"{pid}) has open: the room comes back when it closes them, or ends",
        (f"processes {pid}", "disks"),
        key=f"deleted {device}",
    )


def _device(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else -1


@rule(
    "FILES",
    normal=f"below {LIMIT_HIGH:.0f} %",
    source="Documentation/admin-guide/sysctl/fs.rst: file-nr",
)
def descriptors_full(sockets: Sockets) -> Iterator[Finding]:
    """The host has nearly as many files open as it may have."""
    for limit in sockets.limits:
        if limit.name == "descriptors" and limit.percent >= LIMIT_HIGH:
            yield Finding(
                CRITICAL if limit.percent >= LIMIT_CRITICAL else WARN,
                f"{limit.used} descriptors of {limit.most} are open ({percent(limit.percent)})",
                ("sockets", "processes"),
                ("process_descriptors",),
            )


@rule("FILES", normal=f"below {LIMIT_HIGH:.0f} % of its limit", source="getrlimit(2)")
def process_descriptors(held: Held) -> Iterator[Finding]:
    """A process has nearly as many files open as it may have: then it accepts nobody."""
    for holder in held.holders[:NAMED_MAX]:
        share = 100 * holder.open / holder.most
        if share >= LIMIT_HIGH:
            yield Finding(
                BROKEN if share >= LIMIT_CRITICAL else WARN,
                f"{holder.name} (pid {holder.pid}) has {holder.open} of its {holder.most} "
                "descriptors: then it can accept and open nothing",
                (f"processes {holder.pid}",),
            )
