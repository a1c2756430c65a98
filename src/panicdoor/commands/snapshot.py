"""One look at everything that `triage` needs, and what it is compared with.

What the host counts is compared with what it had counted some moments before: `keep` reads those
files, which the observer has done while nobody asked it anything. One that has just begun, or could
do nothing for a while, has nothing of use: then the look reads them itself, and waits.

A section is a generator with two halves; between them it yields how many seconds must lie there.
Each half has a deadline of its own; a section that fails or takes too long is missing from the
snapshot, and why is said. What is to be looked at is in commands.sections.
"""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from panicdoor.errors import CommandError
from panicdoor.kernel import counters, diskstats, meminfo, pressure, reading
from panicdoor.kernel.deadline import OutOfTimeError, within
from panicdoor.kernel.netlink import NetlinkError

WAIT_S: Final = 0.2  # seconds between what is compared, at least
KEEP_S: Final = 2.0  # seconds between two times of keeping: a disk that hangs now is news
OLD_S: Final = 10.0  # seconds after which what was kept is of no use: it would hide what is new
BUDGET_S: Final = 1.9  # seconds of everything; what has had no turn by then is missing
LEAST_S: Final = 0.05  # a section with less time than this is not begun

# What is kept: some kilobytes, made by the kernel while they are read; none waits for a device.
COUNTED: Final = (
    pressure.STAT, meminfo.VMSTAT, diskstats.DISKSTATS, *counters.NETSTAT, counters.INTERFACES,
)  # fmt: skip


class Kept(NamedTuple):
    """Files as they were, and when that was. One that could not be read is not there."""

    at: float
    files: Mapping[str, bytes]


NOTHING: Final = Kept(float("-inf"), {})


@dataclass(slots=True)
class Snapshot:
    """Reports by section, why others are missing, and how long it took; and what was `before`.

    `partial` says of reports that do not have all of what there is, why.
    """

    reports: dict[str, object] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    before: Kept = NOTHING
    partial: dict[str, str] = field(default_factory=dict)

    def then(self, path: str) -> bytes:
        """Return a file as it was before. Raises CommandError where it could not be read."""
        if path not in self.before.files:
            raise CommandError(f"{path} could not be read")
        return self.before.files[path]

    def cut(self, section: str, is_so: bool, why: str) -> None:
        """Note that a report does not have all, where that is so."""
        if is_so:
            self.partial[section] = why

    @property
    def since(self) -> float:
        """How many seconds ago that was, and never none."""
        return max(time.monotonic() - self.before.at, 0.001)


Report = Generator[float, None, object]
Section = Callable[[Snapshot], Report]
SECTIONS: Final[dict[str, tuple[Section, float]]] = {}


def section(seconds: float) -> Callable[[Section], Section]:
    """Put the decorated generator into SECTIONS: `seconds` are for each half of it."""

    def register(function: Section) -> Section:
        SECTIONS[function.__name__.strip("_")] = function, seconds
        return function

    return register


class Counts:
    """What the host had counted when it was read last, in this process."""

    def __init__(self, paths: tuple[str, ...] = COUNTED) -> None:
        self.kept = NOTHING
        self._paths = paths

    def keep(self) -> None:
        """Read the files: 0.3 ms. Never raises."""
        files = {}
        for path in self._paths:
            try:
                files[path] = reading.read(path)
            except FileNotFoundError:
                files[path] = b""  # this kernel does not count such things
            except OSError:
                continue
        self.kept = Kept(time.monotonic(), files)


COUNTS: Final = Counts()


def look(
    sections: Mapping[str, tuple[Section, float]] = SECTIONS, counts: Counts = COUNTS
) -> Snapshot:
    """Look at everything, and keep. Never raises: what could not be seen is in `missing`."""
    began = time.monotonic()
    if began - counts.kept.at > OLD_S:
        counts.keep()
    seen = Snapshot(before=counts.kept)
    ready = seen.before.at + WAIT_S
    running: dict[str, Report] = {}
    for name, (function, seconds) in sections.items():
        running[name] = function(seen)
        wait = _advance(seen, running, name, seconds, began)
        ready = max(ready, time.monotonic() + wait) if wait else ready
    time.sleep(max(0.0, ready - time.monotonic()))
    for name in list(running):
        _advance(seen, running, name, sections[name][1], began)
    seen.seconds = time.monotonic() - began
    counts.keep()
    return seen


def _advance(
    seen: Snapshot, running: dict[str, Report], name: str, seconds: float, began: float
) -> float:
    """Run one half of a section, within its time and what is left of everybody's.

    Return the seconds that must pass before the other half.
    """
    left = min(seconds, began + BUDGET_S - time.monotonic())
    half = running.pop(name)
    if left < LEAST_S:
        seen.missing[name] = "no time was left"
        half.close()
        return 0.0
    try:
        with within(left):
            wait = next(half)
        running[name] = half
        return wait
    except StopIteration as done:
        seen.reports[name] = done.value
    except OutOfTimeError:
        seen.missing[name] = f"no answer in {left:.1f} s"
    except (CommandError, NetlinkError) as error:
        seen.missing[name] = str(error)
    except OSError as error:
        seen.missing[name] = error.strerror or "error"
    except Exception as error:  # one wrong section must not hide what all the others saw
        seen.missing[name] = f"a bug: {type(error).__name__}"
    return 0.0
