"""The command `processes`: what runs, what is stuck, what was never collected.

What may wait for ever comes last: see `one_process`.
"""

import heapq
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.one_process import command_lines, one
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
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
from panicdoor.kernel import accounts, cgroups, pressure, tasks
from panicdoor.printable import escape_line

ROWS_SHOWN: Final = 15  # on a screen
ROWS_MAX: Final = 500  # processes in JSON
NAMED_MAX: Final = 5  # processes that a finding names
INTERVAL_S: Final = 0.2  # seconds between two looks at each process

TASKS_HIGH: Final = 80.0  # percent of what the kernel, or a group, allows
FORKS_HIGH: Final = 500.0  # new processes per second; a busy build makes some 300
DEAD_HIGH: Final = 10  # of NAMED_MAX parents; one or two are everywhere, and cost a pid each

_COMM_MAX: Final = 15  # characters of a name that the kernel keeps


class Process(NamedTuple):
    """One process, seen twice. `cpu` is in percent of one processor; `stuck` says that it was in
    state D both times and did nothing between."""

    stat: tasks.Stat
    cpu: float
    stuck: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen: `shown` are the worst, worst first; `more` counts the others.

    `uncollected` is how many dead processes each pid has not collected; `users` counts threads.
    """

    states: Mapping[str, int]
    processes: int
    threads: int
    limit: int
    forks: float
    shown: tuple[Process, ...]
    more: int
    stuck: tuple[tasks.Stat, ...]
    stuck_count: int
    uncollected: Mapping[int, int]
    users: Mapping[int, int]
    groups: tuple[cgroups.Limit, ...]


class Before(NamedTuple):
    """The first look: of each pid its start, ticks and state, and when that was."""

    processes: Mapping[int, tuple[int, int, str, float]]
    forks: int
    at: float


def once(most: int = ROWS_MAX) -> tuple[Report, Before]:
    """Take the first look: 30 microseconds for each process. Raises CommandError.

    The report knows no cpu, no forks, and nobody stuck or uncollected: it takes two looks to know.
    """
    began = time.monotonic()
    try:
        forks = pressure.work().forks
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    tally = _Tally(None, "")
    report = _report(tally, most, _groups(), 0.0)
    return report, Before(tally.seen, forks, began)


def look(
    before: Before | None = None, most: int = ROWS_MAX, name: str = "", by: str = "cpu"
) -> Report:
    """Look at all processes again, 0.2 s after `before`; 30 microseconds for each, both times.

    With `name` only processes of that name are `shown`; `by` says what comes first, behind those
    that are stuck. Raises CommandError.
    """
    before = before or once(1)[1]
    groups = _groups()
    time.sleep(max(0.0, INTERVAL_S - (time.monotonic() - before.at)))
    forks = (pressure.work().forks - before.forks) / (time.monotonic() - before.at)
    return _report(_Tally(before.processes, name), most, groups, forks, by)


def _report(
    tally: "_Tally", most: int, groups: tuple[cgroups.Limit, ...], forks: float, by: str = "cpu"
) -> Report:
    shown = heapq.nlargest(most, tally.watch(), key=_ORDERS[by])
    return Report(
        tally.states,
        tally.states.total(),
        tally.threads,
        tasks.limit(),
        forks,
        tuple(shown),
        tally.more + tally.wanted - len(shown),
        tuple(tally.stuck),
        tally.stuck_count,
        dict(tally.uncollected.most_common(NAMED_MAX)),
        tally.users,
        groups,
    )


# What comes first: the largest.
_ORDERS: Final[dict[str, Callable[[Process], tuple[float, ...]]]] = {
    "cpu": lambda process: (process.stuck, process.cpu, process.stat.rss),
    "memory": lambda process: (process.stuck, process.stat.rss, process.cpu),
    "threads": lambda process: (process.stuck, process.stat.threads, process.cpu),
}


class _Tally:
    """One look, counted while it goes on; the second compares with what the first has `seen`."""

    def __init__(self, first: Mapping[int, tuple[int, int, str, float]] | None, name: str) -> None:
        self.seen: dict[int, tuple[int, int, str, float]] = {}
        self.more = 0
        self.states: Counter[str] = Counter()
        self.users: Counter[int] = Counter()
        self.uncollected: Counter[int] = Counter()
        self.threads = 0
        self.wanted = 0
        self.stuck: list[tasks.Stat] = []
        self.stuck_count = 0
        self._first = first
        self._name = name
        self._own = os.getpid()  # it has looked at all the others just now: no news

    def watch(self) -> Iterator[Process]:
        found, self.more = tasks.pids()
        for stat in tasks.stats(found):
            process = self._compare(stat)
            self.states[stat.state] += 1
            self.threads += stat.threads
            self.users[tasks.owner(stat.pid)] += stat.threads
            if process.stuck:
                self.stuck_count += 1
                if len(self.stuck) < NAMED_MAX:
                    self.stuck.append(stat)
            if stat.pid != self._own if not self._name else stat.name == self._name:
                self.wanted += 1
                yield process

    def _compare(self, stat: tasks.Stat) -> Process:
        if self._first is None:
            self.seen[stat.pid] = stat.started, stat.ticks, stat.state, time.monotonic()
            return Process(stat, 0.0, False)
        started, ticks, state, at = self._first.get(stat.pid, (-1, 0, "", 0.0))
        same = started == stat.started
        if same and state == stat.state == "Z":
            self.uncollected[stat.parent] += 1
        seconds = time.monotonic() - at if same else tasks.age(stat.started)
        used = (stat.ticks - ticks if same else stat.ticks) / tasks.HZ
        cpu = 100 * used / max(seconds, 1 / tasks.HZ)
        return Process(stat, cpu, same and state == stat.state == "D" and not used)


def _groups() -> tuple[cgroups.Limit, ...]:
    hierarchy = cgroups.hierarchy("pids")
    if hierarchy is None:
        return ()
    limits = cgroups.limits("pids", cgroups.Survey(hierarchy), hierarchy.version)
    full = (limit for limit in limits if limit.share >= TASKS_HIGH)
    return tuple(heapq.nlargest(NAMED_MAX, full, key=lambda limit: limit.share))


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    used = 100 * report.threads / report.limit if report.limit else 0.0
    if used >= TASKS_HIGH:
        yield (
            f"{report.threads} tasks of {report.limit} that the kernel allows ({percent(used)}, "
            f"normal below {TASKS_HIGH:.0f} %): most are of {_busiest(report.users)}"
        )
    for limit in report.groups:
        yield (
            f"group {limit.group} has {limit.used} of its {limit.limit} tasks; "
            f"{limit.hits} forks were refused"
        )
    if report.stuck_count:
        named = ", ".join(
            f"{stat.pid} ({stat.name}) in {tasks.waits_in(stat.pid) or '?'}"
            for stat in report.stuck
        )
        rest = report.stuck_count - len(report.stuck)
        wait = "waits" if report.stuck_count == 1 else "wait"
        yield (
            f"{report.stuck_count} {wait} in the kernel and cannot be killed (D): {named}"
            + (f" and {rest} more" if rest else "")
        )
    if sum(report.uncollected.values()) >= DEAD_HIGH:
        yield f"dead processes (Z) that nobody collects: {_parents(report.uncollected)}"
    if report.forks > FORKS_HIGH:
        yield f"{report.forks:.0f} new processes per second (normal below {FORKS_HIGH:.0f})"


def _parents(uncollected: Mapping[int, int]) -> str:
    parents = {pid: tasks.stat(pid) for pid in uncollected}
    return ", ".join(
        f"{count} of {pid} ({parent.name if (parent := parents[pid]) else '?'})"
        for pid, count in uncollected.items()
    )


def _busiest(users: Mapping[int, int]) -> str:
    names = accounts.names("user")
    return ", ".join(
        f"{names.get(uid, str(uid))} {count}" for uid, count in Counter(users).most_common(3)
    )


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .states.* int: processes, by the letter of their state
    .threads int: all tasks
    .limit int: how many tasks the kernel allows
    .forks number: new processes a second
    .users.* int: tasks, by uid
    .processes[].pid int: of a process, the worst first
    .processes[].name text: 15 characters
    .processes[].state text: R runs, S sleeps, D waits in the kernel, Z is dead, T is stopped
    .processes[].parent int: a pid
    .processes[].uid int?: its real user; null where it has ended meanwhile
    .processes[].threads int: how many it has
    .processes[].cpu percent: of one processor
    .processes[].rss bytes: in memory, what is shared included
    .processes[].age seconds: since it was started
    .processes[].stuck bool: whether it was in state D twice and did nothing between
    .processes[].waits_in text: the function of the kernel it waits in, or empty
    .left_out int: processes that are not shown
    .process object: alone, where WHICH is a pid; its command line is not in it
    .process.pid int: as it was asked for
    .process.name text: 15 characters
    .process.state text: as above
    .process.parent int: a pid
    .process.tty int: the device number of its terminal, 0 for none
    .process.kernel bool: whether it is a thread of the kernel
    .process.ticks int: processor time since it was started, in 1/100 s
    .process.threads int: how many it has
    .process.started int: when, in 1/100 s since boot
    .process.rss bytes: in memory, what is shared included
    .process.cpu percent: of one processor
    .process.status object?: what only its status says; null where it has ended meanwhile
    .process.status.name text: its name, as the kernel escapes it
    .process.status.uid int: its real user
    .process.status.rss bytes?: as above; null for a thread of the kernel
    .process.status.anonymous bytes?: its own memory
    .process.status.swapped bytes?: in swap
    .process.status.tracer int: who debugs it, 0 for nobody
    .process.status.voluntary_switches int: how often it had nothing to do
    .process.status.forced_switches int: how often it was interrupted
    .process.facts.* text: what `processes PID` says, in words
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def processes(
    context: Context, which: str = "", *, by: str = "cpu", json: bool = False
) -> Iterator[str]:
    """Show what runs, what is stuck, or one in detail.

    First what is not normal, if anything is: processes that wait in the kernel (state D, seen twice
    in 0.2 seconds), dead ones that nobody collected (Z), tasks near a limit. Then those that are
    stuck, then by processor time, or as --by says. CPU is measured over 0.2 seconds, in percent of
    one processor, in steps of 5; the process that looks is left out.

    WHICH is a pid or a name, whole; the kernel keeps 15 characters of a name. Command lines come
    last, each after a line that says whom it is asked of: a process that hangs may hold the lock
    that this needs. Where nothing more comes, the process named last is the one that hangs.

    Arguments:
        which: a pid or a name
        by cpu|memory|threads: what comes first, behind what is stuck; cpu if it is not said
        json: print one JSON object, with up to 500 processes

    Examples:
        > processes
        ... processes, ... tasks of ..., ... forks/s
        by state: ...
        tasks by user: ...
        ...PID  USER ... S  THR ... CPU ... RSS ... AGE  NAME...
        > processes 1
        1 (...)
          state     ...
          parent    ...
        ...
        asking 1 (...) ...
          command   ...
    """
    if which.isdecimal():
        yield from one(int(which[: len(str(1 << 32))]), json)
        return
    name = _named(which)
    report = look(name=name, by=by)
    if which and not report.shown:
        raise CommandError(f"no process is called {cut(escape_line(which), 40)} now")
    if json:
        yield from document(_document(report))
        return
    yield from lines_as_parts(_lines(report))
    if which:
        yield from command_lines([process.stat for process in report.shown])


def _named(which: str) -> str:
    """Return the name that the kernel has for what was typed, escapes resolved."""
    if not which:
        return ""
    for pid in tasks.pids()[0] if "\\x" in which else ():
        stat = tasks.stat(pid)
        if stat is not None and escape_line(stat.name) == which:
            return stat.name
    return which[:_COMM_MAX]


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing unusual about processes.")
    yield (
        f"{report.processes} processes, {report.threads} tasks of {report.limit}, "
        f"{report.forks:.0f} forks/s\n"
    )
    states = Counter(report.states).most_common()
    told = ", ".join(f"{count} {state}" for state, count in states)
    yield from findings((), f"by state: {escape_line(told)} (D: waits, cannot be killed; Z: dead)")
    yield cut(escape_line(f"tasks by user: {_busiest(report.users)}"), 80) + "\n"
    if report.uncollected:
        yield from findings((), f"not collected (Z): {escape_line(_parents(report.uncollected))}")
    shown = report.shown[:ROWS_SHOWN]
    waiting = any(process.stat.state == "D" for process in shown)
    width = len(_COLUMNS) - (not waiting)
    yield from table(_COLUMNS[:width], (row[:width] for row in _rows(shown)))
    yield from left_out(report.more + len(report.shown) - ROWS_SHOWN, "processes")


_COLUMNS: Final = (
    Column("PID", right=True),
    Column("USER", least=8),
    Column("S"),
    Column("THR", right=True),
    Column("CPU", right=True),
    Column("RSS", right=True),
    Column("AGE", right=True),
    Column("NAME", least=15),
    Column("WAITS IN", least=8),
)


def _rows(shown: Sequence[Process]) -> Iterator[tuple[str, ...]]:
    users = accounts.names("user")
    for stat, cpu, stuck in shown:
        status = tasks.status(stat.pid)
        yield (
            str(stat.pid),
            "?" if status is None else users.get(status.uid, str(status.uid)),
            stat.state,
            str(stat.threads),
            percent(cpu),
            size(stat.rss),
            duration(tasks.age(stat.started)),
            stat.name,
            tasks.waits_in(stat.pid) if stuck or stat.state == "D" else "",
        )


def _document(report: Report) -> Json:
    shown: list[Json] = []
    for stat, cpu, stuck in report.shown:
        status = tasks.status(stat.pid)
        shown.append(
            {
                "pid": stat.pid,
                "name": stat.name,
                "state": stat.state,
                "parent": stat.parent,
                "uid": None if status is None else status.uid,
                "threads": stat.threads,
                "cpu": round(cpu, 1),
                "rss": stat.rss,
                "age": round(tasks.age(stat.started), 1),
                "stuck": stuck,
                "waits_in": tasks.waits_in(stat.pid),
            }
        )
    return {
        "findings": list(wrong(report)),
        "states": dict(report.states),
        "threads": report.threads,
        "limit": report.limit,
        "forks": round(report.forks, 1),
        "users": {str(uid): count for uid, count in report.users.items()},
        "processes": shown,
        "left_out": report.more,
    }
