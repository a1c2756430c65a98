"""Loaders of programs: this one's, a shell's, and of what is no program."""

import os
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel.elf import interpreter


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
