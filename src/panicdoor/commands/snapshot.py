"""One look at the whole host, for `triage`: everything at once, within two seconds, from memory.

A section is a generator: it takes its first look, yields, and returns its report after the wait
that all of them share. Each has a deadline of its own; one that fails or takes too long is missing
from the snapshot, and why is said. What is to be looked at is in commands.sections.
"""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

from panicdoor.errors import CommandError
from panicdoor.kernel.deadline import OutOfTimeError, within
from panicdoor.kernel.netlink import NetlinkError

WAIT_S: Final = 0.2  # seconds between the two looks
BUDGET_S: Final = 1.9  # seconds of everything; what has had no turn by then is missing
LEAST_S: Final = 0.05  # a section with less time than this is not begun


@dataclass(slots=True)
class Snapshot:
    """Reports by section, why others are missing, and how long it took."""

    reports: dict[str, object] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


Report = Generator[None, None, object]
Section = Callable[["Snapshot"], Report]
SECTIONS: Final[dict[str, tuple[Section, float]]] = {}


def section(seconds: float) -> Callable[[Section], Section]:
    """Put the decorated generator into SECTIONS: `seconds` are for each half of it."""

    def register(function: Section) -> Section:
        SECTIONS[function.__name__.strip("_")] = function, seconds
        return function

    return register


def look(sections: Mapping[str, tuple[Section, float]] = SECTIONS) -> Snapshot:
    """Take both looks. Never raises: what could not be seen is in `missing`."""
    began = time.monotonic()
    seen = Snapshot()
    running: dict[str, Report] = {}
    for name, (function, seconds) in sections.items():
        running[name] = function(seen)
        _advance(seen, running, name, seconds, began)
    time.sleep(max(0.0, began + WAIT_S - time.monotonic()))
    for name in list(running):
        _advance(seen, running, name, sections[name][1], began)
    seen.seconds = time.monotonic() - began
    return seen


def _advance(
    seen: Snapshot, running: dict[str, Report], name: str, seconds: float, began: float
) -> None:
    """Run one half of a section, within its time and what is left of everybody's."""
    left = min(seconds, began + BUDGET_S - time.monotonic())
    half = running.pop(name)
    if left < LEAST_S:
        seen.missing[name] = "no time was left"
        half.close()
        return
    try:
        with within(left):
            next(half)
        running[name] = half
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
