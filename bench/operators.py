"""The parts that operators feel: commands over ssh, triage, idle sessions.

Whoever is compared is measured in turns (A B A B); what is told is of all turns together.
"""

import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from bench import doors, processes, ssh
from bench.client import SkippedError
from bench.doors import Server
from bench.part import MIB, Aim, Part, more, percentile, unchanged
from bench.ssh import Login
from panicdoor.commands.snapshot import WAIT_S

ROUNDS: Final = 5
SSH_TURN: Final = 10  # commands a turn
TRIAGE_TURN: Final = 3
CROWDS: Final = (100, 1_000, 10_000)  # processes on the machine
HELD: Final = 16  # sessions: the door takes as many of one principal
SETTLE: Final = 1.0  # s

CHEAP: Final = "clock"  # looks at the host, hardly works: beside `true`, which does neither
COMMANDS: Final = ("ping", CHEAP, "memory", "triage")
AIM_COMMAND: Final = 3
AIM_TRIAGE: Final = 1.0

SSHDS: Final = {"sshd": False, "sshd with PAM": True}
"""Our peers, and whether they ask PAM, as Debian has it."""


@dataclass(slots=True)
class Cost:
    """What one thing took, again and again: wall time of each, CPU time of each turn, in ms."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, run: Callable[[], float], meter: Callable[[], float], count: int) -> None:
        """Run it `count` times more; `meter` tells the CPU time so far."""
        before = meter()
        self.wall += [run() for _ in range(count)]
        self.cpu.append((meter() - before) / count)


def _cells(cost: Cost) -> tuple[str, ...]:
    walls = percentile(cost.wall, 50), percentile(cost.wall, 95)
    return (*(f"{wall:.1f}" for wall in walls), f"{median(cost.cpu):.1f}")


def _figures(name: str, cost: Cost) -> dict[str, float]:
    return {
        f"{name} p50 ms": percentile(cost.wall, 50),
        f"{name} p95 ms": percentile(cost.wall, 95),
        f"{name} cpu ms": median(cost.cpu),
    }


def _cpu_ratio(one: Cost, other: Cost) -> float:
    return median(a / b for a, b in zip(one.cpu, other.cpu, strict=True))


# A command over ssh


@dataclass(frozen=True, slots=True)
class _Subject:
    """A command at a server, whose CPU time `meter` tells."""

    who: str
    words: str
    login: Login
    meter: Callable[[], float]


def _subjects(stack: ExitStack, part: Part, key: Path) -> dict[str, _Subject]:
    """Start the door and its peers; name what is compared."""
    door = stack.enter_context(doors.panicdoor(ssh.public(key)))
    stack.enter_context(unchanged(part, door))
    meter = stack.enter_context(processes.metered(door.pid))
    login = ssh.at_door(door, key)
    found = {f"panicdoor {words}": _Subject("panicdoor", words, login, meter) for words in COMMANDS}
    for name, pam in SSHDS.items():
        with ExitStack() as once:
            try:
                peer = once.enter_context(doors.sshd(ssh.public(key), pam))
                meter = once.enter_context(processes.metered(peer.pid))
                login = ssh.at_sshd(peer, key)
                ssh.run(login, "true")
            except SkippedError as reason:
                part.notes.append(f"skipped: {name}: {reason}")
                continue
            who = f"{peer.name}, {'as Debian has it' if pam else 'UsePAM no'}"
            found[name] = _Subject(who, "true", login, meter)
            stack.push(once.pop_all())
    return found


def command() -> Part:
    """Measure a whole command over ssh, login included, and what it costs the server."""
    columns = ("who", "command", "p50 ms", "p95 ms", "server's CPU ms")
    part = Part("A command over ssh", (*columns, "x true, UsePAM no", "x true, with PAM"))
    with ExitStack() as stack:
        key = stack.enter_context(ssh.key())
        subjects = _subjects(stack, part, key)
        costs = {name: Cost() for name in subjects}
        for _ in range(ROUNDS):
            for name, subject in subjects.items():
                run = partial(ssh.run, subject.login, subject.words)
                costs[name].turn(run, subject.meter, SSH_TURN)
    for name, subject in subjects.items():
        ratios = {peer: _cpu_ratio(costs[name], costs[peer]) for peer in SSHDS if peer in subjects}
        part.figures |= _figures(name, costs[name])
        part.figures |= {f"{name} cpu to {peer}": ratio for peer, ratio in ratios.items()}
        cells = (f"{ratios[peer]:.2f}" if peer in ratios else "" for peer in SSHDS)
        part.rows.append((subject.who, subject.words, *_cells(costs[name]), *cells))
    part.notes += [
        "p50 and p95: the client's whole process; OpenSSH's, the same for all",
        "the server's CPU: of all its processes, those that ended included, as the kernel counts "
        "in a control group of its own (cpuacct.usage, or cpu.stat of version 2); medians of turns",
        "x true: times the CPU of sshd for `true`, whose login shell runs it",
    ]
    _command_aims(part)
    return part


def _command_aims(part: Part) -> None:
    for peer in SSHDS:
        key = f"panicdoor {CHEAP} cpu to {peer}"
        if key in part.figures:
            ratio = part.figures[key]
            text = f"server's CPU of `{CHEAP}` over ssh at most 1/{AIM_COMMAND} of `true` by {peer}"
            part.aims.append(Aim(text, f"1/{1 / ratio:.1f}", ratio * AIM_COMMAND <= 1))


# triage


def _children_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def _run(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return (time.perf_counter() - began) * 1000


def triage() -> Part:
    """Measure triage beside ps and top, as the processes on the machine become more."""
    columns = ("processes", "what", "p50 ms", "p95 ms", "CPU ms", "x p50 of ps", "x CPU of ps")
    part = Part("triage beside ps and top", columns)
    tools = {
        "ps aux": [doors.installed("ps", "procps"), "aux"],
        "top -bn1": [doors.installed("top", "procps"), "-bn1"],
    }
    with ExitStack() as stack:
        key = stack.enter_context(ssh.key())
        door = stack.enter_context(doors.panicdoor(ssh.public(key)))
        stack.enter_context(unchanged(part, door))
        meter = stack.enter_context(processes.metered(door.pid))
        [inside] = stack.enter_context(ssh.sessions(ssh.at_door(door, key)))
        measured = []
        for crowd in CROWDS:
            try:
                with ssh.sleepers(max(0, crowd - processes.count() - 1)):
                    _triage_rows(part, crowd, partial(inside.run, "triage"), meter, tools)
            except SkippedError as reason:
                part.notes.append(f"skipped: {crowd:,} processes: {reason}")
                continue
            measured.append(crowd)
    part.notes += [
        "triage: in an open ssh session, from the request until its exit code; its CPU is that of "
        "all the door's processes; ps and top: the whole process, what it prints into a pipe",
        f"where the processor was busy, as it is here, triage looks twice, {WAIT_S} s apart: its "
        "CPU time does not wait",
    ]
    _triage_aims(part, measured)
    return part


def _triage_rows(
    part: Part,
    crowd: int,
    run: Callable[[], float],
    meter: Callable[[], float],
    tools: dict[str, list[str]],
) -> None:
    costs = {"panicdoor triage": Cost()} | {name: Cost() for name in tools}
    there = processes.count()
    for _ in range(ROUNDS):
        costs["panicdoor triage"].turn(run, meter, TRIAGE_TURN)
        for name, argv in tools.items():
            costs[name].turn(partial(_run, argv), _children_ms, TRIAGE_TURN)
    other = costs["ps aux"]
    for name, cost in costs.items():
        ratio = percentile(cost.wall, 50) / percentile(other.wall, 50)
        of_cpu = _cpu_ratio(cost, other)
        part.rows.append((f"{there:,}", name, *_cells(cost), more(ratio), more(of_cpu)))
        part.figures |= _figures(f"{name} {crowd}", cost) | {f"processes at {crowd}": there}
        part.figures |= {f"{name} {crowd} to ps": ratio, f"{name} {crowd} cpu to ps": of_cpu}


def _triage_aims(part: Part, measured: list[int]) -> None:
    if not measured:
        return
    for what, key in (
        ("triage no slower than", "to ps"),
        ("CPU of triage at most that of", "cpu to ps"),
    ):
        ratios = {crowd: part.figures[f"panicdoor triage {crowd} {key}"] for crowd in measured}
        found = ", ".join(
            f"{more(ratio)} times at {part.figures[f'processes at {crowd}']:,.0f}"
            for crowd, ratio in ratios.items()
        )
        met = all(ratio <= AIM_TRIAGE for ratio in ratios.values()) and max(measured) == CROWDS[-1]
        part.aims.append(Aim(f"{what} `ps aux`, up to {CROWDS[-1]:,} processes", found, met))


# Sessions that only stay


def _held_row(
    part: Part, name: str, who: str, server: Server, login: Login, ours: Callable[[int], bool]
) -> None:
    """Measure one server idle and with HELD sessions; `ours` says which processes are counted."""

    def memory() -> dict[int, processes.Memory]:
        return {pid: held for pid, held in processes.memory(server.pid).items() if ours(pid)}

    with ssh.sessions(login) as [first]:
        first.type()  # what the first one needs, the others find there
    time.sleep(SETTLE)
    idle = memory()
    with ssh.sessions(login, HELD) as held:
        for session in held:
            session.type()
        time.sleep(SETTLE)
        full = memory()
    before, then = (sum(m.pss for m in found.values()) for found in (idle, full))
    own = sum(m.own for m in full.values()) - sum(m.own for m in idle.values())
    each, owned = (then - before) / HELD / 1024, own / HELD / 1024
    counts = f"{len(full) - len(idle)}", f"{before / MIB:.1f}", f"{then / MIB:.1f}"
    part.figures |= {f"{name} KiB each": each, f"{name} own KiB each": owned}
    times = more(owned / part.figures["panicdoor own KiB each"])
    part.rows.append((who, *counts, f"{each:,.0f}", f"{owned:,.0f}", times))


def sessions() -> Part:
    """Measure the memory of operators who have logged in and do nothing."""
    columns = ("who", "processes more", "idle MiB", "MiB then", "KiB each", "no file's", "x door")
    part = Part(f"{HELD} idle sessions over ssh, each with a terminal (PSS)", columns)
    with ssh.key() as key:
        with doors.panicdoor(ssh.public(key)) as door, unchanged(part, door):
            login = ssh.at_door(door, key)
            try:
                _held_row(part, "panicdoor", "panicdoor", door, login, lambda _: True)
            except PermissionError as error:
                raise SkippedError(
                    "the door's processes may be looked into only by root"
                ) from error
        for name, pam in SSHDS.items():
            try:
                with doors.sshd(ssh.public(key), pam) as peer:
                    who = f"{peer.name}, {'as Debian has it' if pam else 'UsePAM no'}"
                    login = ssh.at_sshd(peer, key)
                    _held_row(part, name, who, peer, login, _is_sshd)
            except SkippedError as reason:
                part.notes.append(f"skipped: {name}: {reason}")
    part.notes += [
        "of OpenSSH: the processes of sshd, without the shells in the sessions",
        "no file's, and x door: the part of it that no file backs: the rest is shared with whoever "
        "else runs the same; what the kernel keeps for a session is in none",
    ]
    return part


def _is_sshd(pid: int) -> bool:
    return processes.name(pid).startswith("sshd")
