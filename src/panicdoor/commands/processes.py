"""The command `processes`: what runs, what is stuck, what was never collected.

Reading a process's command line may wait for ever (see kernel.tasks). The observer is one process
and has no second thread, so everything else is said first, in parts of its own, then the pid whose
command line comes next, and only then is it read. Whoever sees no more knows who is stuck.
"""

import heapq
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from panicdoor.commands.registry import Context, Level, Where, command, parts
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
from panicdoor.kernel import accounts, cgroups, pressure, reading, tasks
from panicdoor.printable import escape_line

ROWS_SHOWN: Final = 15  # on a screen
ROWS_MAX: Final = 500  # processes in JSON
NAMED_MAX: Final = 5  # processes that a finding names
COMMANDS_MAX: Final = 10  # command lines that are read
INTERVAL_S: Final = 0.2  # seconds between two looks at each process

TASKS_HIGH: Final = 80.0  # percent of what the kernel, or a group, allows
FORKS_HIGH: Final = 500.0  # new processes per second; a busy build makes some 300
DEAD_HIGH: Final = 10  # of NAMED_MAX parents; one or two are everywhere, and cost a pid each
PID_MAX: Final = "/proc/sys/kernel/pid_max"
THREADS_MAX: Final = "/proc/sys/kernel/threads-max"

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
    more: int
    forks: int
    at: float


def begin() -> Before:
    """Take the first look, so that several commands can wait at once. Raises CommandError."""
    began = time.monotonic()
    try:
        forks = pressure.work().forks
        found, more = tasks.pids()
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    first = {s.pid: (s.started, s.ticks, s.state, time.monotonic()) for s in tasks.stats(found)}
    return Before(first, more, forks, began)


