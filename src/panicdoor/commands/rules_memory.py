"""Rules about memory, tasks and processors: see commands.findings.

A rule is added by writing one more function. Thresholds that a command has too are that command's
own, so that `triage` and the command agree. The order is that of findings which are equally bad.
"""

import heapq
import os
from collections.abc import Iterator, Sequence
from typing import Final

from panicdoor.commands.findings import Action, Finding, Severity, rule
from panicdoor.commands.memory import AVAILABLE_LOW, GROUP_HIGH, SLAB_HIGH, SWAP_HIGH, SWAPPING
from panicdoor.commands.memory import Report as Memory
from panicdoor.commands.pressure import LOAD_HIGH, NORMAL, STOLEN_HIGH
from panicdoor.commands.pressure import Report as Pressure
from panicdoor.commands.processes import DEAD_HIGH, FORKS_HIGH, TASKS_HIGH, Process
from panicdoor.commands.processes import Report as Processes
from panicdoor.commands.sections import Group, Tasks
from panicdoor.commands.table import percent, size
from panicdoor.kernel import accounts, cgroups
from panicdoor.kernel.tasks import stat, waits_in

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN

AVAILABLE_CRITICAL: Final = 4.0  # percent; below this the kernel reclaims all the time
STALLED_CRITICAL: Final = 10.0  # percent of 10 s; systemd-oomd kills at 60 % over 30 s
SWAP_MATTERS: Final = 20.0  # percent available, above which a full swap is only old
GROUP_BROKEN: Final = 98.0  # percent of a group's limit that is needed
TASKS_CRITICAL: Final = 95.0  # percent of all tasks that may be
NAMED_MAX: Final = 5  # findings of one rule
INIT: Final = 1  # the pid of whoever is the parent of orphans

OOM: Final = Action("oom --dry-run", "shows whom the kernel would kill", "-")

_GREGG: Final = "Gregg, Systems Performance, 7.5"
_PSI: Final = "Documentation/accounting/psi.rst"
_GROUPS: Final = "Documentation/admin-guide/cgroup-v2.rst"


@rule("MEMORY", normal=f"more than {AVAILABLE_LOW:.0f} % available", source=f"{_GREGG}; free(1)")
def memory_low(memory: Memory, processes: Processes | None = None) -> Iterator[Finding]:
    """Little memory is available."""
    if memory.available >= AVAILABLE_LOW:
        return
    swap = f"swap {percent(_swap(memory))} full" if memory.memory.swap_total else "no swap"
    shown = processes.shown if processes else ()
    largest = heapq.nlargest(2, shown, key=lambda process: process.stat.rss)
    named = [f"{p.stat.name} (pid {p.stat.pid}) has {size(p.stat.rss)}" for p in largest]
    yield Finding(
        CRITICAL if memory.available < AVAILABLE_CRITICAL else WARN,
        f"{size(memory.memory.available)} of {size(memory.memory.total)} available, "
        + "; ".join([swap, *named]),
        ("memory",),
        actions=(*map(_freeze, largest[:1]), OOM),
    )


def _freeze(process: Process) -> Action:
    pid = process.stat.pid
    return Action(f"freeze {pid}", "growth stops, frees nothing yet", f"thaw {pid}")


def _swap(report: Memory) -> float:
    total = report.memory.swap_total
    return 100 * report.swap_used / total if total else 0.0


@rule(
    "MEMORY",
    normal=f"needs less than {GROUP_HIGH:.0f} % of its limit",
    source=f"{_GROUPS}: memory.max, memory.stat",
)
def group_memory(groups: Sequence[Group]) -> Iterator[Finding]:
    """A control group needs nearly all the memory that it may have; file cache does not count."""
    for group in groups[:NAMED_MAX]:
        limit = group.limit
        if group.share < GROUP_HIGH:
            continue
        hit = f", and hit that limit {limit.hits} times" if limit.hits else ""
        killed = f"; {limit.kills} of its processes were killed for it" if limit.kills else ""
        yield Finding(
            BROKEN if group.share >= GROUP_BROKEN else WARN,
            f"group {limit.group} needs {size(group.needed)} of its {size(limit.limit)}{hit}"
            f"{killed}",
            ("memory",),
            key=_key(limit),
        )


