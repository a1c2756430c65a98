"""Cutting, wrapping, tables and pages."""

from hypothesis import given
from hypothesis import strategies as st

from panicdoor.documentation.layout import COLUMNS, MARGIN, columns, cut, pack, prose, table, wrap

words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)


def test_cut() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."


@given(st.lists(words, max_size=20), st.sampled_from(["", "  ", "Owner  "]))
def test_wrapped_lines_fit_and_lose_nothing(text: list[str], first: str) -> None:
    lines = wrap(" ".join(text), first)
    assert all(len(line) <= COLUMNS for line in lines)
    assert " ".join(lines).split() == ([*first.split(), *text] if text else first.split())
    assert all(line == line.rstrip() and line for line in lines)


def test_wrap_indents() -> None:
    assert wrap("one two three", "K  ", 10) == ["K  one two", "   three"]
    assert wrap("one " + "x" * 80 + " two", "K  ", 79) == ["K  one", "x" * 80, "   two"]


def test_prose_leaves_indented_paragraphs_alone() -> None:
    assert prose(["one\ntwo", "  a   b\n  c"], "> ") == ["> one two", "", ">   a   b", ">   c", ""]


def test_columns() -> None:
    assert columns([("a", "first"), ("bcd", "second")]) == ["  a    first", "  bcd  second"]


entries = st.lists(
    st.tuples(st.text("ab", min_size=1, max_size=12), st.text("xy z", min_size=1, max_size=80)),
    max_size=8,
)


@given(entries, st.integers(2, 16))
def test_tables_fit(pairs: list[tuple[str, str]], rows: int) -> None:
    lines = table(pairs, rows, "more")
    assert len(lines) <= rows
    assert all(len(line) <= COLUMNS for line in lines)
    if "more" not in lines:
        shown = " ".join(lines)
        assert all(word in shown for key, value in pairs for word in [key, *value.split()])


def test_short_entries_stand_beside_each_other() -> None:
    pairs = [("a", "1"), ("b", "2"), ("c", "3" * 80), ("d", "4")]
    assert table(pairs, 9, "more") == [
        f"{'  a        1':<38}  b        2",
        "  c",
        "3" * 80,
        "  d        4",
    ]
    assert table(pairs, 3, "more") == [f"{'  a        1':<38}  b        2", "more"]
    assert table(pairs[2:], 3, "more") == ["  c", "3" * 80, "  d        4"]
    assert table(pairs[2:] * 2, 3, "more") == ["  c", "3" * 80, "more"]


@given(st.lists(st.lists(st.text("ab", max_size=20), min_size=1, max_size=9), max_size=20))
def test_pages_are_full_but_not_too_full(blocks: list[list[str]]) -> None:
    pages = pack(blocks, 60, len)
    assert all(len(page) <= 60 for page in pages)
    assert "".join(pages).split() == [word for block in blocks for word in block if word]


def test_a_block_that_fits_is_not_divided() -> None:
    assert pack([["aaaa"], ["bb", "cc"]], 8, len) == ["aaaa\n", "bb\ncc\n"]
    assert pack([["aaaa"], ["bb", "cc", "dd"]], 8, len) == ["aaaa\nbb\n", "cc\ndd\n"]


def test_margin_leaves_a_column() -> None:
    assert MARGIN < COLUMNS
