"""Pressure, load and work: as uptime(1) and vmstat(8) see them; no bytes raise."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import pressure

MEMORY = b"""some avg10=71.50 avg60=10.00 avg300=2.25 total=123456
full avg10=70.00 avg60=9.00 avg300=1.00 total=23456
"""


def test_parse_pressure() -> None:
    found = pressure.parse_pressure(MEMORY)
    assert found.some == pressure.Waiting(71.5, 10, 2.25, 123456)
    assert found.full == pressure.Waiting(70, 9, 1, 23456)
    assert pressure.parse_pressure(MEMORY.split(b"\n")[0] + b"\n").full is None
    assert pressure.parse_pressure(MEMORY[:40]) == pressure.Pressure(None, None)


def test_this_host() -> None:
    for resource in pressure.RESOURCES:
        found = pressure.system(resource)
        if not os.path.exists(f"/proc/pressure/{resource}"):
            assert found is None
        else:
            assert found is not None
            assert found.some is not None
            assert 0 <= found.some.last_10 <= 100


def test_a_kernel_without_pressure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "FOLDER", str(tmp_path))
    assert pressure.system("io") is None
    (tmp_path / "memory.pressure").write_bytes(MEMORY)
    assert pressure.of_group(str(tmp_path), "memory") == pressure.parse_pressure(MEMORY)
    assert pressure.of_group(str(tmp_path), "io") is None


def test_load() -> None:
    load = pressure.load()
    assert load is not None
    assert load[:3] == pytest.approx(os.getloadavg(), abs=1.0)
    assert load.tasks > 1
    assert pressure.parse_load(b"277.90 86.67 30.68 2/144 9\n") == pressure.Load(
        277.9, 86.67, 30.68, 2, 144
    )
    assert pressure.parse_load(b"1.0 2.0") is None
    assert pressure.parse_load(b"... .. 3 1/2 9") is None


def test_work_agrees_with_vmstat() -> None:
    if shutil.which("vmstat") is None:
        pytest.skip("there is no vmstat")
    before = pressure.work()
    text = subprocess.run(["vmstat", "-s"], capture_output=True, text=True, check=True).stdout
    after = pressure.work()
    told = {" ".join(line.split()[1:]): int(line.split()[0]) for line in text.splitlines()}
    assert before.forks <= told["forks"] <= after.forks
    assert before.idle - 5 <= told["idle cpu ticks"] <= after.idle + 5
    assert before.system - 5 <= told["system cpu ticks"] <= after.system + 5
    assert after.running >= 1


def test_parse_work() -> None:
    work = pressure.parse_work(
        b"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\nprocesses 77\nprocs_running 3\nprocs_blocked 4\n"
    )
    assert work == pressure.Work(3, 3, 4, 5, 13, 8, 77, 3, 4)
    assert work.ticks == 36
    assert pressure.parse_work(b"").ticks == 0


LINES = st.lists(
    st.sampled_from([b"some", b"full", b" avg10=", b"1.00", b"cpu", b" ", b"\n", b"-1", b"9" * 40])
).map(b"".join)


@given(st.binary() | LINES)
def test_no_bytes_raise(data: bytes) -> None:
    pressure.parse_pressure(data)
    pressure.parse_load(data)
    pressure.parse_work(data)


def test_processors() -> None:
    assert pressure.processors() == os.cpu_count()
