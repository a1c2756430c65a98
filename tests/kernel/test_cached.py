"""Files from memory alone: what is there, what is not, and what nobody may ask."""

import errno
import os
from pathlib import Path

import pytest

from panicdoor.kernel import libc, mounts
from panicdoor.kernel.cached import Files, NotInMemoryError


@pytest.fixture
def mounted() -> list[mounts.Mount]:
    return mounts.read()[0]


def mount(point: bytes, kind: str, number: int = 1) -> mounts.Mount:
    return mounts.Mount(number, 0, "0:1", b"/", point, ("rw",), kind, b"x", ("rw",))


def test_what_was_just_read_is_in_memory(mounted: list[mounts.Mount], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    os.sync()
    file.read_bytes()
    files = Files(mounted)
    found = files.stat(str(file))
    assert found is not None
    assert found.st_size == 100_000
    assert files.read(str(file)) == b"x" * 100_000
    assert files.read(str(file), 10) == b"x" * 10


def test_what_is_not_there(mounted: list[mounts.Mount], tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.exists()  # the kernel has to have heard of it
    for files in (Files(mounted, wait=True), Files(mounted)):
        assert files.stat(str(missing)) is None
        assert files.read(str(missing)) is None
        assert files.stat("/proc/self/status/nothing") is None


def test_what_the_kernel_does_not_know_is_not_looked_up(
    mounted: list[mounts.Mount], tmp_path: Path
) -> None:
    unknown = str(tmp_path / "nobody-asked-for-this")
    if mounts.read()[0] and not Files(mounted)._may_wait(unknown):
        with pytest.raises(NotInMemoryError):
            Files(mounted).stat(unknown)
    assert Files(mounted, wait=True).stat(unknown) is None


def test_file_systems_in_memory_are_asked(mounted: list[mounts.Mount]) -> None:
    files = Files(mounted)
    assert files.read("/proc/sys/kernel/ostype") == b"Linux\n"
    assert files._may_wait("/proc/1/stat")
    assert not Files([mount(b"/", "ext4")])._may_wait("/etc/passwd")
    assert Files([mount(b"/", "ext4"), mount(b"/run", "tmpfs")])._may_wait("/run/nologin")
    assert not Files([mount(b"/", "ext4"), mount(b"/run", "tmpfs")])._may_wait("/running")


def test_what_is_over_a_network_is_left_alone(mounted: list[mounts.Mount]) -> None:
    remote = [one._replace(kind="nfs4") for one in mounted]
    files = Files(remote, wait=True)
    with pytest.raises(NotInMemoryError):
        files.stat("/etc/passwd")
    with pytest.raises(NotInMemoryError):
        files.read("/etc/passwd")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOSYS, errno.EINVAL])
def test_an_older_kernel_only_does_not_know(
    monkeypatch: pytest.MonkeyPatch, mounted: list[mounts.Mount], code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, "no")

    monkeypatch.setattr(libc, "syscall", refuse)
    with pytest.raises(NotInMemoryError):
        Files(mounted).stat("/etc/passwd")


def test_what_is_not_in_the_page_cache(
    monkeypatch: pytest.MonkeyPatch, mounted: list[mounts.Mount]
) -> None:
    def refuse(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "no")

    with open("/etc/passwd"):
        monkeypatch.setattr(os, "preadv", refuse)
        with pytest.raises(NotInMemoryError):
            Files(mounted).read("/etc/passwd")


def test_what_may_not_be_seen_is_an_error(mounted: list[mounts.Mount]) -> None:
    with pytest.raises(IsADirectoryError):
        Files(mounted, wait=True).read("/proc")
