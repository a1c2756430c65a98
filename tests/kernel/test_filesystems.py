"""How full file systems are, beside df(1)."""

import math
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel.filesystems import Usage, measure, usage


@pytest.mark.parametrize("point", ["/", "/dev/shm"])
def test_it_says_what_df_says(point: str) -> None:
    df = shutil.which("df")
    if df is None or not Path(point).is_dir():
        pytest.skip("df(1) or the file system is not here")

    def told(columns: str) -> list[str]:
        asked = [df, "-B1", f"--output={columns}", point]
        run = subprocess.run(asked, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()[1].split()

    size, used, left, percent = told("size,used,avail,pcent")
    inodes, inodes_used, inodes_percent = told("itotal,iused,ipcent")
    mine = usage(point.encode())
    slack = 512 << 20  # others write meanwhile
    assert mine.size == int(size)
    assert mine.used == pytest.approx(int(used), abs=slack)
    assert mine.left == pytest.approx(int(left), abs=slack)
    assert math.ceil(mine.percent) == pytest.approx(int(percent.rstrip("%")), abs=1)
    assert mine.inodes == int(inodes)
    assert mine.inodes_used == pytest.approx(int(inodes_used), abs=20_000)
    assert math.ceil(mine.inodes_percent) == pytest.approx(int(inodes_percent.rstrip("%")), abs=1)


def test_numbers() -> None:
    found = measure(4096, 100, 20, 10, 50, 5)
    assert found == Usage(409600, 327680, 40960, 50, 45)
    assert found.percent == pytest.approx(88.9, abs=0.1)
    assert found.inodes_percent == found.worst == 90
    assert found.full
    assert not measure(4096, 100, 60, 50, 0, 0).full


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.integers(-1, 2**64), min_size=6, max_size=6))
def test_no_numbers_are_nonsense(numbers: list[int]) -> None:
    found = measure(*numbers)
    assert min(found) >= 0
    assert 0 <= found.worst <= 100


def test_an_error_is_the_kernels_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        usage(bytes(tmp_path / "missing"))
