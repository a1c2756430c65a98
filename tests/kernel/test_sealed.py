"""Memory that everybody may read, and only who was born with its mapping may write."""

import fcntl
import mmap
import os
from collections.abc import Callable

import pytest
from tests.child import NOBODY, in_child

from panicdoor.kernel import libc, sealed

SIZE = 8192

Attempt = Callable[[int], object]


def reopened(fd: int) -> object:
    return os.write(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x")


ATTEMPTS: dict[str, Attempt] = {
    "write": lambda fd: os.pwrite(fd, b"x", 0),
    "map": lambda fd: mmap.mmap(fd, SIZE),
    "reopen": reopened,
    "cut": lambda fd: os.ftruncate(fd, 0),
    "grow": lambda fd: os.ftruncate(fd, 2 * SIZE),
    "unseal": lambda fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0),
}


@pytest.mark.parametrize("how", ATTEMPTS)
def test_nobody_writes_it_by_its_descriptor_not_even_its_owner(how: str) -> None:
    fd, address = sealed.create("test", SIZE)
    try:
        libc.store(address, b"it")
        with pytest.raises(PermissionError):
            ATTEMPTS[how](fd)
        assert os.pread(fd, 3, 0) == b"it\0"
    finally:
        libc.unmap(address, SIZE)
        os.close(fd)


def test_a_child_writes_by_the_mapping_it_was_born_with() -> None:
    fd, address = sealed.create("test", SIZE)
    try:
        in_child(lambda: libc.store(address + SIZE - 2, b"ok"))
        assert os.pread(fd, SIZE, 0) == b"ok".rjust(SIZE, b"\0")
        assert os.fstat(fd).st_blocks * 512 == 4096  # no page but that one
    finally:
        libc.unmap(address, SIZE)
        os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_does_not_even_open_it_again() -> None:
    fd, address = sealed.create("test", SIZE)

    def attempt() -> str:
        os.setresuid(*[NOBODY.pw_uid] * 3)
        try:
            os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        except PermissionError:
            return "refused"
        return "opened"

    try:
        assert in_child(attempt) == "refused"
    finally:
        libc.unmap(address, SIZE)
        os.close(fd)
