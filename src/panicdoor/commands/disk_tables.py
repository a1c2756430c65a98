"""How `disks` says what it found: tables for people, values for JSON."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from panicdoor.commands.table import (
    Column,
    Json,
    cut,
    duration,
    findings,
    left_out,
    percent,
    size,
    table,
)
from panicdoor.kernel import process
from panicdoor.kernel.deleted import Found
from panicdoor.kernel.diskstats import Activity
from panicdoor.kernel.filesystems import FULL_PERCENT, Usage
from panicdoor.kernel.mounts import NEVER_WRITTEN, Mount
from panicdoor.printable import escape_bytes

DELETED_MAX: Final = 10  # deleted files that are shown, largest first
NAMED_MAX: Final = 10  # findings of a kind that have a sentence of their own
NOT_ASKED_MAX: Final = 3  # names of mounts that are said; `mounts` says all
NAME_WIDTH: Final = 16  # columns of such a name
DELETED_BYTES: Final = 1 << 30  # what log files that were rotated take for an hour is no trouble
BUSY_PERCENT: Final = 90  # a disk that is busier has no room left: iostat's %util
AWAIT_MS: Final = 20  # what a request may take: a turning disk needs some 10 ms

_SECOND: Final = 1000  # milliseconds
_TENTHS_BELOW: Final = 10


class Asked(NamedTuple):
    """A file system and its answer: how full it is, or why it does not say."""

    mount: Mount
    usage: Usage | None
    error: str = ""

    @property
    def full(self) -> bool:
        """Whether there is a reason to worry: an image without room for more is none."""
        return self.usage is not None and self.usage.full and self.mount.kind not in NEVER_WRITTEN

    @property
    def rank(self) -> tuple[bool, bool, float, bytes]:
        """What to sort by, so that the worst comes first."""
        worst = self.usage.worst if self.usage else 0.0
        return not self.error, not self.full, -worst, self.mount.point


def wrong_file_systems(answers: Sequence[Asked]) -> Iterator[str]:
    """Yield what is not normal about file systems, worst first."""
    for answer in answers[:NAMED_MAX]:
        name = answer.mount.point.decode("latin-1")
        if answer.error:
            yield f"{name} gives an error: {answer.error}"
        elif answer.full:
            yield f"{name} is nearly full: {sentence(answer)} (normal below {FULL_PERCENT:.0f} %)"


def wrong_activity(disks: Sequence[Activity]) -> Iterator[str]:
    """Yield what is not normal about disks."""
    for disk in disks[:NAMED_MAX]:
        if disk.stuck:
            yield f"{disk.name} does not answer: {disk.in_flight} requests wait, not one has ended"
        elif disk.await_ms is not None and disk.await_ms > AWAIT_MS:
            yield f"{disk.name} is slow: {milliseconds(disk.await_ms)} a request"
        elif disk.busy_percent > BUSY_PERCENT:
            yield f"{disk.name} was busy for {percent(disk.busy_percent)} of the time"


def wrong_deleted(found: Found) -> Iterator[str]:
    """Yield what is not normal about deleted files."""
    if found.size >= DELETED_BYTES:
        yield (
            f"{size(found.size)} are taken by deleted files that processes still have open; the "
            "room comes back when they close them, or end"
        )


def file_systems(answers: Sequence[Asked]) -> Iterator[str]:
    """Yield what is wrong, then a line for each file system that answered and has a size."""
    yield from findings(wrong_file_systems(answers), "No file system is nearly full.")
    yield from table(
        [
            Column("MOUNT", least=20),
            Column("TYPE", least=5),
            Column("SIZE", right=True),
            Column("LEFT", right=True),
            Column("USED", right=True),
            Column("INODES", right=True),
        ],
        (
            (
                answer.mount.point.decode("latin-1"),
                answer.mount.kind,
                size(used.size),
                size(used.left),
                percent(used.percent),
                percent(used.inodes_percent) if used.inodes else "-",
            )
            for answer in answers
            if (used := answer.usage) and used.size
        ),
    )


def sentence(answer: Asked) -> str:
    """Return the answer of one file system in words."""
    used = answer.usage
    if used is None:
        return f"it does not say: {answer.error}"
    inodes = f", {percent(used.inodes_percent)} of inodes" if used.inodes else ""
    return f"{percent(used.percent)} used, {size(used.left)} left{inodes}"


def not_asked(mounts: Sequence[Mount]) -> Iterator[str]:
    """Yield the line that says which file systems were left alone."""
    if mounts:
        names = [cut(escape_bytes(mount.point), NAME_WIDTH) for mount in mounts[:NOT_ASKED_MAX]]
        more = len(mounts) - len(names)
        yield f"(not asked: {', '.join(names)}{f' and {more} more' * (more > 0)})\n"
        yield "(they may never answer; to ask them all the same: disks --all)\n"


def activity(disks: Sequence[Activity]) -> Iterator[str]:
    """Yield what the disks did, the busiest first; those that did nothing are counted."""
    yield from findings(wrong_activity(disks), "No disk is overloaded.")
    at_work = [disk for disk in disks if disk.busy_percent or disk.in_flight]
    yield from table(
        [
            Column("DISK", least=12),
            Column("BUSY", right=True),
            Column("IN FLIGHT", right=True),
            Column("WAIT", right=True),
            Column("READ/S", right=True),
            Column("WRITTEN/S", right=True),
        ],
        (
            (
                disk.name,
                percent(disk.busy_percent),
                str(disk.in_flight),
                "-" if disk.await_ms is None else milliseconds(disk.await_ms),
                size(disk.read_bytes_s),
                size(disk.written_bytes_s),
            )
            for disk in at_work
        ),
    )
    if len(disks) > len(at_work):
        yield f"({len(disks) - len(at_work)} disks did nothing)\n"


def deleted(found: Found) -> Iterator[str]:
    """Yield the files that are gone and still take room."""
    none = f"Deleted files that are still open take {size(found.size)}."
    yield from findings(wrong_deleted(found), none)
    takes = [file for file in found.files if file.size]
    yield from table(
        [
            Column("SIZE", right=True),
            Column("PID", right=True),
            Column("NAME", least=8),
            Column("FD", right=True),
            Column("DELETED FILE", least=20),
        ],
        (
            (
                size(file.size),
                str(file.link.pid),
                process.name(file.link.pid),
                str(file.link.fd),
                file.name,
            )
            for file in takes[:DELETED_MAX]
        ),
    )
    yield from left_out(len(takes) - DELETED_MAX, "files")
    if found.waiting:
        yield f"({found.waiting} on mounts that may not answer were not asked)\n"
    if found.cut:
        yield "(too many descriptors: not all were looked at)\n"


def milliseconds(time: float) -> str:
    """Return a short time: `0.4 ms`, `12 ms`, `1.5 s`."""
    if time >= _SECOND:
        return duration(time / _SECOND)
    return f"{time:.1f} ms" if time < _TENTHS_BELOW else f"{time:.0f} ms"


def file_system_values(answers: Sequence[Asked]) -> list[Json]:
    """Return the answers for JSON."""
    return [
        {
            "point": answer.mount.point.decode("latin-1"),
            "type": answer.mount.kind,
            "source": answer.mount.source.decode("latin-1"),
            "bytes": used.size if used else None,
            "used": used.used if used else None,
            "left": used.left if used else None,
            "percent": round(used.percent, 1) if used else None,
            "inodes": used.inodes if used else None,
            "inodes_used": used.inodes_used if used else None,
            "inodes_percent": round(used.inodes_percent, 1) if used else None,
            "full": answer.full,
            "error": answer.error,
        }
        for answer in answers
        for used in [answer.usage]
    ]


def activity_values(disks: Sequence[Activity]) -> list[Json]:
    """Return what the disks did for JSON."""
    return [
        {
            "name": disk.name,
            "busy_percent": round(disk.busy_percent, 1),
            "in_flight": disk.in_flight,
            "await_ms": None if disk.await_ms is None else round(disk.await_ms, 3),
            "read_bytes_s": round(disk.read_bytes_s),
            "written_bytes_s": round(disk.written_bytes_s),
            "stuck": disk.stuck,
        }
        for disk in disks
    ]


def deleted_value(found: Found) -> Json:
    """Return the deleted files for JSON."""
    return {
        "bytes": found.size,
        "files": [
            {
                "bytes": file.size,
                "pid": file.link.pid,
                "name": process.name(file.link.pid),
                "fd": file.link.fd,
                "file": file.name,
                "holders": file.holders,
            }
            for file in found.files[:DELETED_MAX]
        ],
        "left_out": max(0, len(found.files) - DELETED_MAX),
        "not_asked": found.waiting,
        "cut": found.cut,
    }
