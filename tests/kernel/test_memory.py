"""How much is locked under which limits, and that a locked process may still use its stack."""

import ctypes
import mmap
import resource
import signal
from collections.abc import Callable

import pytest
from tests.child import (
    KilledError,
    become_nobody,
    end_of_stack,
    in_child,
    kib,
    status,
    use_stack,
)
from tests.running import ROOT

from panicdoor.kernel import confine, memory
from panicdoor.kernel.memory import Locked

MIB = 1 << 20
PAGE = 4096
DEEP = 7_500  # KiB of stack: nearly all of the usual limit
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")


def limit_of(what: int) -> int:
    return resource.getrlimit(what)[1]


def usual_stack() -> None:
    """Have the stack limit that memory.STACK_MAX is made for."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard != resource.RLIM_INFINITY and hard < memory.STACK_MAX:
        pytest.skip("RLIMIT_STACK is small here, and may not be raised")
    resource.setrlimit(resource.RLIMIT_STACK, (memory.STACK_MAX, hard))


def test_without_a_right_to_lock_nothing_is() -> None:
    def lock() -> object:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
        return memory.lock(memory.Ranges(), forever=False).name, kib("VmLck")

    assert in_child(lock, nobody=True) == [Locked.NONE.name, 0]


@needs_root
def test_root_locks_everything_now_and_later() -> None:
    def lock() -> object:
        locked = memory.lock(memory.survey(), forever=True)
        before = kib("VmLck")
        block = mmap.mmap(-1, 32 * MIB)  # nothing that malloc(3) still had from before
        return locked.name, before > 0, kib("VmLck") - before >= len(block) // 1024

    assert in_child(lock) == [Locked.ALL.name, True, True]


@needs_root
def test_who_will_lose_that_right_locks_what_there_is() -> None:
    if limit_of(resource.RLIMIT_MEMLOCK) == resource.RLIM_INFINITY:
        pytest.skip("RLIMIT_MEMLOCK is infinite here")

    def lock() -> object:
        locked = memory.lock(memory.survey(), forever=memory.raise_limit())
        become_nobody()
        before = kib("VmLck")
        block = mmap.mmap(-1, 32 * MIB)
        return locked.name, before > 0, kib("VmLck") == before, len(block)

    assert in_child(lock) == [Locked.CURRENT.name, True, True, 32 * MIB]


@pytest.mark.parametrize("prepare", [memory.survey, memory.Ranges], ids=["prepared", "as it was"])
@needs_root
def test_the_stack_of_a_locked_process(prepare: Callable[[], memory.Ranges]) -> None:
    """What is not prepared dies under a low limit: that is what all this is for."""

    def recurse() -> object:
        usual_stack()
        end = end_of_stack()
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 * MIB, 8 * MIB))
        memory.lock(prepare(), forever=False)
        become_nobody()
        use_stack(end, DEEP)
        return True

    if prepare is memory.survey:
        assert in_child(recurse) is True
    else:
        with pytest.raises(KilledError, match=str(int(signal.SIGSEGV))):
            in_child(recurse)


def test_a_survey_gives_the_stack_its_size() -> None:
    def grow() -> object:
        usual_stack()
        memory.survey()
        return kib("VmStk")

    full = (memory.STACK_MAX - memory.STACK_GUARD) // 1024
    assert full <= in_child(grow) <= memory.STACK_MAX // 1024


def test_a_survey_respects_a_small_limit() -> None:
    def grow() -> object:
        resource.setrlimit(resource.RLIMIT_STACK, (MIB, MIB))
        memory.survey()
        return kib("VmStk")

    assert in_child(grow) <= 1024


def test_a_survey_finds_what_can_be_read() -> None:
    def look() -> object:
        block = ctypes.create_string_buffer(8 * MIB)
        at = ctypes.addressof(block)
        ranges = memory.survey().needed
        readable = all(low < high for low, high in ranges)
        return readable, any(low <= at < high for low, high in ranges)

    assert in_child(look) == [True, True]


def test_what_only_a_loader_reads_is_not_kept() -> None:
    """Of the largest library, at least: elsewhere it may be too little to matter."""

    def look() -> object:
        ranges = memory.survey()
        memory.lock(ranges, forever=False)
        clear = all(
            high <= start or end <= low
            for low, high in ranges.unread
            for start, end in ranges.needed
        )
        spans = [high - low for low, high in ranges.unread]
        held = [resident_at(*ranges.unread[at]) for at in range(len(spans))]
        return clear, sum(spans) > MIB, sum(held) < sum(spans) / 10

    assert in_child(look) == [True, True, True]


def resident_at(low: int, high: int) -> int:
    """Return how many bytes between two addresses this process has mapped: proc_pid_pagemap(5)."""
    with open("/proc/self/pagemap", "rb") as pages:
        pages.seek(low // PAGE * 8)
        entries = pages.read((high - low) // PAGE * 8)
    return sum(PAGE for at in range(7, len(entries), 8) if entries[at] & 0x80)


def test_reading_in_costs_no_copies() -> None:
    """A child that reads everything in has the pages of its parent, not pages of its own."""
    ranges = memory.Ranges(*in_child(lambda: memory.survey()))

    def private() -> int:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in list(file)[1:])
        return int(rows["Private_Dirty"].split()[0])

    def read_in() -> object:
        before = private()
        memory.lock(ranges, forever=False)
        return private() - before

    assert in_child(read_in) < 2048


def test_ranges_that_are_not_there_are_passed_over() -> None:
    nonsense = ((0, 4096), (4096, 8192), (1 << 46, (1 << 46) + 4096))
    ranges = memory.Ranges(nonsense, nonsense)
    assert in_child(lambda: memory.lock(ranges, forever=False).name) in Locked.__members__


def test_freed_memory_stays_ours() -> None:
    def use() -> object:
        memory.settle_malloc()
        block = b"x" * (8 * MIB)
        size = kib("VmSize")
        del block
        return size - kib("VmSize")

    assert in_child(use) == 0


def test_what_is_new_after_plugging_lies_together() -> None:
    size, many = 100, 20_000

    def spread() -> object:
        def pools() -> int:
            new = [bytes(bytearray(size)) for _ in range(100)]
            return len({id(block) // PAGE for block in new})

        kept = [bytes(bytearray(size)) for _ in range(many)]
        del kept[::100]
        before = pools()
        memory.plug_gaps()
        return before, pools()

    before, after = in_child(spread)
    assert after <= 5 < before  # 40 blocks of this size lie on a page


def test_who_is_bound_by_the_limit() -> None:
    assert memory.privileged() == bool(int(status("CapEff"), 16) >> 14 & 1)

    def unprivileged() -> bool:
        confine.drop_capabilities()
        return memory.privileged()

    assert not in_child(unprivileged)
