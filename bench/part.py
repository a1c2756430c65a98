"""What a part of the bench is: a table, its raw figures, and the aims they are judged by."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from bench import processes
from bench.client import SkippedError
from bench.doors import Server

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Aim:
    """What was hoped for, what was found, and whether that is enough."""

    text: str
    found: str
    met: bool


@dataclass(slots=True)
class Part:
    """One table: `figures` are its numbers by name, for the picture and for other programs."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def more(value: float) -> str:
    """Return how many times: two digits, or all before the point."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


@contextmanager
def unchanged(part: Part, door: Server) -> Iterator[None]:
    """Say so when a process of the door did not live through what was done to it."""
    before = processes.family(door.pid)
    roles = {pid: processes.role(pid) for pid in before}
    yield
    lost = sorted(roles[pid] for pid in before.keys() - processes.family(door.pid).keys())
    if lost:
        part.notes.append(f"did not live through it: {', '.join(lost)}")


def two_cores() -> None:
    """Need them. SkippedError where there is one."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SkippedError("a server on one core and its client on another need two cores")
