"""Loaders of programs: this one's, a shell's, and of what is no program."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel.elf import constant_sections, interpreter


@pytest.mark.parametrize("program", [os.path.realpath(sys.executable), "/bin/sh"])
def test_real_programs(program: str) -> None:
    with open(program, "rb") as file:
        found = interpreter(file.read(4096))
    assert not found or os.path.exists(found)


def test_a_program_of_32_bits_of_the_other_order() -> None:
    head = bytearray(512)
    head[:6] = b"\x7fELF\x01\x02"
    struct.pack_into(">I", head, 28, 52)
    struct.pack_into(">HH", head, 42, 32, 2)
    struct.pack_into(">IIIII", head, 52, 1, 0, 0, 0, 0)
    struct.pack_into(">IIIII", head, 84, 3, 200, 0, 0, 16)
    head[200:216] = b"/lib/ld.so.1\0\0\0\0"
    assert interpreter(bytes(head)) == "/lib/ld.so.1"


@pytest.mark.parametrize("head", [b"", b"#!/bin/sh\n" * 20, b"\x7fELF", b"\x7fELF\x02\x01" * 20])
def test_what_is_none(head: bytes) -> None:
    assert interpreter(head) == ""


@given(st.binary(max_size=300))
def test_no_bytes_raise(tail: bytes) -> None:
    for start in (b"\x7fELF\x02\x01", b"\x7fELF\x01\x02", b""):
        assert len(interpreter(start + tail)) <= len(start + tail)


def library() -> Path:
    """Return a library that this process has."""
    maps = Path("/proc/self/maps").read_text().split()
    return next(Path(word) for word in maps if "/libc.so" in word or "/libc-" in word)


def test_the_sections_of_a_real_library() -> None:
    with library().open("rb") as file:
        found = constant_sections(file)
    data = library().read_bytes()
    offset, size = found[b".dynstr"]
    assert b"\0GLIBC_PRIVATE\0" in data[offset : offset + size]
    assert found[b".text"][1] > found[b".dynstr"][1]
    assert b".data" not in found
    assert b".eh_frame" in found


def test_the_sections_as_readelf_has_them() -> None:
    try:
        done = subprocess.run(
            ["readelf", "-SW", library()], capture_output=True, text=True, check=True
        )
    except OSError:
        pytest.skip("readelf is not installed")
    (line,) = [line for line in done.stdout.splitlines() if " .eh_frame " in line]
    *_, offset, size, _, _, _, _, _ = line.split()
    with library().open("rb") as file:
        assert constant_sections(file)[b".eh_frame"] == (int(offset, 16), int(size, 16))


@given(st.integers(0, 63), st.binary(max_size=8), st.integers(0, 200))
def test_no_damaged_library_raises(at: int, junk: bytes, more: int) -> None:
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("=Q", head, 40, 64)
    struct.pack_into("=HHH", head, 58, 64, 2, 1)
    head[at : at + len(junk)] = junk
    constant_sections(io.BytesIO(bytes(head) + bytes(range(more))))
    constant_sections(io.BytesIO(junk))
