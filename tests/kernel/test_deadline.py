"""Deadlines inside one process: what sleeps, what computes, what swallows, and what is quick."""

import gc
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest

from panicdoor.kernel.deadline import OutOfTimeError, within


def test_what_is_quick_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with within(0.05):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    time.sleep(0.06)


def test_no_garbage_is_collected_meanwhile() -> None:
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        with within(5):
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    gc.enable()


def test_what_sleeps_is_woken() -> None:
    began = time.monotonic()
    with pytest.raises(OutOfTimeError), within(0.05):
        time.sleep(5)
    assert time.monotonic() - began < 1


def for_ever() -> None:
    while True:
        pass


def whatever_happens() -> None:
    while True:
        try:
            time.sleep(5)
        except OSError:
            continue


@pytest.mark.parametrize("work", [for_ever, whatever_happens])
def test_what_does_not_end_is_ended(work: Callable[[], None]) -> None:
    with pytest.raises(OutOfTimeError), within(0.05):
        work()


def test_it_rings_until_it_is_heard() -> None:
    heard = []

    def deaf() -> None:
        try:
            time.sleep(5)
        except OutOfTimeError as error:
            heard.append(error)
        time.sleep(5)

    with pytest.raises(OutOfTimeError), within(0.02):
        deaf()
    assert len(heard) == 1


def test_no_time_at_all() -> None:
    with pytest.raises(OutOfTimeError), within(0):
        time.sleep(5)


def test_an_error_inside_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), within(5):
        raise ZeroDivisionError
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_nothing_is_raised_on_the_way_in_or_out() -> None:
    frames = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in ("__enter__", "__exit__"):
            frames.append(frame)

    guard = within(5)
    sys.setprofile(watch)
    with guard:
        pass
    sys.setprofile(None)
    guard._armed = True
    assert len(frames) == 2
    for frame in frames:
        guard._ring(signal.SIGALRM, frame)
    with pytest.raises(OutOfTimeError):
        guard._ring(signal.SIGALRM, sys._getframe())
