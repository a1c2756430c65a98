"""How busy the host is, and how much time is lost by waiting: /proc/stat and /proc/pressure.

Pressure (Documentation/accounting/psi.rst) tells what load averages do not: of each resource,
`some` is the share of time in which at least one task waited, `full` that in which all did and
nothing was done. The kernel has it since 4.20, where it is built in and not switched off.
"""

import os
import re
from typing import Final, Literal, NamedTuple

from panicdoor.kernel import reading

FOLDER: Final = "/proc/pressure"
LOADAVG: Final = "/proc/loadavg"
STAT: Final = "/proc/stat"

_LINE: Final = re.compile(
    rb"^(some|full) avg10=([0-9]{1,3}\.[0-9]{2}) avg60=([0-9]{1,3}\.[0-9]{2})"
    rb" avg300=([0-9]{1,3}\.[0-9]{2}) total=([0-9]{1,20})$",
    re.MULTILINE,
)

Resource = Literal["cpu", "memory", "io"]
RESOURCES: Final[tuple[Resource, ...]] = ("cpu", "memory", "io")


class Waiting(NamedTuple):
    """Percent of the last 10, 60 and 300 seconds; `total` is in microseconds since boot."""

    last_10: float
    last_60: float
    last_300: float
    total: int


class Pressure(NamedTuple):
    """Of one resource; None where the kernel does not say (`full` of cpu, before 5.13)."""

    some: Waiting | None
    full: Waiting | None


class Load(NamedTuple):
    """Tasks that run or wait for a disk, on average; those that run now; and all there are."""

    last_1_min: float
    last_5_min: float
    last_15_min: float
    running: int
    tasks: int


class Work(NamedTuple):
    """Since boot: what the processors did, in clock ticks (of all together), and forks.

    `waiting` is idle time with a disk's answer pending; `stolen` is what other machines on the
    same hardware were given.
    """

    user: int
    system: int
    idle: int
    waiting: int
    interrupts: int
    stolen: int
    forks: int
    running: int
    blocked: int

    @property
    def ticks(self) -> int:
        """All ticks."""
        return self.user + self.system + self.idle + self.waiting + self.interrupts + self.stolen


def parse_work(data: bytes) -> Work:
    """Read /proc/stat's text. What is not there is 0."""
    lines = [line.partition(b" ") for line in data.split(b"\n")]
    found = {name: rest.split() for name, blank, rest in lines if blank}

    def at(name: bytes, place: int) -> int:
        fields = found.get(name, [])
        return max(0, reading.number(fields[place]) or 0) if place < len(fields) else 0

    cpu = [at(b"cpu", place) for place in range(8)]  # proc_stat(5) has their order
    user, nice, system, idle, waiting, hard, soft, stolen = cpu
    return Work(
        user + nice,
        system,
        idle,
        waiting,
        hard + soft,
        stolen,
        at(b"processes", 0),
        at(b"procs_running", 0),
        at(b"procs_blocked", 0),
    )


def parse_pressure(data: bytes) -> Pressure:
    """Read the text of a pressure file."""
    found = {
        match[1]: Waiting(float(match[2]), float(match[3]), float(match[4]), int(match[5]))
        for match in _LINE.finditer(data)
    }
    return Pressure(found.get(b"some"), found.get(b"full"))


_LOAD: Final = re.compile(
    rb"([0-9.]{1,12}) ([0-9.]{1,12}) ([0-9.]{1,12}) ([0-9]{1,9})/([0-9]{1,9})"
)


def parse_load(data: bytes) -> Load | None:
    """Read /proc/loadavg's text."""
    match = _LOAD.match(data)
    if match is None:
        return None
    try:
        one, five, fifteen = (float(match[n]) for n in (1, 2, 3))
    except ValueError:
        return None
    return Load(one, five, fifteen, int(match[4]), int(match[5]))


def system(resource: Resource) -> Pressure | None:
    """Return the whole host's pressure; None where the kernel does not tell."""
    try:
        return parse_pressure(reading.glance(f"{FOLDER}/{resource}"))
    except OSError:
        return None


def of_group(path: str, resource: Resource) -> Pressure | None:
    """Return the pressure inside the control group (version 2) of that directory."""
    try:
        return parse_pressure(reading.glance(f"{path}/{resource}.pressure"))
    except OSError:
        return None


def load() -> Load | None:
    """Return the load averages."""
    try:
        return parse_load(reading.glance(LOADAVG))
    except OSError:
        return None


def work() -> Work:
    """Return what the processors have done since boot. Raises OSError."""
    return parse_work(reading.read(STAT))


def processors() -> int:
    """Return how many processors are there for us all."""
    return os.cpu_count() or 1
