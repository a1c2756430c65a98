"""A monitor in a process of its own, and what is said to it and heard from it in tests."""

import json
import time
from typing import Any

from tests.places import (
    EPOCH,
    End,
    Places,
    answered,
)

from panicdoor.messages import (
    Answer,
    Fresh,
    Hello,
    Output,
    Run,
    Write,
)
from panicdoor.processes import cases, errands, monitor
from panicdoor.records import journal

FRONTENDS = ("stream1", "stream2", "datagram")
RUNNERS = {"observer": 30, "worker1": 31, "worker2": 32}  # their places, and epochs at start
SOON = 0.3  # seconds that deadlines take in these tests


def hurry() -> None:
    """Shorten what the monitor waits for, in its own process; it says nothing by itself."""
    for name in ("ERRAND_S", "WAIT_S"):
        setattr(errands, name, SOON)
    monitor.SWEEP_S = 0.02  # type: ignore[misc]
    monitor.FRESH_S = 3600.0  # type: ignore[misc]


def impatient() -> None:
    """Shorten also what clients have for reading."""
    hurry()
    cases.READER_S = SOON  # type: ignore[misc]


def start(places: Places) -> None:
    """Fill the monitor's place, with a Hello of every runner waiting for it."""
    for runner, epoch in RUNNERS.items():
        places.end(runner, "monitor").say(Hello(runner, 1, epoch))
    places.fill("monitor", hurry)
    places.end("stream1", "monitor").hear(Fresh)


def begun(end: End, number: int) -> None:
    """Wait until it is said that the work of an errand has begun, or waits."""
    end.hear(Answer, id=number, text="", end=False)


def part(end: End, number: int) -> tuple[str, bool, int]:
    """Return the next part that says something or is the last."""
    while True:
        answer = end.hear(Answer, id=number)
        assert answer.epoch == EPOCH
        if answer.text or answer.end:
            return answer.text, answer.end, answer.code


def out(end: End, run: Run, text: str, *, last: bool = False, code: int = 0) -> None:
    end.say(Output(run.id, run.epoch, text, last, code))


def written(places: Places, kind: str, seconds: float = 5.0) -> dict[str, Any]:
    """Return the fields of the next entry of that kind, as the writer gets it."""
    entry = places.end("writer", "monitor").hear(Write, seconds, kind=kind)
    journal.following(None, "2026-11-24T03:12:07Z", entry.kind, entry.fields)
    fields: dict[str, Any] = json.loads(entry.fields)
    return fields


def taken(places: Places) -> None:
    """Let everything that was said until now be read and acted on."""
    places.read_by("monitor")
    assert "pong" in answered(places.end("datagram", "monitor"), 2**40, "ping")


def linger(places: Places, seconds: float) -> None:
    """Let that time go by, in which the monitor answers others all the while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        taken(places)
        time.sleep(0.005)
