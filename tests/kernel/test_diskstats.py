"""What disks do: recorded counters, and a real write."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel.diskstats import Counters, activity, parse, read

OLD = b"   8       0 sda 100 0 800 50 200 0 1600 150 0 1000 200 0 0 0 0 0 0\n"
NEW = b"   8       0 sda 110 0 880 70 210 0 3600 250 3 1900 400 0 0 0 0 0 0\n"


def test_a_table() -> None:
    assert parse(OLD + b"   8  1 sda1\n   8  2 sda2 a b c d e f g h i j k\n") == {
        "sda": Counters(100, 800, 50, 200, 1600, 150, 0, 1000)
    }


def test_what_happened_between_two_looks() -> None:
    (disk,) = activity(parse(OLD), parse(NEW), 1.0)
    assert disk.busy_percent == 90
    assert disk.in_flight == 3
    assert disk.await_ms == 6  # 20 + 100 ms for 20 operations
    assert disk.read_bytes_s == 80 * 512
    assert disk.written_bytes_s == 2000 * 512
    assert not disk.stuck


def test_a_disk_that_ends_nothing() -> None:
    stuck = parse(OLD)["sda"]._replace(in_flight=2, busy_ms=1995)
    (disk,) = activity(parse(OLD), {"sda": stuck}, 1.0)
    assert disk.await_ms is None
    assert disk.stuck


def test_counters_that_begin_anew_and_disks_that_come() -> None:
    assert activity({}, parse(NEW), 1.0) == []
    assert activity(parse(OLD), parse(NEW), 0.0) == []
    (disk,) = activity(parse(NEW), parse(OLD), 1.0)
    assert (disk.busy_percent, disk.written_bytes_s, disk.await_ms) == (0, 0, None)


def test_the_busiest_come_first() -> None:
    idle = Counters(0, 0, 0, 0, 0, 0, 0, 0)
    new = {"a": idle, "b": idle._replace(busy_ms=500), "c": idle._replace(in_flight=1)}
    found = activity(dict.fromkeys(new, idle), new, 1.0)
    assert [disk.name for disk in found] == ["b", "c", "a"]


@settings(max_examples=300, deadline=None, database=None)
@given(
    *[st.binary(max_size=200) | st.lists(
        st.sampled_from([*OLD.split(), b"\n", b"-5", b"9" * 40, b"\xff"]), max_size=40
    ).map(b" ".join)] * 2, st.floats(0, 10),
)  # fmt: skip
def test_no_tables_raise(old: bytes, new: bytes, seconds: float) -> None:
    activity(parse(old), parse(new), seconds)


def test_whole_disks_only() -> None:
    assert set(read()) <= {name.replace("!", "/") for name in os.listdir("/sys/block")}


def test_a_real_write_is_seen(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    if not Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").exists():
        pytest.skip("temporary files are on no disk of this machine")
    before, began = read(), time.monotonic()
    with open(tmp_path / "file", "wb") as file:
        file.write(os.urandom(4 << 20))
        file.flush()
        os.fsync(file.fileno())
    found = activity(before, read(), time.monotonic() - began)
    written = sum(disk.written_bytes_s for disk in found) * (time.monotonic() - began)
    assert written > 3 << 20
