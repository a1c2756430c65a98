"""Deleted files that are still open: real ones, and some that only look so."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel import deleted
from panicdoor.kernel.deleted import Found, find, mount_of
from panicdoor.kernel.descriptors import Scan


def ours(found: Found) -> list[deleted.Deleted]:
    return [file for file in found.files if file.link.pid == os.getpid()]


def test_a_deleted_file_is_found_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "log\x1b[31m\nnew"
    with open(path, "wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        path.unlink()
        again = os.dup(file.fileno())
        found = find(Scan())
        os.close(again)
    (mine,) = [one for one in ours(found) if one.name == str(path)]
    assert mine.size >= 1 << 20
    assert mine.holders == 2
    assert found.size >= mine.size


def test_what_only_looks_deleted_is_not(tmp_path: Path) -> None:
    path = tmp_path / "still here (deleted)"
    with open(path, "w"):
        assert not any(str(path) in file.link.target for file in find(Scan()).files)


def test_memory_is_nobodys_disk() -> None:
    fd = os.memfd_create("pages")
    os.write(fd, bytes(1 << 20))
    assert not any("pages" in file.link.target for file in find(Scan()).files)
    os.close(fd)


def test_where_it_may_wait_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "remote"
    with open(path, "w") as file:
        path.unlink()
        everything = frozenset(range(1 << 20))
        monkeypatch.setattr("panicdoor.kernel.mounts.waiting", lambda mounted: everything)
        found = find(Scan())
        assert ours(found) == []
        assert found.waiting > 0
        assert file.name == str(path)


def test_too_many_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted, "FILES_MAX", 1)
    with open(tmp_path / "1", "w") as one, open(tmp_path / "2", "w") as two:
        os.unlink(one.name)
        os.unlink(two.name)
        assert find(Scan()).cut
    assert find(Scan(links_max=1)).cut


def test_the_mount_of_a_descriptor(tmp_path: Path) -> None:
    with open(tmp_path / "x", "w") as file:
        text = Path(f"/proc/self/fdinfo/{file.fileno()}").read_bytes()
        table = Path("/proc/self/mountinfo").read_bytes().split()
        assert str(mount_of(text)).encode() in table
    with socket.socket() as sock:
        assert mount_of(Path(f"/proc/self/fdinfo/{sock.fileno()}").read_bytes()) > 0
    assert mount_of(b"pos:\t0\nmnt_id:\tx\n") == -1


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=100) | st.binary(max_size=30).map(b"mnt_id:".__add__))
def test_no_fdinfo_raises(text: bytes) -> None:
    mount_of(text)
