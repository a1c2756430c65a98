"""The command clock: the time of this host, and clocks that are wrong."""

import shutil
import subprocess
import time
from dataclasses import replace

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands import clock
from panicdoor.commands.clock import Report, moment, wrong
from panicdoor.kernel.clock import Discipline, Rtc

NOW = 1_795_563_593.156
KEPT = Discipline(True, "ok", 0.0001, 0.02, 0.001, 3.5)
GOOD = Report(NOW, KEPT, int(NOW) - 4000, 4000.0, 0.0, "tsc", ())


def test_it_only_looks() -> None:
    is_an_observer("clock")


def test_the_screen_fits() -> None:
    assert screen("clock").count("\n") <= 24


def test_it_agrees_with_date() -> None:
    before = time.time()
    said = document("clock")
    assert before - 0.01 <= said["now"] <= time.time() + 0.01
    assert said["boot_time"] == pytest.approx(said["now"] - said["up"], abs=2)
    assert isinstance(said["synchronised"], bool | None)
    if shutil.which("date"):
        told = subprocess.run(
            ["date", "-u", "-d", f"@{int(said['now'])}", "+%Y-%m-%d %H:%M:%S UTC"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert moment(said["now"]) == told.strip()


def test_nothing_is_wrong_with_a_good_clock() -> None:
    assert list(wrong(GOOD)) == []


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (replace(GOOD, now=0.0), "the clock is wrong: it says 1970-01-01 00:00:00 UTC"),
        (replace(GOOD, now=5e9), "the clock is wrong: it says 2128"),
        (replace(GOOD, now=1e300), "the clock is wrong: it says 1e+300 s since 1970"),
        (
            replace(GOOD, discipline=KEPT._replace(synchronised=False, max_error=16)),
            "not synchronised: nobody vouches",
        ),
        (
            replace(GOOD, discipline=KEPT._replace(max_error=3.0)),
            "the clock may be wrong by 3.0 s (normal below 1 s)",
        ),
        (
            replace(GOOD, hardware=(Rtc("rtc0 cmos", int(NOW) - 2000, True),)),
            "rtc0 cmos, the hardware's clock, is 33 min behind",
        ),
    ],
)
def test_what_is_wrong(report: Report, said: str) -> None:
    (found,) = wrong(report)
    assert found.startswith(said)
    list(clock._rows(report))


@pytest.mark.parametrize("apart", [0, 30, -7200, 7230, 5 * 3600 + 1800, -12 * 3600])
def test_a_hardware_clock_may_run_in_local_time(apart: int) -> None:
    rtc = Rtc("rtc0", int(NOW) + apart, False)
    report = replace(GOOD, hardware=(rtc,))
    assert list(wrong(report)) == []
    shown = [text for _, text, _ in clock._rows(report)]
    assert any("(local time)" in text for text in shown) == (abs(apart) > 60)


def test_a_hardware_clock_that_does_not_answer() -> None:
    report = replace(GOOD, hardware=(Rtc("rtc0", None, False),))
    assert list(wrong(report)) == []
    assert ("rtc0", "does not answer", "") in list(clock._rows(report))


def test_what_the_kernel_does_not_say() -> None:
    report = replace(GOOD, discipline=None, boot_time=None, source="", asleep=90.0)
    assert list(wrong(report)) == []
    rows = list(clock._rows(report))
    assert ("kept", "the kernel does not say", "") in rows
    assert rows[-1] == ("up", "1.1 h, asleep for 1.5 min", "")
    said = clock._document(report)
    assert isinstance(said, dict)
    assert said["synchronised"] is None
