"""The command `memory`: how much there is, who has it, and which groups are at their limit."""

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    WIDTH,
    Column,
    Json,
    cut,
    document,
    duration,
    findings,
    left_out,
    lines_as_parts,
    percent,
    size,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, cgroups, meminfo, tasks
from panicdoor.printable import escape_line

OWNERS_SHOWN: Final = 10  # rows on a screen
OWNERS_MAX: Final = 100  # processes in JSON
NAMES_MAX: Final = 2000  # names that are added up
TOGETHER_SHOWN: Final = 3
TOGETHER_MAX: Final = 20
GROUPS_SHOWN: Final = 5
GROUPS_MAX: Final = 100
INTERVAL_S: Final = 0.2  # seconds between two looks at the counters

# Where normal ends. Available: the kernel begins to reclaim hard when little is left, and 10 % is
# what monitoring commonly warns at. Swap: that it is used is normal, that it moves is not (Gregg,
# Systems Performance, 7.5). Dirty: vm.dirty_ratio, where writers are made to wait, is 20 %.
AVAILABLE_LOW: Final = 10.0  # percent of total
SWAP_HIGH: Final = 80.0  # percent of the swap
SWAPPING: Final = 1 << 20  # bytes per second
DIRTY_HIGH: Final = 20.0  # percent of total
GROUP_HIGH: Final = 90.0  # percent of a group's limit
SLAB_HIGH: Final = 25.0  # percent of total that the kernel itself holds for good


class Owner(NamedTuple):
    """One process: bytes. `uid` is the real one."""

    pid: int
    uid: int
    rss: int
    anonymous: int
    swapped: int


class Together(NamedTuple):
    """Processes of one name: how many, and their bytes in memory and in swap."""

    name: str
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen. Rates are per second; `owners` and `groups` are the worst, worst first."""

    memory: meminfo.Memory
    swaps: tuple[meminfo.Swap, ...]
    activity: meminfo.Activity
    swapped_in: float
    swapped_out: float
    disk_faults: float
    owners: tuple[Owner, ...]
    owners_more: int
    together: tuple[Together, ...]
    groups: tuple[cgroups.Limit, ...]
    groups_more: bool

    @property
    def available(self) -> float:
        """Percent of all memory."""
        return _share(self.memory.available, self.memory.total)

    @property
    def swap_used(self) -> int:
        """Bytes."""
        return max(0, self.memory.swap_total - self.memory.swap_free)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


class Before(NamedTuple):
    """The first look: the counters, and when that was."""

    activity: meminfo.Activity
    at: float


def begin() -> Before:
    """Take the first look, so that several commands can wait at once. Raises CommandError."""
    try:
        return Before(meminfo.activity(), time.monotonic())
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error


def look(before: Before | None = None) -> Report:
    """Look at the host's memory: 40 microseconds for each process, and 0.2 s after `before`."""
    before = before or begin()
    try:
        memory = meminfo.memory()
        found, more = tasks.pids()
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    tally = _Tally()
    owners = heapq.nlargest(OWNERS_MAX, tally.owners(found), key=lambda o: o.rss + o.swapped)
    groups, groups_more = _groups()
    time.sleep(max(0.0, INTERVAL_S - (time.monotonic() - before.at)))
    after = meminfo.activity()
    seconds = time.monotonic() - before.at
    return Report(
        memory,
        meminfo.swaps(),
        after,
        (after.swapped_in - before.activity.swapped_in) * tasks.PAGE / seconds,
        (after.swapped_out - before.activity.swapped_out) * tasks.PAGE / seconds,
        (after.major_faults - before.activity.major_faults) / seconds,
        tuple(owners),
        more + tally.number - len(owners),
        tally.together(),
        groups,
        groups_more,
    )


class _Tally:
    """All processes with memory, added up by name while they are read."""

    def __init__(self) -> None:
        self.number = 0
        self._names: dict[str, tuple[int, int]] = {}

    def owners(self, pids: Sequence[int]) -> Iterator[Owner]:
        for pid in pids:
            status = tasks.status(pid)
            if status is None or status.rss is None:
                continue
            self.number += 1
            owner = Owner(pid, status.uid, status.rss, status.anonymous or 0, status.swapped or 0)
            if status.name in self._names or len(self._names) < NAMES_MAX:
                number, total = self._names.get(status.name, (0, 0))
                self._names[status.name] = number + 1, total + owner.rss + owner.swapped
            yield owner

    def together(self) -> tuple[Together, ...]:
        several = (Together(n, *sums) for n, sums in self._names.items() if sums[0] > 1)
        return tuple(heapq.nlargest(TOGETHER_MAX, several, key=lambda name: name.size))


