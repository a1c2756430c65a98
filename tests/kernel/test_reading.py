"""Reading the kernel's files: bounded, and never surprised."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import reading


def test_a_file_is_read_to_its_end_or_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 200_000)
    assert len(reading.read(str(file))) == 200_000
    assert len(reading.read(str(file), 70_000)) == 70_000
    assert len(reading.glance(str(file))) == reading.SMALL
    assert reading.read(str(file), 0) == b""


def test_tables_of_proc_are_read_whole() -> None:
    assert reading.read("/proc/self/maps").endswith(b"\n")
    assert reading.glance("/proc/self/stat").startswith(b"%d (" % os.getpid())


def test_a_pipe_that_nobody_writes_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reading.read(str(tmp_path / "pipe")) == b""


def test_what_is_not_there_is_an_error_or_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reading.glance(str(tmp_path / "none"))
    with pytest.raises(OSError):  # noqa: PT011 - which one is the kernel's to choose
        reading.read(str(tmp_path))
    assert reading.value(str(tmp_path / "none")) == ""
    assert reading.value("/proc/sys/kernel/ostype") == "Linux"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"12", 12),
        (" -1\n", -1),
        (b"", None),
        (b"max", None),
        (b"1_0", None),
        ("\u0663", None),
        ("--1", None),
        (b"9" * 21, None),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_number(text: bytes | str, number: int | None) -> None:
    assert reading.number(text) == number


@given(st.binary() | st.text())
def test_no_text_makes_a_number_raise(text: bytes | str) -> None:
    reading.number(text)


def test_paths_have_a_character_for_each_byte(tmp_path: Path) -> None:
    assert reading.bytewise("/etc/plain") == "/etc/plain"
    name = b"a\xe6\xbc\xa2\xff\n"
    (tmp_path / os.fsdecode(name)).touch()
    (found,) = os.listdir(tmp_path)
    assert reading.bytewise(found) == name.decode("latin-1")
