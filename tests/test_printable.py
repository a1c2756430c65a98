"""What came from a host or a peer, made safe to print."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.printable import escape, escape_bytes, escape_line

ANY = st.text(st.characters(exclude_categories=[])) | st.text("ab\\\x00\n\r\x1b\x7f\x80\x9bé")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text ~", "plain text ~"),
        ("two\nlines\n", "two\nlines\n"),
        ("\x00\t\r\x1b[2J", "\\x00\\x09\\x0d\\x1b[2J"),
        ("\x7f\x80\x9b31m\xff", "\\x7f\\x80\\x9b31m\\xff"),
        ("caf\xe9", "caf\\xe9"),
        ("\u202eabc\u2028", "\\u{202e}abc\\u{2028}"),
        ("\U0001f6aa", "\\u{1f6aa}"),
        ("\udc80", "\\u{dc80}"),
        ("\ufeff\u0100\n\x01", "\\u{feff}\\u{100}\n\\x01"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert escape_line(text) == shown.replace("\n", "\\x0a")


def test_every_byte() -> None:
    shown = [escape_bytes(bytes([code])) for code in range(256)]
    assert shown[0x20:0x7F] == [chr(code) for code in range(0x20, 0x7F)]
    rest = [*range(0x20), *range(0x7F, 0x100)]
    assert [shown[code] for code in rest] == [f"\\x{code:02x}" for code in rest]
    assert escape_bytes(bytes(range(256))) == "".join(shown)


@given(ANY)
@settings(max_examples=300, deadline=None, database=None)
def test_only_printable_ascii_and_our_own_line_feeds(text: str) -> None:
    for shown in (escape(text), escape_line(text)):
        assert all(0x20 <= ord(c) <= 0x7E or c == "\n" for c in shown)
        assert escape(shown) == shown
    assert escape(text).count("\n") == text.count("\n")
    assert "\n" not in escape_line(text)
    assert len(escape(text)) <= 10 * len(text)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
@settings(max_examples=50, deadline=None, database=None)
def test_what_is_printable_stays(text: str) -> None:
    assert escape(text) == escape_line(text) == text


@given(ANY, ANY)
@settings(max_examples=100, deadline=None, database=None)
def test_pieces_are_escaped_as_the_whole(one: str, other: str) -> None:
    assert escape(one + other) == escape(one) + escape(other)
