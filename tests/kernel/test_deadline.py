"""Deadlines inside one process: what sleeps, what computes, what swallows, and what is quick."""

import gc
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from panicdoor.kernel.deadline import LEAST_S, OutOfTimeError, within


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


def test_no_bell_rings_on_however_narrowly_it_ended() -> None:
    until = time.monotonic() + 1
    n = 0
    while time.monotonic() < until:
        n += 1
        end = time.perf_counter() + LEAST_S + n % 200 * 1e-7  # as near as can be
        with suppress(OutOfTimeError), within(LEAST_S):
            while time.perf_counter() < end:
                pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
