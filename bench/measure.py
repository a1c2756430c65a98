"""The parts that strangers feel: how fast, how many, how much memory. Each returns a Part.

Whoever is compared is measured in turns (A B A B) and compared turn by turn, so that what the
machine does meanwhile falls on both; what is told is the median of the turns.
"""

import time
from contextlib import ExitStack
from statistics import median
from typing import Final

from bench import client, doors, processes
from bench.client import FIRST_BYTE, Answer, SkippedError, Timing
from bench.doors import Server
from bench.part import MIB, Aim, Part, more, percentile, two_cores, unchanged

ROUNDS: Final = 5
DOOR_TURN: Final = 200  # connections a turn; with ROUNDS the 1,000 of the aim
PEER_TURNS: Final = {"telnetlib3": 200, "dropbear": 100, "sshd": 50}
AT_ONCE: Final = 100
CROWD_TURN: Final = 1_000
RATE_TURN: Final = 20_000
RATE_SECONDS: Final = 4.0
RATE_ROUNDS: Final = 3
FLOOD_SECONDS: Final = 1.5
NETWORKS: Final = 8_192  # /24s that datagrams claim to come from, below 127.33/16
HELD: Final = 2_000
SETTLE: Final = 2.5  # s; telnetlib3 speaks only after 1.5

AIM_BANNER: Final = 20
AIM_FLOOR: Final = 5
AIM_CONNECTIONS: Final = 10_000
AIM_DATAGRAMS: Final = 100_000
AIM_CONNECTION_BYTES: Final = 4_096
AIM_PSS: Final = 96 * MIB  # with the process that speaks ssh

DOCUMENTATION: Final = b"\0"
FLOODS: Final = {
    "one zero byte, one address": (1, (b"\0",)),
    f"one zero byte, {NETWORKS:,} networks": (NETWORKS, (b"\0",)),
    f"a mix, {NETWORKS:,} networks": (
        NETWORKS,
        (b"\0", bytes(400), b"\0", b"\x01ping", b"\0", bytes(400), b"\0", b"\xff junk"),
    ),
}


def _timed(runs: list[Timing], who: str) -> list[float]:
    """Return the times of all runs, unless connections failed that should not have."""
    times = [ms for run in runs for ms in run.ms]
    failed = sum(run.failed for run in runs)
    if not times or failed:
        raise SkippedError(
            f"{who}: {failed} of {failed + len(times)} connections were not answered"
        )
    return times