def _key(limit: cgroups.Limit) -> str:
    """Return what a group's findings are called: systemd calls a service's group as its unit."""
    return f"group {limit.group.rpartition('/')[2]}"


@rule(
    "MEMORY",
    normal=f"all tasks wait less than {NORMAL['memory', 'full']:.0f} % of 10 s",
    source=f"{_PSI}; oomd.conf(5)",
)
def memory_stalled(pressure: Pressure) -> Iterator[Finding]:
    """All tasks wait for memory. A host that does not move at all may show little of it."""
    found = pressure.resources["memory"]
    share = found.full.last_10 if found and found.full else 0.0
    if share > NORMAL["memory", "full"]:
        yield Finding(
            CRITICAL if share >= STALLED_CRITICAL else WARN,
            f"all tasks waited for memory {percent(share)} of the last 10 s (normal below "
            f"{NORMAL['memory', 'full']:.0f} %)",
            ("pressure", "memory"),
            ("memory_low", "group_memory", "swapping"),
        )


@rule("MEMORY", normal="0", source=f"{_GREGG}: swap in use is normal, swap that moves is not")
def swapping(memory: Memory) -> Iterator[Finding]:
    """Memory goes to swap and back."""
    moved = memory.swapped_in + memory.swapped_out
    if moved > SWAPPING:
        yield Finding(
            WARN,
            f"{size(moved)}/s go in and out of swap (normal 0)",
            ("memory",),
            ("memory_low", "group_memory"),
        )


@rule("MEMORY", normal=f"below {SWAP_HIGH:.0f} %", source=_GREGG)
def swap_full(memory: Memory) -> Iterator[Finding]:
    """Swap is full, and memory is needed."""
    share = _swap(memory)
    if share > SWAP_HIGH and memory.available < SWAP_MATTERS:
        yield Finding(WARN, f"swap is {percent(share)} full", ("memory",), ("memory_low",))


@rule("MEMORY", normal=f"below {SLAB_HIGH:.0f} %", source="SUnreclaim: proc_meminfo(5)")
def kernel_memory(memory: Memory) -> Iterator[Finding]:
    """The kernel itself holds much memory."""
    now = memory.memory
    held = now.unreclaimable + now.page_tables + now.kernel_stacks
    share = 100 * held / now.total if now.total else 0.0
    if share > SLAB_HIGH:
        text = f"the kernel itself holds {size(held)} ({percent(share)}) for good"
        yield Finding(WARN, text, ("memory",))


@rule(
    "TASKS",
    normal=f"below {TASKS_HIGH:.0f} %",
    source="Documentation/admin-guide/sysctl/kernel.rst: pid_max, threads-max",
)
def tasks_full(tasks: Tasks, processes: Processes | None = None) -> Iterator[Finding]:
    """The host has nearly as many tasks as it may have: then nothing can be started."""
    share = 100 * tasks.used / tasks.most if tasks.most else 0.0
    if share >= TASKS_HIGH:
        yield Finding(
            CRITICAL if share >= TASKS_CRITICAL else WARN,
            f"{tasks.used} tasks of {tasks.most} that may be ({percent(share)}){_users(processes)}",
            ("processes",),
            ("forks_many",),
        )


def _users(running: Processes | None) -> str:
    if running is None or not running.users:
        return ""
    names = accounts.names("user")
    uid, count = max(running.users.items(), key=lambda user: user[1])
    return f"; {count} tasks are of {names.get(uid, str(uid))}"


@rule("TASKS", normal=f"below {TASKS_HIGH:.0f} % of its limit", source=f"{_GROUPS}: pids.max")
def group_tasks(processes: Processes) -> Iterator[Finding]:
    """A control group has nearly as many tasks as it may have."""
    for limit in processes.groups[:NAMED_MAX]:
        if limit.used >= limit.limit:
            refused = f"; {limit.hits} forks were refused" if limit.hits else ""
            yield Finding(
                BROKEN,
                f"group {limit.group} has all the {limit.limit} tasks that it may have: it can "
                f"start nothing{refused}",
                ("processes",),
                ("forks_many",),
                key=_key(limit),
            )
        elif limit.share >= TASKS_HIGH:
            yield Finding(
                WARN,
                f"group {limit.group} has {limit.used} of its {limit.limit} tasks",
                ("processes",),
            )