def _groups() -> tuple[tuple[cgroups.Limit, ...], bool]:
    hierarchy = cgroups.hierarchy("memory")
    if hierarchy is None:
        return (), False
    survey = cgroups.Survey(hierarchy)
    limits = cgroups.limits("memory", survey, hierarchy.version)
    worst = heapq.nlargest(GROUPS_MAX, limits, key=lambda limit: limit.share)
    return tuple(worst), survey.left_out


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    memory = report.memory
    if report.available < AVAILABLE_LOW:
        yield (
            f"only {size(memory.available)} of {size(memory.total)} are available "
            f"({percent(report.available)}, normal above {AVAILABLE_LOW:.0f} %)"
        )
    moved = report.swapped_in + report.swapped_out
    if moved > SWAPPING:
        yield f"{size(moved)}/s go in and out of swap (normal 0)"
    swap = _share(report.swap_used, memory.swap_total)
    if swap > SWAP_HIGH:
        yield f"swap is {percent(swap)} full (normal below {SWAP_HIGH:.0f} %)"
    for limit in report.groups:
        if limit.share >= GROUP_HIGH:
            yield (
                f"group {limit.group} has {size(limit.used)} of its {size(limit.limit)}, and hit "
                f"that limit {limit.hits} times; {limit.kills} of its processes were killed for it"
            )
    if report.activity.oom_kills:
        yield f"the kernel has killed {report.activity.oom_kills} processes since boot: see kernel"
    held = _share(memory.unreclaimable + memory.page_tables + memory.kernel_stacks, memory.total)
    if held > SLAB_HIGH:
        yield f"the kernel itself holds {percent(held)} and cannot give it back"
    dirty = _share(memory.dirty + memory.writeback, memory.total)
    if dirty > DIRTY_HIGH:
        yield f"{percent(dirty)} waits to be written to disks that are too slow"


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .memory.total bytes: the host's memory
    .memory.available bytes: what can be had without swapping, as the kernel estimates it
    .memory.free bytes: used for nothing
    .memory.buffers bytes: cached blocks of disks
    .memory.cached bytes: cached files, and tmpfs
    .memory.shared bytes: tmpfs and shared memory
    .memory.slab bytes: the kernel's own objects
    .memory.unreclaimable bytes: those of them that cannot be given back
    .memory.kernel_stacks bytes: of all tasks
    .memory.page_tables bytes: of all processes
    .memory.dirty bytes: waits to be written to a disk
    .memory.writeback bytes: is being written
    .memory.locked bytes: may not be swapped
    .memory.huge bytes: reserved as huge pages
    .memory.swap_total bytes: room to swap to
    .memory.swap_free bytes: of that, not used
    .memory.committed bytes: promised to processes
    .memory.commit_limit bytes: what may be promised where overcommitting is forbidden
    .swaps[].name text: a swap area
    .swaps[].kind text: file or partition
    .swaps[].size bytes: its room
    .swaps[].used bytes: of that, used
    .swaps[].priority int: the highest is used first
    .counters.swapped_in int: pages, since boot
    .counters.swapped_out int: pages, since boot
    .counters.major_faults int: faults that read a disk, since boot
    .counters.direct_reclaims int: how often a task had to free memory first, since boot
    .counters.compaction_stalls int: how often one had to wait for memory in one piece, since boot
    .counters.oom_kills int: processes killed for memory, since boot
    .rates.swapped_in number: bytes a second
    .rates.swapped_out number: bytes a second
    .rates.disk_faults number: faults a second that read a disk
    .processes[].pid int: of a process, the largest first
    .processes[].uid int: its real user
    .processes[].user text?: his name in /etc/passwd
    .processes[].name text?: its name, 15 characters; null where it has ended meanwhile
    .processes[].rss bytes: in memory, what is shared included
    .processes[].anonymous bytes: its own
    .processes[].swapped bytes: in swap
    .processes[].oom_score int?: the highest is killed first; null where it has ended
    .processes[].age seconds?: since it was started; null where it has ended
    .together[].name text: a name that several processes have
    .together[].number int: how many they are
    .together[].size bytes: in memory and in swap
    .groups[].group text: a control group with a limit, the fullest first
    .groups[].used bytes: what it has
    .groups[].limit bytes: what it may have
    .groups[].hits int: how often it could not have more
    .groups[].kills int: its processes that were killed for it
    .left_out.processes int: processes that are not shown
    .left_out.groups bool: whether there were too many groups to look at all
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def memory(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show how full memory is, and who fills it.

    First what is not normal, if anything is; then the host's memory with its normal range; then
    the largest processes by what they have in memory and in swap; then the control groups that are
    nearest to a limit of their own. Rates are measured over 0.2 seconds.

    RSS counts memory that processes share for each of them. ANON is a process's own: what comes
    free when it ends, together with SWAP. OOM is the kernel's score: the highest is killed first.

    Arguments:
        json: print one JSON object, with up to 100 processes and groups

    Examples:
        > memory
        ...
        memory ... now  share  normal
        total ...
        available ... above 10 %
        ...
        ...PID  USER ... RSS ... ANON ... SWAP ... OOM ... AGE  NAME
        ...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing unusual about memory.")
    yield from table(
        [
            Column("memory"),
            Column("now", right=True),
            Column("share", right=True),
            Column("normal"),
        ],
        _host(report),
    )
    yield "\n"
    yield from table(
        [
            Column("PID", right=True),
            Column("USER", least=8),
            Column("RSS", right=True),
            Column("ANON", right=True),
            Column("SWAP", right=True),
            Column("OOM", right=True),
            Column("AGE", right=True),
            Column("NAME", least=15),
        ],
        _rows(report.owners[:OWNERS_SHOWN]),
    )
    shown = min(len(report.owners), OWNERS_SHOWN)
    yield from left_out(report.owners_more + len(report.owners) - shown, "smaller processes")
    if report.together:
        sums = ", ".join(
            f"{number} {name} {size(total)}"
            for name, number, total in report.together[:TOGETHER_SHOWN]
        )
        yield cut(escape_line(f"together: {sums}"), WIDTH) + "\n"
    if report.groups:
        yield "\n"
        yield from table(
            [
                Column("GROUP", least=20),
                Column("USED", right=True),
                Column("LIMIT", right=True),
                Column("SHARE", right=True),
                Column("HITS", right=True),
                Column("KILLS", right=True),
            ],
            [
                (
                    limit.group,
                    size(limit.used),
                    size(limit.limit),
                    percent(limit.share),
                    str(limit.hits),
                    str(limit.kills),
                )
                for limit in report.groups[:GROUPS_SHOWN]
            ],
        )
        yield from left_out(len(report.groups) - GROUPS_SHOWN, "groups with a limit")
    if report.groups_more:
        yield "(there are more groups than were looked at)\n"


def _host(report: Report) -> Iterator[tuple[str, str, str, str]]:
    memory, total = report.memory, report.memory.total

    def row(name: str, count: int, normal: str) -> tuple[str, str, str, str]:
        return name, size(count), percent(_share(count, total)), normal

    yield "total", size(total), "", ""
    yield row("available", memory.available, f"above {AVAILABLE_LOW:.0f} %")
    yield row("cache and buffers", memory.cached + memory.buffers, "")
    yield row("shared, tmpfs", memory.shared, "")
    kernel = memory.unreclaimable + memory.page_tables + memory.kernel_stacks
    yield row("kernel's own", kernel, f"below {SLAB_HIGH:.0f} %")
    yield row("waits for a disk", memory.dirty + memory.writeback, f"below {DIRTY_HIGH:.0f} %")
    yield row("locked", memory.locked, "")
    if memory.swap_total:
        share = percent(_share(report.swap_used, memory.swap_total))
        yield "swap used", size(report.swap_used), share, f"below {SWAP_HIGH:.0f} %"
        yield "swap in", f"{size(report.swapped_in)}/s", "", "0"
        yield "swap out", f"{size(report.swapped_out)}/s", "", "0"
    else:
        yield "swap", "none", "", ""
    yield "faults from disk", f"{report.disk_faults:.0f}/s", "", "below 100/s"


def _rows(owners: Sequence[Owner]) -> Iterator[tuple[str, ...]]:
    users = accounts.names("user")
    for owner in owners:
        stat = tasks.stat(owner.pid)
        score = tasks.oom_score(owner.pid)
        yield (
            str(owner.pid),
            users.get(owner.uid, str(owner.uid)),
            size(owner.rss),
            size(owner.anonymous),
            size(owner.swapped),
            "?" if score is None else str(score),
            "ended" if stat is None else duration(tasks.age(stat.started)),
            "?" if stat is None else stat.name,
        )


def _document(report: Report) -> Json:
    users = accounts.names("user")
    processes: list[Json] = []
    for owner in report.owners:
        stat = tasks.stat(owner.pid)
        processes.append(
            {
                "pid": owner.pid,
                "uid": owner.uid,
                "user": users.get(owner.uid),
                "name": None if stat is None else stat.name,
                "rss": owner.rss,
                "anonymous": owner.anonymous,
                "swapped": owner.swapped,
                "oom_score": tasks.oom_score(owner.pid),
                "age": None if stat is None else round(tasks.age(stat.started), 1),
            }
        )
    return {
        "findings": list(wrong(report)),
        "memory": dict(report.memory._asdict()),
        "swaps": [dict(swap._asdict()) for swap in report.swaps],
        "counters": dict(report.activity._asdict()),
        "rates": {
            "swapped_in": round(report.swapped_in),
            "swapped_out": round(report.swapped_out),
            "disk_faults": round(report.disk_faults, 1),
        },
        "processes": processes,
        "together": [dict(name._asdict()) for name in report.together],
        "groups": [dict(limit._asdict()) for limit in report.groups],
        "left_out": {"processes": report.owners_more, "groups": report.groups_more},
    }
