"""Tests of telnet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.transcript import cut

from panicdoor.errors import ProtocolError
from panicdoor.protocols.telnet import (
    AYT,
    BRK,
    COMMANDS_MAX,
    DO,
    DONT,
    EC,
    EL,
    GA,
    IAC,
    IP,
    NOP,
    PRESENT,
    SB,
    SE,
    SUBNEGOTIATION_MAX,
    WILL,
    WONT,
    Codec,
    Kind,
    Piece,
)

# Mostly what means something, so that the grammar is walked.
TELNETTISH = st.lists(
    st.sampled_from([*range(236, 256), 0, 8, 10, 13, 13, 65, 66, IAC, IAC, SB, SE]), max_size=60
).map(bytes)


def decoded(data: bytes, places: list[int] | None = None) -> list[Piece]:
    """Return what the codec makes of `data` cut there; neighbouring data as one piece."""
    codec, found = Codec(), list[Piece]()
    for piece in cut(data, places or []):
        for kind, text in codec.feed(piece):
            assert text or kind is Kind.INTERRUPT
            if found and kind is found[-1][0] is Kind.DATA:
                text = found.pop()[1] + text
            found.append((kind, text))
    return found


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\r\ntwo\r\0three\nfour\rfive", b"one\ntwo\nthree\nfour\nfive"),
        (b"\r\r\n\r\r\0", b"\n\n\n\n"),
        (b"\r\n\0", b"\n\0"),
        (b"\r\0\n", b"\n\n"),
        (b"\n\r\n", b"\n\n"),
        (b"a\xff\xffb", b"a\xffb"),
        (b"\r\xff\xff\n", b"\n\xff\n"),
        (b"\r\xff\xf1\nx", b"\nx"),
        (b"\r\xff\xf7\nx", b"\n\b\nx"),
        (bytes((65, IAC, EC, 66, IAC, EL, 67)), b"A\bB\x15C"),
        (bytes((65, IAC, NOP, 66, IAC, GA, 67, IAC, SE, 68)), b"ABCD"),
        (bytes((65, IAC, SB, 24, 0, IAC, IAC, 1, IAC, NOP, 2, IAC, SE, 66)), b"AB"),
    ],
)
def test_data(data: bytes, text: bytes) -> None:
    for places in ([], list(range(len(data)))):
        assert decoded(data, places) == [(Kind.DATA, text)]


def test_every_option_is_refused_each_time_and_refusals_are_ignored() -> None:
    offers = b"".join(bytes((IAC, verb, 31)) for verb in (WILL, DO, WONT, DONT, WILL))
    assert decoded(offers) == [
        (Kind.REPLY, bytes((IAC, DONT, 31))),
        (Kind.REPLY, bytes((IAC, WONT, 31))),
        (Kind.REPLY, bytes((IAC, DONT, 31))),
    ]


def test_functions_come_in_their_place() -> None:
    data = b"a" + bytes((IAC, IP)) + b"b" + bytes((IAC, AYT)) + b"c" + bytes((IAC, BRK))
    assert decoded(data) == [
        (Kind.DATA, b"a"),
        (Kind.INTERRUPT, b""),
        (Kind.DATA, b"b"),
        (Kind.REPLY, PRESENT),
        (Kind.DATA, b"c"),
        (Kind.INTERRUPT, b""),
    ]


def test_a_subnegotiation_is_bounded_and_nothing_of_it_is_kept() -> None:
    codec = Codec()
    assert not list(codec.feed(bytes((IAC, SB)) + b"x" * SUBNEGOTIATION_MAX + bytes((IAC, SE))))
    pieces = codec.feed(b"a" + bytes((IAC, SB)) + b"x" * (SUBNEGOTIATION_MAX + 1))
    assert next(pieces) == (Kind.DATA, b"a")
    with pytest.raises(ProtocolError, match="512"):
        next(pieces)


@pytest.mark.parametrize("filling", [b"x", b"\xff\xff", b"\xff\xf1", b"\xff\xfa"])
def test_a_subnegotiation_without_end_is_an_error_whatever_is_in_it(filling: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoded(bytes((IAC, SB)) + filling * (SUBNEGOTIATION_MAX + 1))


@pytest.mark.parametrize("command", [bytes((IAC, NOP)), bytes((IAC, WONT, 1)), bytes((IAC, AYT))])
def test_a_session_has_a_budget_of_commands(command: bytes) -> None:
    codec = Codec()
    for _ in range(COMMANDS_MAX):
        list(codec.feed(command))
    assert list(codec.feed(b"\xff\xff")) == [(Kind.DATA, b"\xff")]
    with pytest.raises(ProtocolError, match="2000"):
        list(codec.feed(command))


@settings(max_examples=300)
@given(TELNETTISH, st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_means_the_same(data: bytes, places: list[int]) -> None:
    assert decoded(data, places) == decoded(data)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_mean_something(data: bytes) -> None:
    pieces = decoded(data)
    assert b"\r" not in b"".join(text for kind, text in pieces if kind is Kind.DATA)
    if IAC not in data:
        assert b"".join(text for _, text in pieces) == data.replace(b"\r\n", b"\n").replace(
            b"\r\0", b"\n"
        ).replace(b"\r", b"\n")
