"""One process in detail, and command lines, which may never come.

Reading a process's command line may wait for ever (see kernel.tasks). The observer is one process
and has no second thread, so everything else is said first, in parts of its own, then the pid whose
command line comes next, and only then is it read. Whoever sees no more knows who is stuck.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from panicdoor.commands.registry import parts
from panicdoor.commands.table import (
    Json,
    document,
    duration,
    left_out,
    lines_as_parts,
    percent,
    size,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, tasks
from panicdoor.printable import escape_line

STUCK_MAX: Final = 5  # threads that are named
COMMANDS_MAX: Final = 10  # command lines that are read
INTERVAL_S: Final = 0.2  # seconds in which its processor time is measured


def one(pid: int, json: bool) -> Iterator[str]:
    """Yield what there is to say of one process. Raises CommandError where there is none."""
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
        yield from document({"process": said})
        return
    yield f"{pid} ({escape_line(stat.name)})\n"
    yield from lines_as_parts(f"  {name:<9} {escape_line(text)}\n" for name, text in facts.items())
    yield from command_lines([stat])


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
        facts["stuck"] = ", ".join(stuck[:STUCK_MAX])
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


def command_lines(found: Sequence[tasks.Stat]) -> Iterator[str]:
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
