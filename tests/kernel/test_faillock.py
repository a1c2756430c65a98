"""Tallies of pam_faillock: as it writes them, cut off, and hostile."""

import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import faillock
from panicdoor.kernel.faillock import Locked, look, parse


def record(source: bytes, status: int, at: int) -> bytes:
    return struct.pack("=52sHHQ", source, 0, status, at)


def test_only_valid_ones_count() -> None:
    data = record(b"192.0.2.9", 3, 1000) + record(b"192.0.2.8", 3, 1100) + record(b"tty1", 4, 1200)
    assert parse("root", data, 1160.0) == Locked("root", 2, 60.0, "192.0.2.8")
    assert parse("root", record(b"", 0, 5), 10.0) is None
    assert parse("root", b"", 10.0) is None


def test_a_piece_is_left_out() -> None:
    data = record(b"a", 1, 5) + record(b"b", 1, 6)[:-1]
    assert parse("u", data, 6.0) == Locked("u", 1, 1.0, "a")


@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    found = parse("u", data, 0.0)
    assert found is None or found.failures <= len(data) // 64


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(record(b"\x1b[2J", 1, 0) * 3)
    (tmp_path / "calm").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    missing = str(tmp_path / "missing")
    found = look((missing, str(tmp_path)))
    assert found is not None
    assert [(one.user, one.failures, one.source) for one in found] == [("root", 3, "\x1b[2J")]
    assert look((missing,)) is None


def test_many_users(tmp_path: Path) -> None:
    for n in range(faillock.USERS_MAX + 5):
        (tmp_path / f"u{n}").write_bytes(record(b"", 1, 0))
    found = look((str(tmp_path),))
    assert found is not None
    assert len(found) == faillock.USERS_MAX
