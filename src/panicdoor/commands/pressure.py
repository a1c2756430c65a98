"""The command `pressure`: what the host waits for, and which groups wait most."""

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    findings,
    left_out,
    lines_as_parts,
    percent,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import cgroups
from panicdoor.kernel import pressure as kernel

GROUPS_SHOWN: Final = 8
GROUPS_MAX: Final = 100  # in JSON
INTERVAL_S: Final = 0.2  # seconds in which the processors are watched

# Where normal ends, in percent of the last 10 s. `full` of memory or io means that nothing was done
# at all meanwhile; systemd-oomd begins to kill at 60 % of memory (oomd.conf(5)), and long before
# that people notice. `full` of cpu has no meaning for the whole host.
NORMAL: Final[dict[tuple[kernel.Resource, str], float]] = {
    ("cpu", "some"): 30.0,
    ("memory", "some"): 5.0,
    ("memory", "full"): 1.0,
    ("io", "some"): 20.0,
    ("io", "full"): 5.0,
}
STOLEN_HIGH: Final = 10.0  # percent of the time of all processors
LOAD_HIGH: Final = 2.0  # tasks per processor


class Group(NamedTuple):
    """A control group with the worst that it waits for: percent of the last 10 seconds."""

    name: str
    resource: kernel.Resource
    some: kernel.Waiting
    full: kernel.Waiting | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen. `shares` is what the processors did, in percent of the time of all."""

    resources: dict[kernel.Resource, kernel.Pressure | None]
    load: kernel.Load | None
    processors: int
    shares: dict[str, float]
    running: int
    blocked: int
    groups: tuple[Group, ...]
    groups_more: bool


class Before(NamedTuple):
    """The first look: what the processors had done, and when that was."""

    work: kernel.Work
    at: float


def begin() -> Before:
    """Take the first look, so that several commands can wait at once. Raises CommandError."""
    try:
        return Before(kernel.work(), time.monotonic())
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error


def look(before: Before | None = None) -> Report:
    """Look again 0.2 s after `before`; 50 microseconds for each group. Raises CommandError."""
    before = before or begin()
    try:
        resources = {resource: kernel.system(resource) for resource in kernel.RESOURCES}
        groups, groups_more = _groups()
        time.sleep(max(0.0, INTERVAL_S - (time.monotonic() - before.at)))
        after = kernel.work()
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    ticks = max(1, after.ticks - before.work.ticks)
    shares = {
        name: 100 * max(0, getattr(after, name) - getattr(before.work, name)) / ticks
        for name in ("user", "system", "interrupts", "waiting", "stolen", "idle")
    }
    return Report(
        resources,
        kernel.load(),
        kernel.processors(),
        shares,
        after.running,
        after.blocked,
        groups,
        groups_more,
    )


def _groups() -> tuple[tuple[Group, ...], bool]:
    hierarchy = cgroups.hierarchy("")
    if hierarchy is None or hierarchy.version == 1:
        return (), False
    survey = cgroups.Survey(hierarchy)
    worst = heapq.nlargest(GROUPS_MAX, _waiting(survey), key=lambda group: group.some.last_10)
    return tuple(worst), survey.left_out


def _waiting(survey: cgroups.Survey) -> Iterator[Group]:
    for path in survey:
        name = survey.name(path)
        for resource in kernel.RESOURCES if name != "/" else ():
            found = kernel.of_group(path, resource)
            if found is not None and found.some is not None and found.some.last_60 > 0:
                yield Group(name, resource, found.some, found.full)


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    over = []
    for (resource, kind), normal in NORMAL.items():
        now = _now(report.resources[resource], kind)
        if now is not None and now.last_10 > normal:
            over.append((now.last_10 / normal, resource, kind, now.last_10, normal))
    for _, resource, kind, now_percent, normal in sorted(over, reverse=True):
        who = "all tasks" if kind == "full" else "some task"
        yield (
            f"{resource}: {who} waited {percent(now_percent)} of the last 10 s "
            f"(normal below {normal:.0f} %)"
        )
    if report.shares["stolen"] > STOLEN_HIGH:
        yield f"{percent(report.shares['stolen'])} of the processors goes to other machines"
    if report.load and report.load.last_1_min > LOAD_HIGH * report.processors:
        yield (
            f"load {report.load.last_1_min:.1f} on {report.processors} processors "
            f"(normal below {LOAD_HIGH * report.processors:.0f}): {report.running} run now, "
            f"{report.blocked} wait for a disk"
        )


def _now(pressure: kernel.Pressure | None, kind: str) -> kernel.Waiting | None:
    if pressure is None:
        return None
    return pressure.full if kind == "full" else pressure.some


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .pressure.* object?: of cpu, memory and io; null where this kernel does not tell
    .pressure.*.some object?: the share of time in which some task waited
    .pressure.*.some.last_10 percent: of the last 10 seconds
    .pressure.*.some.last_60 percent: of the last 60 seconds
    .pressure.*.some.last_300 percent: of the last 300 seconds
    .pressure.*.some.total int: microseconds, since boot
    .pressure.*.full object?: the share of time in which all tasks waited
    .pressure.*.full.last_10 percent: of the last 10 seconds
    .pressure.*.full.last_60 percent: of the last 60 seconds
    .pressure.*.full.last_300 percent: of the last 300 seconds
    .pressure.*.full.total int: microseconds, since boot
    .load object?: null where it cannot be read
    .load.last_1_min number: tasks that run or wait for a disk, on average
    .load.last_5_min number: the same, of five minutes
    .load.last_15_min number: the same, of fifteen
    .load.running int: tasks that run now
    .load.tasks int: all tasks
    .processors int: how many work
    .shares.user percent: of the time of all processors, in programs
    .shares.system percent: in the kernel
    .shares.interrupts percent: in interrupts
    .shares.waiting percent: idle while a task waits for a disk
    .shares.stolen percent: given to other machines
    .shares.idle percent: idle
    .running int: tasks that run now
    .blocked int: tasks that wait for a disk now
    .groups[].group text: a control group, and
    .groups[].resource text: what it waits for
    .groups[].some.last_10 percent: as above
    .groups[].some.last_60 percent: as above
    .groups[].some.last_300 percent: as above
    .groups[].some.total int: as above
    .groups[].full object?: as above
    .groups[].full.last_10 percent: as above
    .groups[].full.last_60 percent: as above
    .groups[].full.last_300 percent: as above
    .groups[].full.total int: as above
    .left_out.groups bool: whether there were too many groups to look at all
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def pressure(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show what the host waits for: cpu, memory, io.

    First what is not normal, if anything is. SOME is the share of time in which at least one task
    waited for the resource, FULL that in which all tasks did. A host that does not move at all may
    show little of both, so that a low value proves nothing alone. Then the load averages, what the
    processors do (over 0.2 seconds), and the control groups that wait most (version 2 only).

    Arguments:
        json: print one JSON object, with up to 100 groups

    Examples:
        > pressure
        ...
        load ... (1, 5, 15 min) on ... processors, ... tasks
        user ... %, system ... %, interrupts ... %, waiting ... %, stolen ... %, idle ... %
        now ... run and ... wait for a disk...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing waits more than usual.")
    yield from table(
        [
            Column("pressure"),
            *(Column(title, right=True) for title in ("10 s", "60 s", "5 min")),
            Column("normal"),
        ],
        _rows(report),
    )
    silent = [resource for resource, found in report.resources.items() if found is None]
    if silent:
        yield f"this kernel does not tell the pressure of {', '.join(silent)}\n"
    yield "\n"
    if report.load:
        one, five, fifteen, _, tasks = report.load
        yield (
            f"load {one:.2f} {five:.2f} {fifteen:.2f} (1, 5, 15 min) on {report.processors} "
            f"processors, {tasks} tasks\n"
        )
    yield ", ".join(f"{name} {share:.0f} %" for name, share in report.shares.items()) + "\n"
    yield f"now {report.running} run and {report.blocked} wait for a disk\n"
    yield from _group_lines(report)


def _group_lines(report: Report) -> Iterator[str]:
    if report.groups:
        yield "\n"
        yield from table(
            [
                Column("GROUP", least=20),
                Column("WAITS FOR"),
                *(Column(title, right=True) for title in ("SOME 10 s", "60 s", "FULL 10 s")),
            ],
            [
                (
                    name,
                    resource,
                    percent(some.last_10),
                    percent(some.last_60),
                    "" if full is None else percent(full.last_10),
                )
                for name, resource, some, full in report.groups[:GROUPS_SHOWN]
            ],
        )
        yield from left_out(len(report.groups) - GROUPS_SHOWN, "groups that wait")
    if report.groups_more:
        yield "(there are more groups than were looked at)\n"


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for (resource, kind), normal in NORMAL.items():
        now = _now(report.resources[resource], kind)
        if now is not None:
            yield (
                f"{resource} {kind}",
                percent(now.last_10),
                percent(now.last_60),
                percent(now.last_300),
                f"below {normal:.0f} %",
            )


def _document(report: Report) -> Json:
    def waiting(now: kernel.Waiting | None) -> Json:
        return None if now is None else dict(now._asdict())

    groups: list[Json] = [
        {
            "group": group.name,
            "resource": group.resource,
            "some": waiting(group.some),
            "full": waiting(group.full),
        }
        for group in report.groups
    ]
    return {
        "findings": list(wrong(report)),
        "pressure": {
            resource: None
            if found is None
            else {"some": waiting(found.some), "full": waiting(found.full)}
            for resource, found in report.resources.items()
        },
        "load": None if report.load is None else dict(report.load._asdict()),
        "processors": report.processors,
        "shares": {name: round(share, 1) for name, share in report.shares.items()},
        "running": report.running,
        "blocked": report.blocked,
        "groups": groups,
        "left_out": {"groups": report.groups_more},
    }
