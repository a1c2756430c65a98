"""Start times, names and certain ends of real processes."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.child import in_child
from tests.running import wait_for

from panicdoor.kernel import process

GONE = 2**22 + 1  # beyond the largest pid that Linux gives


@pytest.fixture
def other() -> Iterator[int]:
    """A process that waits."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def ended(pid: int) -> bool:
    """Whether a child of ours has ended, without reaping it."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(fd)


def test_the_boot_has_one_id() -> None:
    assert len(process.boot_id()) == 36
    assert process.boot_id() == process.boot_id()


def test_start_times_grow(other: int) -> None:
    assert 0 < process.start_time(os.getpid()) <= process.start_time(other)


def test_who_is_not_there_has_no_start_time_and_no_name() -> None:
    assert process.start_time(GONE) == 0
    assert process.name(GONE) == "?"


@pytest.mark.parametrize("name", [") 1 (", "a b) R 1", "x\ny", "\xff\xfe"])
def test_any_name_will_do(name: str) -> None:
    def renamed() -> object:
        before = process.start_time(os.getpid())
        Path("/proc/self/comm").write_bytes(name.encode("latin-1"))
        return before == process.start_time(os.getpid()) > 0, process.name(os.getpid())

    assert in_child(renamed) == [True, name]


def test_the_one_that_is_meant_is_ended(other: int) -> None:
    assert process.end(other, process.start_time(other), 5000)
    assert ended(other)


def test_another_one_of_the_same_pid_is_not(other: int) -> None:
    assert process.end(other, process.start_time(other) - 1, 5000)
    assert not ended(other)


def test_one_that_is_gone_is_no_failure() -> None:
    assert process.end(GONE, 1, 5000)


def test_one_that_may_not_be_ended_is_a_failure(other: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody who may not")
    started = process.start_time(other)
    assert in_child(lambda: process.end(other, started, 1000), nobody=True) is False
    assert not ended(other)


def test_the_oom_killer_is_asked_to_pass_by() -> None:
    def ask() -> object:
        done = process.escape_oom_killer()
        return done, Path(process.OOM_SCORE).read_text().strip() == process.OOM_NEVER

    done, low = in_child(ask)
    assert done == low


def test_who_may_not_ask_that_is_told() -> None:
    if Path(process.OOM_SCORE).read_text().strip() == process.OOM_NEVER:
        pytest.skip("the score of these tests is low already")
    assert in_child(process.escape_oom_killer, nobody=True) is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_signal_for_somebody_elses_process(other: int) -> None:
    started = process.start_time(other)

    def attempt() -> str:
        try:
            process.tell(other, started, signal.SIGTERM)
        except PermissionError:
            return "refused"
        return "sent"

    assert in_child(attempt, nobody=True) == "refused"


def test_a_signal_for_that_process_and_no_other(other: int) -> None:
    started = process.start_time(other)
    assert not process.tell(other, started + 1, signal.SIGKILL)
    assert not process.tell(GONE, 1, signal.SIGKILL)
    assert not ended(other)
    assert process.tell(other, started, signal.SIGTERM)
    wait_for(lambda: ended(other))
    process.tell(other, started, signal.SIGTERM)  # a zombie takes it, and nothing comes of it
