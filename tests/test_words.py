"""The grammar of typed commands and of orders' `do:` lines."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.errors import CommandError
from panicdoor.words import LINE_MAX, SECONDS_MAX, WORDS_MAX, join, parse, seconds

BARE = "ABCXYZabcxyz0189._:/@=+,%-"
QUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "'")
WORD = st.text(BARE, min_size=1, max_size=12) | st.text(QUOTED, max_size=12)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("   ", ()),
        ("triage", ("triage",)),
        ("?", ("help",)),
        (" ? memory", ("help", "memory")),
        ("  kill   4711  ", ("kill", "4711")),
        ("push 'the disk is full' now", ("push", "the disk is full", "now")),
        ("''", ("",)),
        ("'' ''", ("", "")),
        ("rm '-rf'", ("rm", "-rf")),
        ("a '\"$HOME\" \\x41 *'", ("a", '"$HOME" \\x41 *')),
        ("cat /var/log/a.b:c@d=e+f,g%h-i", ("cat", "/var/log/a.b:c@d=e+f,g%h-i")),
    ],
)
def test_lines(line: str, words: tuple[str, ...]) -> None:
    assert parse(line) == words


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("a;b", 1),
        ("a b|c", 3),
        ("a $HOME", 3),
        ('a "b"', 3),
        ("a 'b", 3),
        ("a 'b'c", 3),
        ("a b'c'", 3),
        ("a 'b''c'", 3),
        ("a\tb", 1),
        ("a\n", 2),
        ("a b\n", 4),
        ("a 'b\x1b'", 3),
        ("a 'ä'", 3),
        ("a \u0661", 3),
        ("a\x00", 1),
    ],
)
def test_lines_refused_with_their_column(line: str, column: int) -> None:
    with pytest.raises(CommandError) as caught:
        parse(line)
    assert re.match(r"column \d+: ", str(caught.value))
    assert str(caught.value).startswith(f"column {column}: ")


def test_bounds() -> None:
    assert parse("a" * LINE_MAX) == ("a" * LINE_MAX,)
    assert parse("  " + "a" * LINE_MAX + "  ") == ("a" * LINE_MAX,)
    assert len(parse(" ".join("a" * WORDS_MAX))) == WORDS_MAX
    with pytest.raises(CommandError, match=f"{LINE_MAX} characters"):
        parse("a" * (LINE_MAX + 1))
    with pytest.raises(CommandError, match=f"{WORDS_MAX} words"):
        parse(" ".join("a" * (WORDS_MAX + 1)))


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("90s", 90),
        ("15m", 900),
        ("6h", 21600),
        ("2d", 172800),
        ("3650d", SECONDS_MAX),
        ("3651d", None),
        ("0s", None),
        ("", None),
        ("2", None),
        ("h", None),
        ("-1h", None),
        ("1.5h", None),
        ("1H", None),
        ("1h30m", None),
        ("2h\n", None),
        ("\u0662h", None),
        ("9999999999s", None),
    ],
)
def test_times(word: str, found: int | None) -> None:
    assert seconds(word) == found


def test_join_quotes_only_what_needs_it() -> None:
    assert join(("freeze", "user", "batch")) == "freeze user batch"
    assert join(("push", "two words", "")) == "push 'two words' ''"
    assert join(()) == ""


@pytest.mark.parametrize("word", ["it's", "a\nb", "\x1b[2J", "ä", "\x7f", "a\n"])
def test_join_refuses_what_no_line_can_say(word: str) -> None:
    with pytest.raises(CommandError):
        join(("push", word))


@given(st.lists(WORD, max_size=WORDS_MAX).map(tuple))
@settings(max_examples=150, deadline=None, database=None)
def test_what_is_joined_is_parsed_again(words: tuple[str, ...]) -> None:
    assert parse(join(words)) == words


@given(st.text() | st.text("ab' \n\\;-\t"))
@settings(max_examples=300, deadline=None, database=None)
def test_any_line_is_words_or_refused(line: str) -> None:
    try:
        words = parse(line)
    except CommandError:
        return
    assert line.isascii()
    assert line.isprintable()
    assert all("'" not in word for word in words)
    assert parse(join(words)) == words
    assert "".join(line.split()).replace("'", "") == "".join("".join(words).split())
