"""The command memory: the numbers of this host, and what it says of hosts in trouble."""

import os
import time
from dataclasses import replace

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands import memory
from panicdoor.commands.memory import Owner, Report, look, wrong
from panicdoor.errors import CommandError
from panicdoor.kernel import cgroups, meminfo, tasks

GIB = 1 << 30


@pytest.fixture(scope="module")
def quiet() -> Report:
    """A host with nothing wrong, and round numbers."""
    blank = meminfo.Memory(*[0] * len(meminfo.Memory._fields))
    return Report(
        blank._replace(total=16 * GIB, available=8 * GIB, swap_total=2 * GIB, swap_free=2 * GIB),
        (),
        meminfo.Activity(0, 0, 0, 0, 0, 0),
        0,
        0,
        0,
        (),
        0,
        (),
        (),
        False,
    )


def test_it_only_looks() -> None:
    is_an_observer("memory")


def test_the_screen_fits() -> None:
    text = screen("memory")
    assert text.count("\n") <= 34
    assert "available" in text
    assert "  OOM" in text


def test_the_document_agrees_with_the_kernel() -> None:
    said = document("memory")
    now = meminfo.memory()
    assert said["memory"]["total"] == now.total
    assert said["memory"]["available"] == pytest.approx(now.available, abs=now.total // 20)
    largest = said["processes"][0]
    assert largest["rss"] + largest["swapped"] == max(
        p["rss"] + p["swapped"] for p in said["processes"]
    )
    assert len(said["processes"]) <= memory.OWNERS_MAX
    assert set(said["counters"]) == set(meminfo.Activity._fields)
    assert set(said["rates"]) == {"swapped_in", "swapped_out", "disk_faults"}


def test_this_process_is_found_with_what_it_has() -> None:
    report = look()
    status = tasks.status(os.getpid())
    assert status is not None
    assert status.rss is not None
    ours = [owner for owner in report.owners if owner.pid == os.getpid()]
    if ours:  # of a hundred
        assert ours[0].rss == pytest.approx(status.rss, rel=0.1)
    assert report.owners == tuple(
        sorted(report.owners, key=lambda o: o.rss + o.swapped, reverse=True)
    )


def test_the_second_look_waits_only_for_what_is_left() -> None:
    before = memory.begin()
    time.sleep(memory.INTERVAL_S)
    began = time.monotonic()
    assert look(before).disk_faults >= 0
    assert time.monotonic() - began < memory.INTERVAL_S


def test_nothing_is_wrong_on_a_quiet_host(quiet: Report) -> None:
    assert list(wrong(quiet)) == []
    assert next(memory._lines(quiet)) == "Nothing unusual about memory.\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"available": GIB // 5}, "only 205 MiB of 16.0 GiB are available (1.2 %"),
        ({"swap_free": 0}, "swap is 100 % full (normal below 80 %)"),
        ({"unreclaimable": 6 * GIB}, "the kernel itself holds 38 %"),
        ({"dirty": 4 * GIB}, "25 % waits to be written"),
    ],
)
def test_what_is_wrong_with_the_host(quiet: Report, change: dict[str, int], said: str) -> None:
    (found,) = wrong(replace(quiet, memory=quiet.memory._replace(**change)))
    assert found.startswith(said)


def test_what_moves_is_wrong(quiet: Report) -> None:
    (found,) = wrong(replace(quiet, swapped_in=40e6, swapped_out=48e6))
    assert found == "83.9 MiB/s go in and out of swap (normal 0)"
    (found,) = wrong(replace(quiet, activity=quiet.activity._replace(oom_kills=3)))
    assert found.startswith("the kernel has killed 3 processes since boot")


def test_a_group_near_its_limit_is_named(quiet: Report) -> None:
    full = cgroups.Limit("/a.slice/\x1b[2J", 95 * GIB, 100 * GIB, 7, 2)
    half = cgroups.Limit("/half", 50, 100, 0, 0)
    report = replace(quiet, groups=(full, half), groups_more=True)
    (found,) = wrong(report)
    assert "95.0 GiB of its 100 GiB" in found
    text = "".join(memory._lines(report))
    assert "\\x1b[2J" in text
    assert text.isascii()
    assert "(there are more groups than were looked at)\n" in text


def test_owners_that_end_meanwhile_are_shown_so(quiet: Report) -> None:
    report = replace(quiet, owners=(Owner(2**22 + 1, 0, GIB, GIB, GIB),), owners_more=3)
    text = "".join(memory._lines(report))
    assert "ended" in text
    assert "(3 more smaller processes left out)\n" in text
    said = memory._document(report)
    assert isinstance(said, dict)
    assert said["processes"] == [
        {
            "pid": 2**22 + 1,
            "uid": 0,
            "user": "root",
            "name": None,
            "rss": GIB,
            "anonymous": GIB,
            "swapped": GIB,
            "oom_score": None,
            "age": None,
        }
    ]


def test_a_host_without_swap(quiet: Report) -> None:
    bare = replace(quiet, memory=quiet.memory._replace(swap_total=0, swap_free=0))
    assert list(wrong(bare)) == []
    assert "none" in "".join(memory._lines(bare))


def test_a_host_that_tells_nothing() -> None:
    empty = meminfo.parse_meminfo(b"")
    report = replace(look(), memory=empty, groups=())
    "".join(memory._lines(report))
    list(wrong(report))


def test_no_proc_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meminfo, "VMSTAT", "/nonexistent")
    with pytest.raises(CommandError, match="/proc does not answer: No such file"):
        screen("memory")


def test_processes_of_one_name_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def status(pid: int) -> tasks.Status | None:
        name = "php-fpm" if pid < 30 else f"other{pid}"
        return None if pid == 5 else tasks.Status(name, 33, GIB, 0, GIB, 0, 0, 0)

    monkeypatch.setattr(tasks, "status", status)
    tally = memory._Tally()
    assert len(list(tally.owners(range(32)))) == tally.number == 31
    assert tally.together() == (memory.Together("php-fpm", 29, 58 * GIB),)


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "NAMES_MAX", 1)
    tally = memory._Tally()
    assert len(list(tally.owners(tasks.pids()[0]))) == tally.number
    assert len(tally._names) == 1
