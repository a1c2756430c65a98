"""Each call as the kernel takes it, and its failures as OSError."""

import ctypes
import errno
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.child import KilledError, in_child, status

from panicdoor.kernel import libc


def failure(what: Callable[[], object]) -> OSError:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - each test looks at its number
        what()
    return raised.value


def test_a_system_call_by_number() -> None:
    getppid = {"x86_64": 110, "aarch64": 173}.get(os.uname().machine)
    if getppid is None:
        pytest.skip("its number is not known for this machine")
    assert libc.syscall("getppid", getppid) == os.getppid()


def test_a_system_call_that_fails_says_which() -> None:
    error = failure(lambda: libc.syscall("no_such_call", 9999))
    assert error.errno == errno.ENOSYS
    assert "no_such_call" in str(error)


def test_an_argument_that_is_not_valid() -> None:
    error = failure(lambda: libc.prctl(libc.PR_SET_DUMPABLE, 7))
    assert error.errno == errno.EINVAL
    assert "prctl" in str(error)


def test_reserving_space_leaves_the_size(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.write(b"text")
        file.flush()
        try:
            libc.fallocate_keep_size(file.fileno(), 1 << 20)
        except OSError as error:
            pytest.skip(f"not on this file system: {error}")
        found = os.fstat(file.fileno())
    assert found.st_size == 4
    assert found.st_blocks * 512 >= 1 << 20


def test_reserving_space_of_no_file() -> None:
    assert failure(lambda: libc.fallocate_keep_size(-1, 1)).errno == errno.EBADF


def test_lengths_beyond_four_gigabytes_are_not_cut(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        error = failure(lambda: libc.fallocate_keep_size(file.fileno(), 1 << 62))
    assert error.errno in (errno.EFBIG, errno.ENOSPC, errno.EOPNOTSUPP)


def test_reading_pages_in() -> None:
    with mmap.mmap(-1, 4 * mmap.PAGESIZE) as block:
        start = ctypes.addressof(ctypes.c_char.from_buffer(block))
        if not libc.populate(start, len(block)):
            pytest.skip("a kernel before 5.14")


def test_opening_by_a_rule(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"text")
    for resolve in (0, libc.RESOLVE_CACHED):
        fd = libc.openat2(str(file), os.O_RDONLY, resolve)
        assert os.read(fd, 9) == b"text"
        assert not os.get_inheritable(fd)
        os.close(fd)
    error = failure(lambda: libc.openat2(str(tmp_path / "nothing"), os.O_RDONLY, 0))
    assert error.errno == errno.ENOENT


def test_what_cannot_be_had_is_said_and_no_error() -> None:
    assert not libc.populate(4096, 4096)
    assert not in_child(lambda: libc.mlockall(0))


def test_what_a_signal_does() -> None:
    def change() -> object:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        libc.set_signal(signal.SIGUSR1, signal.SIG_IGN)
        ignored = int(status("SigIgn"), 16) >> (signal.SIGUSR1 - 1) & 1
        libc.set_signal(signal.SIGUSR1, signal.SIG_DFL)
        return ignored, int(status("SigIgn"), 16) >> (signal.SIGUSR1 - 1) & 1

    assert in_child(change) == [1, 0]


def test_malloc_is_asked_and_may_refuse() -> None:
    assert in_child(lambda: libc.mallopt(libc.M_ARENA_MAX, 1)) in (True, False)
    assert isinstance(in_child(lambda: libc.mallopt(12345, 1)), bool)


def test_touching_memory_writes_one_zero() -> None:
    block = ctypes.create_string_buffer(b"abc")
    libc.touch(ctypes.addressof(block) + 1)
    assert block.raw == b"a\0c\0"


def test_touching_what_is_not_ours_is_fatal() -> None:
    with pytest.raises(KilledError):
        in_child(lambda: libc.touch(0))