def look(
    before: Before | None = None, most: int = ROWS_MAX, name: str = "", by: str = "cpu"
) -> Report:
    """Look at all processes again, 0.2 s after `before`; 50 microseconds for each, both times.

    With `name` only processes of that name are `shown`; `by` says what comes first, behind those
    that are stuck. Raises CommandError.
    """
    before = before or begin()
    groups = _groups()
    time.sleep(max(0.0, INTERVAL_S - (time.monotonic() - before.at)))
    tally = _Tally(before.processes, name)
    shown = heapq.nlargest(most, tally.watch(), key=_ORDERS[by])
    forks = (pressure.work().forks - before.forks) / (time.monotonic() - before.at)
    return Report(
        tally.states,
        tally.states.total(),
        tally.threads,
        _limit(),
        forks,
        tuple(shown),
        before.more + tally.wanted - len(shown),
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
    """The second look, counted while it goes on, so that it need not be kept."""

    def __init__(self, first: Mapping[int, tuple[int, int, str, float]], name: str) -> None:
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
        for stat in tasks.stats(tasks.pids()[0]):
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
        started, ticks, state, at = self._first.get(stat.pid, (-1, 0, "", 0.0))
        same = started == stat.started
        if same and state == stat.state == "Z":
            self.uncollected[stat.parent] += 1
        seconds = time.monotonic() - at if same else tasks.age(stat.started)
        used = (stat.ticks - ticks if same else stat.ticks) / tasks.HZ
        cpu = 100 * used / max(seconds, 1 / tasks.HZ)
        return Process(stat, cpu, same and state == stat.state == "D" and not used)


def _limit() -> int:
    limits = [reading.number(reading.value(path)) for path in (PID_MAX, THREADS_MAX)]
    return min((limit for limit in limits if limit), default=0)


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
        yield (
            f"{report.stuck_count} wait in the kernel and cannot be killed (D): {named}"
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


@command(level=Level.OBSERVE, where=Where.OBSERVER)
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

    With --json: findings (sentences), states (processes by letter), threads, limit, forks (per
    second), users (threads by uid), processes (pid, name, state, parent, uid, threads, cpu, rss,
    age, stuck, waits_in), left_out. With a pid: its stat (ticks are 1/100 s), cpu, status, and
    facts (sentences). Command lines are in neither.

    Arguments:
        which: a pid or a name
        by cpu|memory|threads: what comes first, behind what is stuck; cpu if it is not said
        json: print one JSON object, with up to 500 processes

    Examples:
        > processes
        ... processes, ... tasks of ..., ... forks/s
        by state: ...
        tasks by user: ...
        ...PID ... PPID  USER ... S  THR ... CPU ... RSS ... AGE  NAME...
        > processes 1
        1 (...)
          state     ...
          parent    ...
        ...
        asking 1 (...) ...
          command   ...
    """
    if which.isdecimal():
        yield from _one(int(which[: len(str(1 << 32))]), json)
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
        yield from _commands([process.stat for process in report.shown])


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
    yield escape_line("by state: " + ", ".join(f"{count} {state}" for state, count in states)) + (
        "   (D: waits, cannot be killed; Z: dead)\n"
    )
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
    Column("PPID", right=True),
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
            str(stat.parent),
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


def _one(pid: int, json: bool) -> Iterator[str]:
    first = tasks.stat(pid)
    if first is None:
        raise CommandError(f"no process has the pid {pid} now")
    began = time.monotonic()
    time.sleep(INTERVAL_S)
    stat = tasks.stat(pid)
    if stat is None or stat.started != first.started:
        raise CommandError(f"the process {pid} has just ended")
    cpu = 100 * (stat.ticks - first.ticks) / tasks.HZ / (time.monotonic() - began)
    facts = _facts(stat, cpu)
    if json:
        status = tasks.status(pid)
        said: Json = {
            **stat._asdict(),
            "cpu": round(cpu, 1),
            "status": None if status is None else dict(status._asdict()),
            "facts": dict(facts),
        }
        yield from document(said)
        return
    yield f"{pid} ({escape_line(stat.name)})\n"
    yield from lines_as_parts(f"  {name:<9} {escape_line(text)}\n" for name, text in facts.items())
    yield from _commands([stat])


def _facts(stat: tasks.Stat, cpu: float) -> dict[str, str]:
    status = tasks.status(stat.pid)
    parent = tasks.stat(stat.parent)
    threads, more = tasks.threads(stat.pid)
    states = Counter(thread.state for thread in threads).most_common()
    stuck = [
        f"{thread.pid} in {tasks.waits_in(thread.pid) or '?'}"
        for thread in threads
        if thread.state == "D"
    ]
    facts = {
        "state": f"{stat.state}, waits in {tasks.waits_in(stat.pid) or 'nothing'}",
        "parent": f"{stat.parent} ({parent.name if parent else '-'})",
        "threads": f"{stat.threads}: {', '.join(f'{n} {state}' for state, n in states)}"
        + (" and more" if more else ""),
        "cpu": f"{percent(cpu)} now, {duration(stat.ticks / tasks.HZ)} in all",
        "age": duration(tasks.age(stat.started)),
        "group": tasks.group(stat.pid) or "-",
    }
    if stuck:
        facts["stuck"] = ", ".join(stuck[:NAMED_MAX])
    if status is not None:
        score = tasks.oom_score(stat.pid)
        facts["user"] = f"{accounts.user(status.uid)} ({status.uid})"
        facts["memory"] = (
            f"{size(status.rss or 0)} RSS, {size(status.anonymous or 0)} its own, "
            f"{size(status.swapped or 0)} in swap; OOM score {'?' if score is None else score}"
        )
        if status.tracer:
            facts["traced"] = f"by {status.tracer}"
    return facts


def _commands(found: Sequence[tasks.Stat]) -> Iterator[str]:
    """Yield the command lines, each after its pid: a part that is not followed tells who hangs."""
    yield "Command lines; a process that does not answer is stuck, and ends this list:\n"
    calm_first = sorted(found, key=lambda stat: stat.state == "D")
    for stat in calm_first[:COMMANDS_MAX]:
        if stat.kernel:
            continue
        yield f"asking {stat.pid} ({escape_line(stat.name)}) ...\n"
        line = tasks.command_line(stat.pid)
        program = tasks.program(stat.pid)
        yield from parts(
            f"  command   {_shown(line)}\n"
            + (f"  program   {_shown(program)}\n" if program else "")
        )
    yield from left_out(len(found) - COMMANDS_MAX, "command lines")


def _shown(text: str | None) -> str:
    return "may not be read" if text is None else escape_line(text) or "is empty"
