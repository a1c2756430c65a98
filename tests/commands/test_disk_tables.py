"""What `disks` says of numbers: what is wrong, and what is not."""

import pytest

from panicdoor.commands import disk_tables as tables
from panicdoor.commands.disk_tables import Asked
from panicdoor.kernel.deleted import Deleted, Found
from panicdoor.kernel.descriptors import Link
from panicdoor.kernel.diskstats import Activity
from panicdoor.kernel.filesystems import Usage
from panicdoor.kernel.mounts import Mount

GIB = 1 << 30


def asked(
    point: str, used: int, kind: str = "ext4", inodes_used: int = 5, error: str = ""
) -> Asked:
    mount = Mount(1, 0, "8:1", b"/", point.encode(), ("rw",), kind, b"/dev/x", ("rw",))
    if error:
        return Asked(mount, None, error)
    return Asked(mount, Usage(100 * GIB, used * GIB, (100 - used) * GIB, 100, inodes_used))


def test_the_worst_come_first_and_have_a_sentence() -> None:
    answers = [
        asked("/", 40),
        asked("/snap", 100, "squashfs"),
        asked("/var", 97),
        asked("/mail", 10, inodes_used=99),
        asked("/gone", 0, error="Input/output error"),
    ]
    answers.sort(key=lambda one: one.rank)
    assert [one.mount.point for one in answers] == [b"/gone", b"/mail", b"/var", b"/snap", b"/"]
    assert list(tables.wrong_file_systems(answers)) == [
        "/gone gives an error: Input/output error",
        "/mail is nearly full: 10 % used, 90.0 GiB left, 99 % of inodes (normal below 90 %)",
        "/var is nearly full: 97 % used, 3.0 GiB left, 5.0 % of inodes (normal below 90 %)",
    ]
    text = "".join(tables.file_systems(answers))
    assert text.startswith("! /gone gives an error")
    rows = [line.split() for line in text.splitlines() if line.startswith("/")]
    assert rows[1] == ["/var", "ext4", "100", "GiB", "3.0", "GiB", "97", "%", "5.0", "%"]
    assert len(rows) == 4


def disk(busy: float, flight: int, wait: float | None) -> Activity:
    return Activity("sda", busy, flight, wait, 0, 1 << 20)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (disk(100, 3, None), "sda does not answer: 3 requests wait, not one has ended"),
        (disk(50, 3, 33), "sda is slow: 33 ms a request"),
        (disk(95, 3, 5), "sda was busy for 95 % of the time"),
    ],
)
def test_disks_in_trouble(seen: Activity, sentence: str) -> None:
    assert list(tables.wrong_activity([seen])) == [sentence]
    assert "".join(tables.activity([seen, disk(0, 0, None)])).endswith("(1 disks did nothing)\n")


def test_disks_that_are_well() -> None:
    assert list(tables.wrong_activity([disk(50, 3, 5), disk(0, 0, None), disk(1, 1, None)])) == []


def test_deleted_files() -> None:
    def gone(n: int, size: int) -> Deleted:
        return Deleted(size, Link(1, n, f"/log\x1b{n} (deleted)"), 1)

    large = Found([gone(n, GIB) for n in range(30)] + [gone(99, 0)], waiting=2, cut=True)
    text = "".join(tables.deleted(large))
    assert text.startswith("! 30.0 GiB are taken by deleted files")
    assert r"/log\x1b9" in text
    assert "(20 more files left out)" in text
    assert "(2 on mounts that may not answer were not asked)" in text
    assert "not all were looked at" in text
    assert list(tables.wrong_deleted(Found([gone(1, GIB - 1)]))) == []
    assert "".join(tables.deleted(Found([]))) == "Deleted files that are still open take 0 B.\n"


def test_what_was_not_asked() -> None:
    mounts = [asked(f"/nas{n}\x1b", 1).mount for n in range(5)]
    assert list(tables.not_asked(mounts)) == [
        "(not asked: /nas0\\x1b, /nas1\\x1b, /nas2\\x1b and 2 more)\n",
        "(they may never answer; to ask them all the same: disks --all)\n",
    ]
    assert list(tables.not_asked([])) == []


def test_short_times() -> None:
    assert [tables.milliseconds(time) for time in (0.44, 12.4, 1500)] == [
        "0.4 ms",
        "12 ms",
        "1.5 s",
    ]
