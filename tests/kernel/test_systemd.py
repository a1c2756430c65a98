"""What systemd says: its lists, and the files it keeps. tests/privileged asks a real one."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import dbus, systemd
from panicdoor.kernel.systemd import Unit, parse


def text(data: bytes, value: str) -> bytes:
    raw = value.encode()
    return b"\0" * (-len(data) % 4) + struct.pack("<I", len(raw)) + raw + b"\0"


def units(*rows: tuple[str, ...]) -> bytes:
    """An array of (ssssssouso) as a D-Bus body: 8 bytes before it, so that offsets are the same."""
    array = b""
    for row in rows:
        array += b"\0" * (-len(array) % 8)
        for value in (*row, "", "/path"):
            array += text(array, value)
        array += b"\0" * (-len(array) % 4) + struct.pack("<I", 0)
        array += text(array, "")
        array += text(array, "/")
    return struct.pack("<I4x", len(array)) + array


def test_a_list() -> None:
    bad = ("bad.service", "Bad \x1b[2J one", "loaded", "failed", "failed")
    odd = ("x.mount", "", "not-found", "failed", "failed")
    assert parse(dbus.Reader(units(bad, odd))) == (Unit(*bad), Unit(*odd))
    assert parse(dbus.Reader(units())) == ()


def test_a_list_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "UNITS_MAX", 3)
    row = ("a.service", "", "loaded", "failed", "failed")
    assert len(parse(dbus.Reader(units(*[row] * 10)))) == 3


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        parse(dbus.Reader(data))
    except dbus.DBusError:
        return


def test_where_there_is_none(tmp_path: Path) -> None:
    assert not systemd.booted(str(tmp_path / "nothing"))
    assert systemd.booted(str(tmp_path))
    assert systemd.started(str(tmp_path / "nothing")) is None
    with pytest.raises(FileNotFoundError):
        systemd.units(("failed",), 0.1, str(tmp_path / "nothing"))


def test_when_units_were_started(tmp_path: Path) -> None:
    for name in ("invocation:cron.service", "invocation:a\n.service", "log-level-max:x.service"):
        os.symlink("0123", tmp_path / name)
    found = systemd.started(str(tmp_path))
    assert found is not None
    assert sorted(found) == ["a\n.service", "cron.service"]
    assert found["cron.service"] == (tmp_path / "invocation:cron.service").lstat().st_mtime
