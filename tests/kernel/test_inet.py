"""Addresses as people read them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel.inet import TCP, UDP, Socket, endpoint, host, state_name


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (bytes([192, 0, 2, 1]), "192.0.2.1"),
        (bytes(4), "0.0.0.0"),
        (bytes(16), "::"),
        (bytes(15) + b"\1", "::1"),
        (bytes(10) + b"\xff\xff\xc0\0\2\1", "192.0.2.1"),
        (b"", "?"),
        (b"123", "?"),
    ],
)
def test_host(address: bytes, text: str) -> None:
    assert host(address) == text


def test_endpoint() -> None:
    assert endpoint(bytes([127, 0, 0, 1]), 903) == "127.0.0.1:903"
    assert endpoint(bytes(16), 0) == "[::]:*"


@settings(max_examples=100, deadline=None, database=None)
@given(st.binary(max_size=20), st.integers(0, 65535))
def test_any_bytes_have_a_text(address: bytes, port: int) -> None:
    assert endpoint(address, port).isascii()


def test_names() -> None:
    one = Socket(TCP, 2, 10, bytes(4), 1, bytes(4), 0, 0, 0, 0, 0, 0, 0)
    assert one.name == "tcp"
    assert one._replace(protocol=UDP).name == "udp"
    assert (state_name(10), state_name(7), state_name(99)) == ("listen", "unconnected", "99")