def _in_turns(
    subjects: dict[str, tuple[Server, Answer, int]], rounds: int, at_once: int
) -> dict[str, list[Timing]]:
    runs: dict[str, list[Timing]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (server, answer, count) in subjects.items():
            runs[name].append(
                client.connections(server.port, answer, count, at_once=at_once, seconds=5)
            )
    return runs


def _ratio(runs: dict[str, list[Timing]], name: str, to: str) -> float:
    """Return the median, over the turns, of one's p50 in units of another's."""
    pairs = zip(runs[name], runs[to], strict=True)
    return median(percentile([*a.ms], 50) / percentile([*b.ms], 50) for a, b in pairs)


def _latency_rows(
    part: Part, runs: dict[str, list[Timing]], subjects: dict[str, tuple[str, str]], how: str
) -> None:
    """Add a row for each subject; `subjects` gives its title and what it was asked for."""
    for name, (title, what) in subjects.items():
        try:
            times = _timed(runs[name], title)
        except SkippedError as reason:
            part.notes.append(str(reason))
            continue
        p50, p99 = percentile(times, 50), percentile(times, 99)
        ratio = _ratio(runs, name, "panicdoor")
        part.rows.append((title, what, how, f"{p50:.3f}", f"{p99:.3f}", f"{more(ratio)}"))
        key = f"{name} {how}"
        part.figures |= {f"{key} p50 ms": p50, f"{key} p99 ms": p99, f"{key} to door": ratio}


def latency() -> Part:
    """Measure the time from connect to an answer, one after another and many at once."""
    part = Part("Time to an answer", ("who", "until", "connections", "p50 ms", "p99 ms", "x door"))
    with ExitStack() as stack:
        door, floor = stack.enter_context(doors.panicdoor()), stack.enter_context(doors.floor())
        stack.enter_context(unchanged(part, door))
        whole, ended = client.reference(door.port, DOCUMENTATION), client.reference(floor.port, b"")
        titles = {
            "panicdoor": ("panicdoor", f"whole documentation, {whole.need:,} bytes"),
            "floor": (floor.name, f"all its {ended.need:,} bytes"),
        }
        ours = {"panicdoor": (door, whole, DOOR_TURN), "floor": (floor, ended, DOOR_TURN)}
        subjects = dict(ours)
        for name, start in doors.PEERS.items():
            try:
                peer = stack.enter_context(start())
            except SkippedError as reason:
                part.notes.append(f"skipped: {reason}")
                continue
            subjects[name] = (peer, FIRST_BYTE, PEER_TURNS[name])
            titles[name] = (peer.name, "first byte")
        runs = _in_turns(subjects, ROUNDS, 1)
        for name in ours:
            _timed(runs[name], name)
        _latency_rows(part, runs, titles, "one by one")
        crowd = {name: (server, answer, CROWD_TURN) for name, (server, answer, _) in ours.items()}
        _latency_rows(
            part,
            _in_turns(crowd, RATE_ROUNDS, AT_ONCE),
            {name: titles[name] for name in ours},
            f"{AT_ONCE} at once",
        )
        _latency_aims(part)
    return part


def _latency_aims(part: Part) -> None:
    if "sshd one by one to door" in part.figures:
        times = part.figures["sshd one by one to door"]
        text = f"documentation p50 at most 1/{AIM_BANNER} of the time to sshd's banner"
        part.aims.append(Aim(text, f"1/{times:.0f}", times >= AIM_BANNER))
    times = 1 / part.figures["floor one by one to door"]
    text = f"documentation p50 at most {AIM_FLOOR} times that of floor.c"
    part.aims.append(Aim(text, f"{times:.1f} times", times <= AIM_FLOOR))


def connections() -> Part:
    """Measure how many connections a second all the door's processes serve on one core."""
    part = Part("Connections on one core", ("who", "each", "a second", "x door"))
    two_cores()
    with doors.panicdoor() as door, doors.floor() as floor, unchanged(part, door):
        answers = {
            door: client.reference(door.port, DOCUMENTATION),
            floor: client.reference(floor.port, b""),
        }
        rates: dict[Server, list[float]] = {door: [], floor: []}
        for _ in range(RATE_ROUNDS):
            for server, answer in answers.items():
                with processes.one_core(server.pid):
                    run = client.connections(
                        server.port, answer, RATE_TURN, at_once=AT_ONCE, seconds=RATE_SECONDS
                    )
                rates[server].append(len(_timed([run], server.name)) / run.seconds)
    for server, name in ((door, "panicdoor"), (floor, "floor")):
        rate = median(rates[server])
        ratio = median(a / b for a, b in zip(rates[server], rates[door], strict=True))
        what = f"{answers[server].need:,} bytes, {AT_ONCE} at once"
        part.rows.append((server.name, what, f"{rate:,.0f}", more(ratio)))
        part.figures[f"{name} a second"] = rate
    rate = part.figures["panicdoor a second"]
    text = f"at least {AIM_CONNECTIONS:,} connections a second on one core"
    part.aims.append(Aim(text, f"{rate:,.0f}", rate >= AIM_CONNECTIONS))
    return part


def datagrams() -> Part:
    """Measure how many datagrams a second the door reads, to answer or refuse them, on one core."""
    columns = ("datagrams", "sent", "dropped by the kernel", "read", "answered", "read a second")
    part = Part("Datagrams on one core, in bursts of 64", columns)
    two_cores()
    slowest = float("inf")
    with doors.panicdoor() as door, unchanged(part, door), processes.one_core(door.pid):
        found: dict[str, list[client.Flood]] = {name: [] for name in FLOODS}
        for _ in range(RATE_ROUNDS):
            for name, (sources, payloads) in FLOODS.items():
                found[name].append(client.flood(door.port, FLOOD_SECONDS, sources, payloads))
    for name, runs in found.items():
        run = sorted(runs, key=lambda run: run.taken / run.seconds)[len(runs) // 2]
        rate = run.taken / run.seconds
        counts = (run.sent, run.dropped, run.taken, run.answered, rate)
        part.rows.append((name, *(f"{count:,.0f}" for count in counts)))
        part.figures[f"{name} a second"] = rate
        slowest = min(slowest, rate)
        if abs(run.sent - run.dropped - run.taken) > run.sent / 100:
            part.notes.append(f"{name}: sent is not dropped + read; others use udp here")
        if run.dropped < run.sent / 100:
            part.notes.append(f"{name}: hardly any were dropped, so the client was the limit")
    part.figures["slowest a second"] = slowest
    text = f"at least {AIM_DATAGRAMS:,} datagrams a second answered or refused"
    part.aims.append(Aim(text, f"{slowest:,.0f} (slowest row)", slowest >= AIM_DATAGRAMS))
    return part


def _memory_row(part: Part, name: str, server: Server, answer: Answer) -> None:
    """Measure one server idle and with HELD connections, and add its row.

    What a connection adds is told without pages of files: their share changes with whoever else
    on the machine runs Python or ssh.
    """
    client.connections(server.port, answer, DOOR_TURN // 10)
    time.sleep(SETTLE)
    idle = processes.memory(server.pid)
    with client.held(server.port, answer, HELD, SETTLE) as admitted:
        full = processes.memory(server.pid)
    if not admitted:
        raise SkippedError(f"{server.name} answered none of {HELD:,} connections")
    own = sum(m.own for m in full.values()) - sum(m.own for m in idle.values())
    each = own / admitted / 1024
    before, then = (sum(m.pss for m in found.values()) / MIB for found in (idle, full))
    counts = (f"{len(idle)}", f"{before:.1f}", f"{admitted:,}", f"{then:.1f}", f"{each:,.1f}")
    part.rows.append((server.name, *counts))
    part.figures |= {
        f"{name} idle MiB": before,
        f"{name} admitted": admitted,
        f"{name} KiB each": each,
    }
    if name == "panicdoor":
        parts = sorted((processes.role(pid), found.pss / MIB) for pid, found in idle.items())
        roles = ", ".join(f"{role} {size:.1f}" for role, size in parts)
        part.notes.append(f"the door's processes, MiB: {roles}")


def memory() -> Part:
    """Measure PSS of all processes together, and what each idle connection adds to it."""
    held = f"held of {HELD:,}"
    columns = ("who", "processes", "idle MiB", held, "MiB then", "KiB a connection")
    part = Part("Memory (PSS, all processes together)", columns)
    with doors.panicdoor() as door, unchanged(part, door):
        answer = client.reference(door.port, DOCUMENTATION)
        try:
            _memory_row(part, "panicdoor", door, answer)
        except PermissionError as error:
            raise SkippedError("the door's processes may be looked into only by root") from error
    for name, start in doors.PEERS.items():
        try:
            with start() as peer:
                _memory_row(part, name, peer, FIRST_BYTE)
        except SkippedError as reason:
            part.notes.append(f"skipped: {reason}")
    part.notes += [
        "a connection: what no file backs; what the kernel keeps for it is not in it, for anybody",
        "all together: of pages that other programs share, their share is not in it",
    ]
    each, idle = part.figures["panicdoor KiB each"], part.figures["panicdoor idle MiB"]
    enough = each * 1024 <= AIM_CONNECTION_BYTES and part.figures["panicdoor admitted"] == HELD
    text = f"at most {AIM_CONNECTION_BYTES // 1024} KiB an idle text connection, {HELD:,} held"
    part.aims.append(Aim(text, f"{each:.1f} KiB", enough))
    text = f"PSS of all processes at most {AIM_PSS // MIB} MiB"
    part.aims.append(Aim(text, f"{idle:.1f} MiB", idle * MIB <= AIM_PSS))
    return part
