"""Rules about disks, file systems and descriptors: just below a threshold, and just above."""

import os
from typing import Any

import pytest
from tests.commands.hosts import GIB, HOSTILE, asked, disk, found, limits, mount
from tests.commands.test_rules_memory import pressure

from panicdoor.commands import mounts
from panicdoor.commands.disk_tables import Asked
from panicdoor.commands.findings import Severity, judge
from panicdoor.commands.sections import Held, Holder, Room
from panicdoor.kernel.deleted import Deleted
from panicdoor.kernel.descriptors import Link

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN


def room(*answers: Asked) -> Room:
    return Room(answers, ())


def deleted(size: int, device: str = "8:1") -> Held:
    link = Link(os.getpid(), 5, f"/data/{HOSTILE} (deleted)")
    major, minor = map(int, device.split(":"))
    return Held(size, {os.makedev(major, minor): (size, Deleted(size, link, 1))}, (), False)


def severities(said: list[Any]) -> list[Severity]:
    return [one.severity for one in said]


@pytest.mark.parametrize(
    ("one", "count"),
    [(disk(100, 5), 1), (disk(98, 5), 0), (disk(100, 5, 3.0), 0), (disk(100, 0), 0)],
)
def test_disk_stuck(one: Any, count: int) -> None:
    assert severities(found("disk_stuck", disks=(one,))) == [BROKEN] * count


@pytest.mark.parametrize(
    ("one", "count"),
    [(disk(60, 1, 21.0), 1), (disk(60, 1, 20.0), 0), (disk(50, 1, 900.0), 0), (disk(60, 1), 0)],
)
def test_disk_slow(one: Any, count: int) -> None:
    assert severities(found("disk_slow", disks=(one,))) == [WARN] * count


def test_read_only() -> None:
    states = [mounts.Seen(state, mount(HOSTILE)) for state in mounts.STATES]
    (said,) = found("read_only", mounts=mounts.Report(states, False))
    assert said.severity is BROKEN
    assert said.text.startswith(HOSTILE)


@pytest.mark.parametrize(("share", "severity"), [(5.0, None), (5.1, WARN), (50.0, BROKEN)])
def test_io_waits(share: float, severity: Severity | None) -> None:
    said = found("io_waits", pressure=pressure("io", share))
    assert severities(said) == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("share", "severity"), [(89.9, None), (90.0, WARN), (99.8, WARN), (99.95, BROKEN)]
)
def test_file_system_full(share: float, severity: Severity | None) -> None:
    said = found("file_system_full", room=room(asked(HOSTILE, percent=share)))
    assert severities(said) == ([] if severity is None else [severity])
    if said:
        assert said[0].text.startswith(f"{HOSTILE} is ")


def test_a_small_file_system_is_broken_when_nothing_is_left() -> None:
    assert severities(found("file_system_full", room=room(asked(percent=95, size=1 << 20)))) == [
        BROKEN
    ]


def test_a_file_system_that_gives_an_error() -> None:
    (said,) = found("file_system_full", room=room(Asked(mount(), None, "Input/output error")))
    assert (said.severity, said.text) == (BROKEN, "/data gives an error: Input/output error")


@pytest.mark.parametrize(
    ("share", "severity"), [(89.9, None), (90.0, WARN), (99.9, WARN), (100.0, BROKEN)]
)
def test_inodes_gone(share: float, severity: Severity | None) -> None:
    said = found("inodes_gone", room=room(asked(inodes=share)))
    assert severities(said) == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("held", "full", "count"),
    [
        (deleted(5 * GIB), 90.0, 1),
        (deleted(5 * GIB - 100), 90.0, 1),  # more than a GiB in all
        (deleted(GIB - 1), 90.0, 0),
        (deleted(GIB), 40.0, 1),
        (deleted(5 * GIB, "8:2"), 95.0, 1),
        (Held(0, {}, (), False), 100.0, 0),
    ],
)
def test_deleted_open(held: Held, full: float, count: int) -> None:
    said = found("deleted_open", held=held, room=room(asked(percent=full)))
    assert severities(said) == [WARN] * count
    if said:
        assert f"(pid {os.getpid()}) has open" in said[0].text
        assert said[0].next[0] == f"processes {os.getpid()}"


def test_deleted_files_explain_the_file_system_that_is_full() -> None:
    full = room(asked("/a", "8:1", percent=100), asked("/b", "8:2", percent=100))
    verdict = judge({"held": deleted(50 * GIB), "room": full}, {})
    said = [(one.finding.text.split(" ")[0], one.because) for one in verdict.findings]
    assert said == [("/b", None), ("50.0", None), ("/a", 2)]


@pytest.mark.parametrize(("used", "severity"), [(79, None), (80, WARN), (95, CRITICAL)])
def test_descriptors_full(used: int, severity: Severity | None) -> None:
    said = found("descriptors_full", sockets=limits(descriptors=used, conntrack=100))
    assert severities(said) == ([] if severity is None else [severity])


@pytest.mark.parametrize(("used", "severity"), [(79, None), (80, WARN), (95, BROKEN)])
def test_process_descriptors(used: int, severity: Severity | None) -> None:
    said = found("process_descriptors", held=Held(0, {}, (Holder(7, HOSTILE, used, 100),), False))
    assert severities(said) == ([] if severity is None else [severity])
    if said:
        assert said[0].text.startswith(f"{HOSTILE} (pid 7) has {used} of its 100")