@rule("TASKS", normal="none", source="state D: proc_pid_stat(5); kernel/hung_task.c")
def stuck(processes: Processes) -> Iterator[Finding]:
    """Processes wait in the kernel, and cannot be killed."""
    if not processes.stuck:
        return
    named = ", ".join(f"{one.name} (pid {one.pid})" for one in processes.stuck[:3])
    where = waits_in(processes.stuck[0].pid)
    hang = "hangs" if processes.stuck_count == 1 else "hang"
    yield Finding(
        WARN,
        f"{processes.stuck_count} {hang} in the kernel and cannot be killed (D): {named}"
        + (f", in {where}" if where else ""),
        (f"processes {processes.stuck[0].pid}",),
        ("disk_stuck", "kernel remote disk", "kernel disk error", "read_only", "memory_stalled"),
    )


@rule("TASKS", normal=f"below {DEAD_HIGH}", source="wait(2): zombies")
def uncollected(processes: Processes) -> Iterator[Finding]:
    """Dead processes stay, because their parents do not collect them."""
    count = sum(processes.uncollected.values())
    if count >= DEAD_HIGH:
        pid = max(processes.uncollected, key=lambda one: processes.uncollected[one])
        parent = stat(pid)
        yield Finding(
            WARN,
            f"{count} dead processes (Z) are not collected, most by "
            f"{parent.name if parent else '?'} (pid {pid})",
            (f"processes {pid}",),
        )


@rule("TASKS", normal=f"below {FORKS_HIGH:.0f}/s", source="processes in proc_stat(5)")
def forks_many(tasks: Tasks, processes: Processes | None = None) -> Iterator[Finding]:
    """Processes are started at a rate that nothing useful has: a fork bomb, or a loop."""
    if tasks.forks > FORKS_HIGH:
        text = f"{tasks.forks:.0f} new processes a second{_users(processes)}"
        yield Finding(WARN, text, ("processes",))


@rule(
    "CPU",
    normal=f"some task waits less than {NORMAL['cpu', 'some']:.0f} % of 10 s",
    source=f"{_PSI}; Gregg, the USE method: saturation before utilisation",
)
def cpu_waits(pressure: Pressure, processes: Processes | None = None) -> Iterator[Finding]:
    """Tasks wait for a processor."""
    found = pressure.resources["cpu"]
    share = found.some.last_10 if found and found.some else 0.0
    if share > NORMAL["cpu", "some"]:
        shown = (p for p in processes.shown if not _ours(p)) if processes else ()
        busiest = max(shown, key=lambda p: p.cpu, default=None)
        named = ""
        if busiest is not None and busiest.cpu > 0:
            named = f"; {busiest.stat.name} (pid {busiest.stat.pid}) takes {percent(busiest.cpu)}"
        yield Finding(
            WARN,
            f"some task waited for a processor {percent(share)} of the last 10 s{named}",
            ("processes", "pressure"),
            ("forks_many",),
        )


def _ours(process: Process) -> bool:
    """Return whether a process is of this door: it is at work because somebody looks."""
    return process.stat.parent == os.getppid() > INIT


@rule("CPU", normal=f"below {LOAD_HIGH:.0f} a processor", source="Gregg, 60 seconds: uptime")
def load_high(pressure: Pressure) -> Iterator[Finding]:
    """Many run, or wait for a disk, at once."""
    most = LOAD_HIGH * pressure.processors
    if pressure.load and pressure.load.last_1_min > most:
        yield Finding(
            WARN,
            f"load {pressure.load.last_1_min:.1f} on {pressure.processors} processors (normal "
            f"below {most:.0f})",
            ("pressure",),
            ("cpu_waits", "stuck", "disk_stuck", "io_waits", "memory_stalled", "forks_many"),
        )


@rule("CPU", normal=f"below {STOLEN_HIGH:.0f} %", source="steal in proc_stat(5)")
def stolen(pressure: Pressure) -> Iterator[Finding]:
    """Other machines on the same hardware take the processors' time."""
    share = pressure.shares.get("stolen", 0.0)
    if share > STOLEN_HIGH:
        yield Finding(WARN, f"{percent(share)} of the processors goes to other machines")
