"""The part about strangers who keep ssh busy: what all others see of them, beside sshd."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Final

from bench import client, doors, processes, ssh
from bench.client import SkippedError, Timing
from bench.doors import Server
from bench.operators import CHEAP
from bench.part import Part, more, percentile, two_cores, unchanged
from bench.ssh import Login

ROUNDS: Final = 3
SECONDS: Final = 3.0  # of asking one after another, a turn
TURN: Final = 5_000
KNOCKERS: Final = 512  # at once: more than the door or sshd has room for before they log in
NETWORKS: Final = 1_024
SETTLE: Final = 1.0  # s after they have come
RECOVER: Final = 4.0  # s after they have gone, so that those are not measured who ask then
PATIENCE: Final = 10.0  # s that an operator waits

DOCUMENTATION: Final = b"\0"
STRANGERS: Final = {"nowhere": 0, "one address": 1, f"{NETWORKS:,} networks": NETWORKS}
"""Where they come from, and from how many addresses."""


def _come_in(login: Login, words: str) -> Timing:
    """Log in once and run a command."""
    try:
        took = ssh.run(login, words, patience=PATIENCE)
    except SkippedError:
        return Timing((), 1, 0)
    return Timing((took,), 0, took / 1000)


Ask = Callable[[], Timing]


def _measure(server: Server, asks: dict[str, Ask]) -> tuple[dict[str, list[Timing]], list[float]]:
    """Ask in turns without strangers, and with each of STRANGERS; return also packets a second."""
    runs: dict[str, list[Timing]] = {f"{a}, {s}": [] for a in asks for s in STRANGERS}
    rates: dict[str, list[float]] = {strangers: [] for strangers in STRANGERS}
    with processes.one_core(server.pid):
        for _ in range(ROUNDS):
            for strangers, sources in STRANGERS.items():
                with ExitStack() as stack:
                    done = {"packets": 0.0, "seconds": 1.0}
                    if sources:
                        done = stack.enter_context(ssh.knockers(server.port, KNOCKERS, sources))
                        time.sleep(SETTLE)
                    for name, ask in asks.items():
                        runs[f"{name}, {strangers}"].append(ask())
                if sources:
                    time.sleep(RECOVER)
                rates[strangers].append(done["packets"] / done["seconds"])
    return runs, [median(found) for found in rates.values()]


def _rows(part: Part, name: str, server: Server, asks: dict[str, Ask]) -> None:
    """Measure one server, and add a row for each thing that is asked and each kind of strangers."""
    runs, rates = _measure(server, asks)
    for ask in asks:
        quiet = 0.0
        for strangers, rate in zip(STRANGERS, rates, strict=True):
            found = runs[f"{ask}, {strangers}"]
            times = [ms for run in found for ms in run.ms]
            failed = sum(run.failed for run in found)
            asked = failed + len(times)
            key = f"{name} {ask}, strangers from {strangers}"
            part.figures[f"{key} not answered"] = failed / asked
            cells = ["-", "-", "-"]
            if times:
                p50, p99 = percentile(times, 50), percentile(times, 99)
                quiet = quiet or p99
                cells = [f"{p50:.3f}", f"{p99:.3f}", more(p99 / quiet)]
                part.figures |= {f"{key} p50 ms": p50, f"{key} p99 ms": p99}
            counts = f"{rate:,.0f}", f"{asked:,}", f"{failed:,}"
            part.rows.append((server.name, ask, strangers, *counts, *cells))


def flood() -> Part:
    """Measure how others are answered while strangers keep ssh busy, at the door and at sshd."""
    columns = ("who", "what", "strangers from", "packets a second", "asked", "not answered")
    part = Part("While strangers keep ssh busy", (*columns, "p50 ms", "p99 ms", "x p99"))
    two_cores()
    with ssh.key() as key:
        with doors.panicdoor(ssh.public(key)) as door, unchanged(part, door):
            whole = client.reference(door.port, DOCUMENTATION)
            ask = partial(client.connections, door.port, whole, TURN, seconds=SECONDS)
            come_in = partial(_come_in, ssh.at_door(door, key), CHEAP)
            _rows(part, "panicdoor", door, {"documentation": ask, f"ssh, {CHEAP}": come_in})
        try:
            with doors.sshd(ssh.public(key)) as peer:
                banner = client.reference(peer.port, b"")
                ask = partial(client.connections, peer.port, banner, TURN, seconds=SECONDS)
                come_in = partial(_come_in, ssh.at_sshd(peer, key), "true")
                _rows(part, "sshd", peer, {"banner": ask, "ssh, true": come_in})
        except SkippedError as reason:
            part.notes.append(f"skipped: {reason}")
    part.notes += [
        f"strangers: {KNOCKERS} at once, who do not log in and send the smallest packets there "
        "are, as fast as they are taken; whoever is cut off comes again",
        "the server is on one core, clients and strangers on another, where strangers give way",
        f"ssh: an operator's whole command, login included, at most {PATIENCE:.0f} s",
        "p50 and p99: of what was answered; x p99: times the p99 without strangers",
    ]
    return part
