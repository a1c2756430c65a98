"""The command pressure: this host's, and what it says of hosts that wait."""

import os
import time
from dataclasses import replace

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands import pressure
from panicdoor.commands.pressure import Group, Report, wrong
from panicdoor.errors import CommandError
from panicdoor.kernel import cgroups
from panicdoor.kernel import pressure as kernel
from panicdoor.kernel.pressure import Load, Pressure, Waiting

IDLE = Waiting(0.0, 0.0, 0.0, 5)
QUIET = Report(
    {resource: Pressure(IDLE, IDLE) for resource in kernel.RESOURCES},
    Load(0.5, 0.5, 0.5, 1, 100),
    2,
    {"user": 1.0, "system": 1.0, "interrupts": 0.0, "waiting": 0.0, "stolen": 0.0, "idle": 98.0},
    1,
    0,
    (),
    False,
)
FULL = Pressure(Waiting(75.0, 50.0, 9.0, 5), Waiting(71.0, 40.0, 8.0, 5))


def test_it_only_looks() -> None:
    is_an_observer("pressure")


def test_the_screen_fits() -> None:
    text = screen("pressure")
    assert text.count("\n") <= 24
    assert f"on {os.cpu_count()} processors" in text


def test_the_document_agrees_with_the_kernel() -> None:
    said = document("pressure")
    assert said["load"]["last_1_min"] == pytest.approx(os.getloadavg()[0], abs=1)
    assert said["processors"] == os.cpu_count()
    assert sum(said["shares"].values()) == pytest.approx(100, abs=1)
    assert set(said["pressure"]) == set(kernel.RESOURCES)


def test_the_second_look_waits_only_for_what_is_left() -> None:
    before = pressure.begin()
    time.sleep(pressure.INTERVAL_S)
    began = time.monotonic()
    assert pressure.look(before).running >= 1
    assert time.monotonic() - began < pressure.INTERVAL_S


def test_nothing_is_wrong_on_a_quiet_host() -> None:
    assert list(wrong(QUIET)) == []
    assert next(pressure._lines(QUIET)) == "Nothing waits more than usual.\n"


def test_memory_that_everybody_waits_for_comes_first() -> None:
    some_io = Pressure(Waiting(25.0, 0, 0, 0), None)
    busy = replace(QUIET, resources={**QUIET.resources, "memory": FULL, "io": some_io})
    assert list(wrong(busy)) == [
        "memory: all tasks waited 71 % of the last 10 s (normal below 1 %)",
        "memory: some task waited 75 % of the last 10 s (normal below 5 %)",
        "io: some task waited 25 % of the last 10 s (normal below 20 %)",
    ]


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (replace(QUIET, shares={**QUIET.shares, "stolen": 40.0}), "40 % of the processors goes"),
        (
            replace(QUIET, load=Load(9.0, 1, 1, 1, 1), running=7, blocked=2),
            "load 9.0 on 2 processors (normal below 4): 7 run now, 2 wait for a disk",
        ),
    ],
)
def test_what_else_is_wrong(report: Report, said: str) -> None:
    (found,) = wrong(report)
    assert found.startswith(said)


def test_a_kernel_that_does_not_tell() -> None:
    silent = replace(QUIET, resources=dict.fromkeys(kernel.RESOURCES), load=None)
    assert list(wrong(silent)) == []
    text = "".join(pressure._lines(silent))
    assert "does not tell the pressure of cpu, memory, io\n" in text
    said = pressure._document(silent)
    assert isinstance(said, dict)
    assert said["pressure"] == {"cpu": None, "memory": None, "io": None}


def test_groups_that_wait() -> None:
    groups = tuple(Group(f"/{n}\x1b.slice", "io", FULL.some or IDLE, None) for n in range(9))
    text = "".join(pressure._lines(replace(QUIET, groups=groups, groups_more=True)))
    assert "/0\\x1b.slice  io" in text
    assert "(1 more groups that wait left out)\n(there are more groups" in text
    assert text.isascii()


def test_groups_are_looked_through(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("groups")
    for name, share in (("a", 5), ("b", 50), ("idle", 0)):
        (root / name).mkdir()
        (root / name / "memory.pressure").write_text(
            f"some avg10={share}.00 avg60={share}.00 avg300=0.00 total=1\n"
        )
    monkeypatch.setattr(cgroups, "hierarchy", lambda name: cgroups.Hierarchy(str(root), 2))
    groups, more = pressure._groups()
    assert [(group.name, group.resource) for group in groups] == [
        ("/b", "memory"),
        ("/a", "memory"),
    ]
    assert not more


def test_no_proc_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "STAT", "/nonexistent")
    with pytest.raises(CommandError, match="/proc does not answer: No such file"):
        screen("pressure")
