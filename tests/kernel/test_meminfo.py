"""Memory: as free(1) and vmstat(8) see it at the same moment; no bytes raise."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import meminfo, reading

MEMINFO = b"""MemTotal:       16384 kB
MemFree:         1024 kB
MemAvailable:    2048 kB
Buffers:           10 kB
Cached:            20 kB
SReclaimable:      30 kB
SwapTotal:       4096 kB
SwapFree:        1024 kB
HugePages_Total:    2
Hugepagesize:    2048 kB
Nonsense
Minus:             -5 kB
"""


def output(*words: str) -> str:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not there")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_parse_meminfo() -> None:
    memory = meminfo.parse_meminfo(MEMINFO)
    assert memory.total == 16384 << 10
    assert memory.available == 2048 << 10
    assert memory.cached == 50 << 10
    assert memory.swap_free == 1024 << 10
    assert memory.huge == 2 * 2048 << 10
    assert memory.dirty == 0


def test_before_there_was_an_estimate_free_is_taken() -> None:
    text = MEMINFO.replace(b"MemAvailable:", b"Other:")
    assert meminfo.parse_meminfo(text).available == 1024 << 10


def test_a_truncated_file_is_read_as_far_as_it_goes() -> None:
    assert meminfo.parse_meminfo(MEMINFO[:20]).total == 0
    assert meminfo.parse_meminfo(MEMINFO[:40]).total == 16384 << 10
    assert meminfo.parse_meminfo(b"").total == 0


def test_memory_agrees_with_free() -> None:
    lines = output("free", "-b", "-w").splitlines()
    heading = lines[0].split()
    told = dict(zip(heading, map(int, lines[1].split()[1:]), strict=True))
    swap = lines[2].split()[1:]
    memory = meminfo.memory()
    tolerance = memory.total // 20
    assert memory.total == told["total"]
    assert memory.available == pytest.approx(told["available"], abs=tolerance)
    assert memory.free == pytest.approx(told["free"], abs=tolerance)
    assert memory.cached == pytest.approx(told["cache"], abs=tolerance)
    assert memory.swap_total == int(swap[0])
    assert memory.swap_free == pytest.approx(int(swap[2]), abs=tolerance)


def test_activity_agrees_with_vmstat() -> None:
    before = meminfo.activity()
    text = output("vmstat", "-s")
    after = meminfo.activity()
    told = {" ".join(line.split()[1:]): int(line.split()[0]) for line in text.splitlines()}
    assert before.swapped_in <= told["pages swapped in"] <= after.swapped_in
    assert before.swapped_out <= told["pages swapped out"] <= after.swapped_out


def test_parse_vmstat() -> None:
    text = b"pswpin 3\npswpout 4\npgmajfault 5\nallocstall_dma 1\nallocstall_normal 2\noom_kill 6\n"
    found = meminfo.parse_vmstat(text)
    assert found == meminfo.Activity(3, 4, 5, 3, 0, 6)


def test_parse_swaps() -> None:
    text = (
        b"Filename\tType\tSize\tUsed\tPriority\n"
        b"/dev/sda2    partition\t1024\t512\t-2\n"
        b"/a\\040swap\\n file\t2048\t0\t5\n"
        b"/short file\n"
        b"/odd file x y z\n"
    )
    assert meminfo.parse_swaps(text) == (
        meminfo.Swap("/dev/sda2", "partition", 1024 << 10, 512 << 10, -2),
        meminfo.Swap("/a\\040swap\\n", "file", 2048 << 10, 0, 5),
    )


def test_swaps_agree_with_the_kernel() -> None:
    text = reading.read(meminfo.SWAPS)
    assert len(meminfo.swaps()) == len(text.splitlines()) - 1
    assert sum(swap.size for swap in meminfo.swaps()) == meminfo.memory().swap_total


LINES = st.lists(
    st.sampled_from([b"MemTotal", b":", b" ", b"kB", b"\n", b"12", b"-3", b"\xff", b"9" * 30])
).map(b"".join)


@given(st.binary() | LINES)
def test_no_bytes_raise(data: bytes) -> None:
    memory = meminfo.parse_meminfo(data)
    assert all(value >= 0 for value in memory)
    assert all(value >= 0 for value in meminfo.parse_vmstat(data))
    meminfo.parse_swaps(data)
