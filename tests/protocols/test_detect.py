"""Tests of detect."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.protocols.base import Part
from panicdoor.protocols.detect import (
    PEEK_MAX,
    Refusal,
    Stage,
    Step,
    Way,
    Where,
    detect,
    refused,
    step,
)

TABLE = [
    (b"\0", Way.LINES),
    (b"\xff", Way.LINES),
    (b"\xff\xfb\x1f", Way.LINES),
    (b"panicdoor order 1\n", Way.LINES),
    (b"help\n", Way.LINES),
    (b"p", Way.LINES),
    (b"\r\n", Way.LINES),
    (b"\x16\x03\x01", Way.TLS),
    (b"\x16\x02", Way.LINES),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Way.SSH),
    (b"SSH_", Way.LINES),
    (b"GET / HTTP/1.1", Way.HTTP),
    (b"HEAD ", Way.HTTP),
    (b"POST /", Way.HTTP),
    (b"PUT /", Way.HTTP),
    (b"DELETE /", Way.HTTP),
    (b"OPTIONS *", Way.HTTP),
    (b"PATCH /", Way.HTTP),
    (b"CONNECT a:1", Way.HTTP),
    (b"TRACE /", Way.HTTP),
    (b"PRI * HTTP/2.0\r\n", Way.HTTP),
    (b"GETTING", Way.LINES),
    (b"GET\r\n", Way.LINES),
    (b"get / ", Way.LINES),
    *(
        (beginning, None)
        for beginning in (b"", b"\x16", b"S", b"SSH", b"G", b"GET", b"P", b"OPTIONS")
    ),
]


@pytest.mark.parametrize(("first", "way"), TABLE)
def test_first_bytes(first: bytes, way: Way | None) -> None:
    assert detect(first) is way


@pytest.mark.parametrize("first", [first for first, way in TABLE if way is None and first])
def test_what_may_still_become_two_things_is_lines_at_the_end_or_in_silence(first: bytes) -> None:
    assert detect(first, eof=True) is Way.LINES
    assert detect(first, silent=True) is Way.LINES


def test_nothing_is_decided_by_silence_but_by_the_end() -> None:
    assert detect(b"", silent=True) is None
    assert detect(b"", eof=True) is Way.LINES


def test_so_many_bytes_always_decide() -> None:
    assert detect(b"x" * PEEK_MAX) is detect(b"OPTIONS "[: PEEK_MAX - 1] + b"x") is Way.LINES
    assert detect(b"OPTIONS") is None


@settings(max_examples=200)
@given(st.binary(max_size=20))
def test_more_bytes_never_change_a_decision(data: bytes) -> None:
    ways = [way for n in range(len(data) + 1) if (way := detect(data[:n])) is not None]
    assert len(set(ways)) <= 1
    assert len(data) < PEEK_MAX or ways


def test_silence_greets_once_and_detection_goes_on() -> None:
    assert step(Stage.WAITING, b"") == Step(Stage.WAITING, False, None)
    assert step(Stage.WAITING, b"", silent=True) == Step(Stage.GREETED, True, None)
    assert step(Stage.GREETED, b"", silent=True) == Step(Stage.GREETED, False, None)
    assert step(Stage.GREETED, b"SSH-") == Step(Stage.GREETED, False, Way.SSH)
    assert step(Stage.GREETED, b"GET ") == Step(Stage.GREETED, False, Way.HTTP)
    assert step(Stage.GREETED, b"\0") == Step(Stage.GREETED, False, Way.LINES)
    assert step(Stage.GREETED, b"G", silent=True) == Step(Stage.GREETED, False, Way.LINES)
    assert step(Stage.WAITING, b"G", silent=True) == Step(Stage.WAITING, False, Way.LINES)
    assert step(Stage.WAITING, b"", eof=True) == Step(Stage.WAITING, False, Way.LINES)


def test_what_is_not_open_there_is_refused_in_one_line() -> None:
    assert refused(Way.TLS, Where.CLEAR) is None
    for way, where in [(Way.TLS, Where.LATE), (Way.TLS, Where.INSIDE), (Way.SSH, Where.INSIDE)]:
        line = refused(way, where)
        assert line
        assert len(line) < 80
    for where in Where:
        assert refused(Way.LINES, where) is refused(Way.HTTP, where) is None


def test_a_refusal_is_a_line_and_closed() -> None:
    refusal = Refusal("No.")
    refusal.receive_data(b"SSH-2.0-x")
    refusal.receive_silence()
    refusal.receive_eof()
    refusal.send(Part("late"))
    assert refusal.closed
    assert not refusal.hungry
    assert not refusal.cancelled()
    assert refusal.next_request() is None
    assert refusal.data_to_send() == b"No.\r\n"
    assert refusal.data_to_send() == b""
