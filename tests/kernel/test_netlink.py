"""Packets of netlink as bytes, and the kernel's own answers."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel import netlink
from panicdoor.kernel.netlink import Message, NetlinkError, attributes, dump, messages, request


def packed(kind: int, payload: bytes) -> bytes:
    whole = struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 0) + payload
    return whole + bytes(-len(whole) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def test_a_request_asks_for_a_dump() -> None:
    assert request(18, b"body") == struct.pack("=IHHII", 20, 18, 0x301, 0, 0) + b"body"


def test_messages_of_one_packet() -> None:
    packet = packed(20, b"abc") + packed(3, b"") + packed(21, b"defg")
    assert list(messages(packet)) == [Message(20, b"abc"), Message(3, b""), Message(21, b"defg")]
    assert list(messages(b"")) == []


@pytest.mark.parametrize(
    "packet", [b"x", bytes(15), bytes(16), struct.pack("=IHHII", 17, 1, 0, 0, 0)]
)
def test_a_wrong_length_is_an_error(packet: bytes) -> None:
    with pytest.raises(NetlinkError, match="message"):
        list(messages(packet))


def test_attributes() -> None:
    data = b"head" + attribute(3, b"lo\0") + attribute(0x8000 | 18, b"nested") + b"\0\0"
    assert attributes(data, 4) == {3: b"lo\0", 18: b"nested"}
    assert attributes(attribute(1, b"old") + attribute(1, b"new")) == {1: b"new"}
    for wrong in (struct.pack("=HH", 3, 1), struct.pack("=HH", 9, 1) + b"abcd"):
        with pytest.raises(NetlinkError, match="attribute"):
            attributes(wrong)


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for parse in (lambda: list(messages(data)), lambda: attributes(data)):
        try:
            parse()
        except NetlinkError:
            continue


def test_the_kernel_answers() -> None:
    told = list(dump(netlink.ROUTE, 18, bytes(16)))  # RTM_GETLINK
    assert {message.kind for message in told} == {16}
    assert any(attributes(message.payload, 16)[3] == b"lo\0" for message in told)


def test_whoever_has_enough_closes_it() -> None:
    told = dump(netlink.ROUTE, 18, bytes(16))
    assert next(told).kind == 16
    told.close()  # type: ignore[attr-defined]


def test_a_refusal_is_the_kernels_own_error() -> None:
    with pytest.raises(OSError, match="netlink: ") as refused:
        list(dump(netlink.SOCK_DIAG, 20, b""))  # SOCK_DIAG_BY_FAMILY without a family
    assert refused.value.errno == 22
    with pytest.raises(OSError, match="not supported"):
        list(dump(31, 20, b""))
