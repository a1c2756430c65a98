"""Tests of ssh's data types."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.orders.sshwire import Reader, mpint, string


@given(st.integers(0, 2**600), st.binary(max_size=300), st.integers(0, 255))
def test_what_is_written_is_read(number: int, data: bytes, byte: int) -> None:
    low = number % 2**64
    reader = Reader(mpint(number) + string(data) + low.to_bytes(8, "big") + bytes([byte]))
    assert (reader.mpint(), reader.string(), reader.uint64()) == (number, data, low)
    assert reader.byte() == byte
    reader.end()


# RFC 4251 section 5
@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00000000"),
        (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
        (0x80, "000000020080"),
    ],
)
def test_the_numbers_of_the_rfc(number: int, encoded: str) -> None:
    assert mpint(number).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).mpint() == number


@pytest.mark.parametrize("encoded", ["00000002edcc", "0000000100", "000000020001"])
def test_other_forms_of_a_number_are_refused(encoded: str) -> None:
    with pytest.raises(ValueError, match="number"):
        Reader(bytes.fromhex(encoded)).mpint()


@given(st.binary(max_size=40))
def test_nothing_but_value_errors(data: bytes) -> None:
    for read in (
        Reader.string,
        Reader.mpint,
        Reader.text,
        Reader.uint32,
        Reader.uint64,
        Reader.byte,
    ):
        with suppress(ValueError):
            read(Reader(data))


def test_the_end() -> None:
    assert Reader(b"").ended
    assert not Reader(b"a").ended


def test_what_is_left_over() -> None:
    reader = Reader(b"\0\0\0\1ab")
    assert reader.string() == b"a"
    with pytest.raises(ValueError, match="left over"):
        reader.end()
