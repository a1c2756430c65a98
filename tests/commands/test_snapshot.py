"""One look with sections that wait, fail, hang and take too long."""

import os
import time
from collections.abc import Mapping
from typing import Any

import pytest

from panicdoor.commands import snapshot
from panicdoor.commands.snapshot import Counts, Report, Section, Snapshot, look, section
from panicdoor.errors import CommandError
from panicdoor.kernel.netlink import NetlinkError


def of(**made: Section) -> Mapping[str, tuple[Section, float]]:
    return {name: (function, 0.1) for name, function in made.items()}


def halves(_: Snapshot) -> Report:
    first = time.monotonic()
    yield snapshot.WAIT_S
    return time.monotonic() - first


def fails(error: BaseException) -> Section:
    def section(_: Snapshot) -> Report:
        yield 0.0
        raise error

    return section


def test_everybody_waits_once() -> None:
    began = time.monotonic()
    seen = look(of(a=halves, b=halves, c=halves))
    assert time.monotonic() - began < 2 * snapshot.WAIT_S
    assert set(seen.reports) == {"a", "b", "c"}
    for took in seen.reports.values():
        assert isinstance(took, float)
        assert took == pytest.approx(snapshot.WAIT_S, abs=0.1)
    assert seen.seconds == pytest.approx(snapshot.WAIT_S, abs=0.1)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CommandError("only root may"), "only root may"),
        (NetlinkError("no netlink"), "no netlink"),
        (FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
        (OSError(), "error"),
        (ZeroDivisionError(), "a bug: ZeroDivisionError"),
    ],
)
def test_one_that_fails_is_missing_and_hides_nothing(error: BaseException, why: str) -> None:
    seen = look(of(a=fails(error), b=halves))
    assert seen.missing == {"a": why}
    assert set(seen.reports) == {"b"}


def test_one_that_fails_at_once() -> None:
    def first(seen: Snapshot) -> Report:
        if not seen.reports:
            raise CommandError("at once")
        yield 0.0
        return None

    assert look(of(a=first)).missing == {"a": "at once"}


def test_each_half_has_a_deadline() -> None:
    def sleeps(_: Snapshot) -> Report:
        time.sleep(5)
        yield 0.0
        return None

    def computes(_: Snapshot) -> Report:
        yield 0.0
        while time.monotonic():
            pass
        return None

    seen = look(of(a=sleeps, b=computes, c=halves))
    assert seen.missing == {"a": "no answer in 0.1 s", "b": "no answer in 0.1 s"}
    assert seen.seconds < 1
    assert "c" in seen.reports


def test_everything_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BUDGET_S", 0.4)
    closed = []

    def late(_: Snapshot) -> Report:
        try:
            yield 0.0
        finally:
            closed.append(True)
        return None

    def slow(_: Snapshot) -> Report:
        yield 0.0
        time.sleep(5)
        return None

    seen = look({"a": (slow, 0.5), "b": (late, 0.5)})
    assert seen.seconds < 0.6
    assert set(seen.missing) == {"a", "b"}
    assert seen.missing["b"] == "no time was left"
    assert closed


def test_later_sections_see_earlier_reports() -> None:
    def sees(seen: Snapshot) -> Report:
        yield 0.0
        return seen.reports.get("a")

    found: Any = look(of(a=halves, b=sees)).reports
    assert found["b"] == found["a"]


def test_a_section_is_called_as_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, tuple[Section, float]] = {}
    monkeypatch.setattr(snapshot, "SECTIONS", made)
    section(0.5)(halves)
    assert made == {"halves": (halves, 0.5)}


def compares(seen: Snapshot) -> Report:
    yield 0.0
    return seen.then("/proc/uptime"), seen.since


def waited(counts: Counts) -> float:
    """Return how long a look takes that compares with what was kept."""
    seen = look(of(a=compares), counts)
    report: Any = seen.reports["a"]
    told, since = report
    assert float(told.split()[0]) > 0
    assert since >= snapshot.WAIT_S
    return seen.seconds


def test_what_was_kept_need_not_be_waited_for() -> None:
    counts = Counts(("/proc/uptime",))
    counts.keep()
    for _ in range(2):  # each look leaves something for the next
        time.sleep(snapshot.WAIT_S)
        kept = counts.kept.at
        assert waited(counts) < snapshot.WAIT_S / 2
        assert counts.kept.at > kept + snapshot.WAIT_S


def test_what_was_kept_a_moment_ago_is_waited_for() -> None:
    counts = Counts(("/proc/uptime",))
    counts.keep()
    assert waited(counts) == pytest.approx(snapshot.WAIT_S, abs=0.1)


def test_who_has_kept_nothing_or_long_ago_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(("/proc/uptime",))
    assert waited(counts) == pytest.approx(snapshot.WAIT_S, abs=0.1)
    time.sleep(snapshot.WAIT_S)
    monkeypatch.setattr(snapshot, "OLD_S", snapshot.WAIT_S)
    assert waited(counts) == pytest.approx(snapshot.WAIT_S, abs=0.1)


def test_what_could_not_be_read_is_not_compared() -> None:
    def of_path(path: str) -> Section:
        def section(seen: Snapshot) -> Report:
            yield 0.0
            return seen.then(path)

        return section

    counts = Counts(("/proc/self/mem", "/nonexistent"))
    seen = look(of(gone=of_path("/nonexistent"), refused=of_path("/proc/self/mem")), counts)
    assert seen.reports == {"gone": b""}
    assert seen.missing == {"refused": "/proc/self/mem could not be read"}


def test_keeping_opens_nothing_that_stays() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        snapshot.COUNTS.keep()
    assert set(snapshot.COUNTS.kept.files) == set(snapshot.COUNTED)
    assert all(snapshot.COUNTS.kept.files.values())
    assert len(os.listdir("/proc/self/fd")) == len(before)
