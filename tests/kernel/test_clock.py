"""The clocks: as date(1), uptime(1) and adjtimex(2) have them; no bytes raise."""

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import clock


def timex(status: int, offset: int = 0, maximum: int = 0, frequency: int = 0) -> bytes:
    return struct.pack("@I4li3l2ll", 0, offset, frequency, maximum, 7, status, *[0] * 6) + bytes(88)


def test_a_clock_that_is_kept() -> None:
    found = clock.parse_timex(0, timex(clock.STA_NANO, 2_000_000, 500_000, -65536))
    assert found == clock.Discipline(True, "ok", 0.002, 0.5, 7e-6, -1.0)


def test_microseconds_where_the_kernel_says_so() -> None:
    found = clock.parse_timex(0, timex(0, 2_000))
    assert found is not None
    assert found.offset == 0.002


@pytest.mark.parametrize(("state", "status"), [(5, 0x40), (5, 0), (0, 0x40)])
def test_a_clock_that_nobody_keeps(state: int, status: int) -> None:
    found = clock.parse_timex(state, timex(status))
    assert found is not None
    assert not found.synchronised


def test_states_have_names() -> None:
    names = {found.state for n in range(7) if (found := clock.parse_timex(n, timex(0)))}
    assert len(names) == 7
    assert "state 6" in names


@given(st.integers(-1, 9), st.binary(max_size=300))
def test_no_bytes_raise(state: int, data: bytes) -> None:
    clock.parse_timex(state, data)
    clock.parse_boot_time(data)


def test_this_host() -> None:
    found = clock.discipline()
    if found is None:
        pytest.skip("the kernel does not tell here")
    assert 0 <= found.max_error <= 16.1
    assert abs(found.frequency) < 1000
    if shutil.which("adjtimex"):
        text = subprocess.run(["adjtimex", "-p"], capture_output=True, text=True, check=True).stdout
        told = dict(line.split(":") for line in text.splitlines() if line.count(":") == 1)
        assert bool(int(told["status"]) & 0x40) == (not found.synchronised)


def test_time_agrees_with_date_and_uptime() -> None:
    with open("/proc/uptime") as file:
        assert clock.up() == pytest.approx(float(file.read().split()[0]), abs=1)
    boot = clock.boot_time()
    assert boot is not None
    assert boot == pytest.approx(time.time() - clock.up(), abs=2)
    assert clock.asleep() >= 0
    assert "\n" not in clock.source()


def test_parse_boot_time() -> None:
    assert clock.parse_boot_time(b"cpu 1\nbtime 1795559682\n") == 1795559682
    assert clock.parse_boot_time(b"btime x\n") is None
    assert clock.parse_boot_time(b"") is None


def test_hardware(tmp_path: Path) -> None:
    assert clock.hardware(str(tmp_path / "none")) == ()
    for name, files in {
        "rtc0": {"name": "rtc_cmos\n", "since_epoch": "1700000000\n", "hctosys": "1\n"},
        "rtc1": {"name": "rtc-\x1b\n"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert clock.hardware(str(tmp_path)) == (
        clock.Rtc("rtc0 rtc_cmos", 1700000000, True),
        clock.Rtc("rtc1 rtc-\x1b", None, False),
    )


def test_hardware_is_bounded(tmp_path: Path) -> None:
    for n in range(clock.RTC_MAX + 3):
        (tmp_path / f"rtc{n}").mkdir()
    assert len(clock.hardware(str(tmp_path))) == clock.RTC_MAX
