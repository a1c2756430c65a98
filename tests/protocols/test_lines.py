"""Tests of lines: the transcripts, the limits, and what is kept."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.transcript import CASES, GREETING, MAKERS, Replay, read

from panicdoor.protocols.base import WRITE_MAX, Form, Part, Request
from panicdoor.protocols.lines import ORDER_LINE_MAX, ORDER_MAX, TURNS, Lines, Stage, Turn, encode
from panicdoor.words import LINE_MAX, join

LINES_CASES = [path for path in CASES if path.stem.startswith("lines_")]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("path", LINES_CASES, ids=lambda path: path.stem)
def test_transcript(path: Path, bytewise: bool) -> None:
    name, steps = read(path)
    Replay(MAKERS[name](), bytewise).play(steps)


def test_there_are_transcripts() -> None:
    assert len(LINES_CASES) >= 15


def talk(*pieces: bytes) -> Lines:
    """Return a conversation in which this came."""
    lines = Lines(GREETING)
    for piece in pieces:
        lines.receive_data(piece)
    return lines


def test_a_line_of_the_greatest_length_is_one_and_a_longer_one_ends_it() -> None:
    longest = b"x" * LINE_MAX
    assert talk(longest + b"\n").next_request() == Request((longest.decode(),))
    for lines in (talk(longest + b"x"), talk(longest, b"x\n"), talk(longest + b"x\nping\n")):
        assert lines.closed
        assert lines.next_request() is None
        assert lines.data_to_send() == b"Too long: a line may have 1024 characters.\r\n"


def test_a_long_line_that_is_forgotten_was_too_long_all_the_same() -> None:
    assert talk(b"x" * (LINE_MAX + 1) + b"\x03").closed


ORDER = b"panicdoor order 1\n"


def test_a_line_of_an_order_has_a_limit() -> None:
    assert not talk(ORDER, b"x" * ORDER_LINE_MAX + b"\n").closed
    lines = talk(ORDER, b"x" * (ORDER_LINE_MAX + 1))
    assert lines.closed
    assert lines.data_to_send() == b"Too long: a line of an order may have 160 characters.\r\n"


def test_an_order_has_a_limit() -> None:
    full, rest = divmod(ORDER_MAX - len(ORDER) - len(b"sig: x\n"), 100)
    filling = (b"y" * 99 + b"\n") * full + b"z" * (rest - 1) + b"\n"
    pieces = [filling[at : at + 4000] for at in range(0, len(filling), 4000)]
    request = talk(ORDER, *pieces, b"sig: x\n").next_request()
    assert request
    assert len(request.order) == ORDER_MAX
    lines = talk(ORDER, *pieces, b"sig: xx\n")
    assert lines.closed
    assert b"8192 characters" in lines.data_to_send()


def test_a_flood_of_telnet_is_ended_in_one_line_after_what_came_before() -> None:
    lines = talk(b"ping\n")
    flood = b"\xff\xf1" * 1001
    lines.receive_data(flood)
    lines.receive_data(flood)
    assert not lines.hungry
    assert lines.next_request() == Request(("ping",))
    lines.send(Part("pong", end=True))
    assert lines.data_to_send() == b"pong\r\nA session may have 2000 telnet commands.\r\n"
    assert lines.closed


def test_what_comes_ahead_of_an_answer_is_bounded() -> None:
    lines = talk(b"ping\n")
    assert lines.next_request()
    while lines.hungry:
        lines.receive_data(b"ping\n" * 800)
    assert len(lines._waiting) <= LINE_MAX + 4096
    for _ in range(900):
        lines.send(Part("pong\n", end=True))
        lines.data_to_send()
        if not lines.next_request():
            break
    assert lines._waiting == b""


def test_answers_wait_for_a_slow_reader_before_the_next_is_taken_up() -> None:
    lines = talk(b"ping\nping\n")
    assert lines.next_request()
    lines.send(Part("x" * WRITE_MAX, end=True))
    assert lines.next_request() is None
    assert not lines.hungry
    assert len(lines.data_to_send()) == WRITE_MAX + 2
    assert lines.next_request()


def test_nothing_is_taken_up_while_much_is_unwritten() -> None:
    lines = talk(b"ping\n", b"\xff\xf6" * (WRITE_MAX // 10))
    assert len(lines._out) < 2 * WRITE_MAX + 100
    assert lines.next_request() is None
    assert not lines.hungry
    lines.data_to_send()
    assert lines.next_request()


def test_wrong_lines_wait_for_a_slow_reader_too() -> None:
    lines = talk(b"!\n" * 2000)
    assert not lines.hungry
    assert len(lines._out) < WRITE_MAX + 100
    written = b""
    while data := lines.data_to_send():
        assert len(data) < WRITE_MAX + 100
        written += data
    assert written.count(b"\r\n") == 2000
    assert lines.hungry


def test_answers_are_escaped_and_end_in_a_line_end() -> None:
    for parts, written in [
        (["a\x1b[2J\r\n\xe9\u2028\n"], b"a\\x1b[2J\\x0d\r\n\\xe9\\u{2028}\r\n"),
        (["a", "\n", ""], b"a\r\n"),
        (["a\n", "b", ""], b"a\r\nb\r\n"),
        ([""], b"\r\n"),
    ]:
        lines = talk(b"ping\n")
        assert lines.next_request()
        for number, text in enumerate(parts):
            lines.send(Part(text, end=number + 1 == len(parts)))
        assert lines.data_to_send() == written


def test_a_part_that_nobody_asked_for_is_a_bug_of_the_owner() -> None:
    with pytest.raises(RuntimeError):
        talk(b"ping\n").send(Part("pong", end=True))
    talk(b"quit\n").send(Part("pong", end=True))


def test_every_turn_can_be_interrupted_and_ends_idle() -> None:
    for turn in Turn:
        ways = {event: after for (before, event), after in TURNS.items() if before is turn}
        assert ways
    assert Turn.IDLE in {after for (before, _), after in TURNS.items() if before is Turn.CANCELLED}
    assert {stage.value for stage in Stage} == {"new", "lines", "order", "sealed", "closed"}


def test_an_interrupted_request_that_was_not_taken_yet_is_forgotten() -> None:
    lines = talk(b"ping\n", b"\xff\xf4")
    assert lines.next_request() is None
    assert not lines.cancelled()


def test_an_order_keeps_every_byte_for_the_judge() -> None:
    request = talk(ORDER + b"why: \xe9\x08\t \x7f \nsig: x\n").next_request()
    assert request == Request(order="panicdoor order 1\nwhy: \xe9\x08\t \x7f \nsig: x\n")


WORD = st.text("abcXYZ019._:/@=+,%-", min_size=1, max_size=12) | st.text(' !"#$;|&<>', max_size=6)


@settings(max_examples=100)
@given(st.lists(WORD, min_size=1, max_size=6).filter(lambda w: w != [""]))
def test_typed_words_arrive(words: list[str]) -> None:
    line = join(tuple(words)).encode()
    assert talk(line + b"\r\n").next_request() == Request(tuple(words), Form.TEXT)


@settings(max_examples=100)
@given(st.text(max_size=50))
def test_whatever_the_text_a_terminal_sees_only_lines_of_ascii(text: str) -> None:
    data = encode(text)
    assert data.replace(b"\r\n", b"").decode("ascii").isprintable() or not data


def test_an_idle_conversation_is_small() -> None:
    greeting = GREETING * 10
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    conversations = [Lines(greeting) for _ in range(1000)]
    for lines in conversations:
        lines.receive_data(b"ping\n")
        assert lines.next_request()
        lines.send(Part("pong\n" * 200, end=True))
        lines.data_to_send()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 1000 < 600
