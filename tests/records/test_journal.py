"""The journal's format: the vector, what a line may be, and how a damaged end is read."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journals import verify

from panicdoor.records.journal import (
    FIELDS_MAX,
    FIRST,
    LINE_MAX,
    End,
    Entry,
    Value,
    encode,
    end_of,
    following,
    parse,
)

VECTOR = (Path(__file__).parents[1] / "vectors/v1.journal").read_bytes()
LINES = VECTOR.split(b"\n")[:-1]
NOW = "2026-11-24T03:12:07Z"

VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.text(max_size=20), VALUES, max_size=6)


def chain(*fields: str) -> bytes:
    """Return a journal of entries with those fields."""
    entry = None
    lines = []
    for each in fields:
        entry = following(entry, NOW, "result", each)
        lines.append(entry.line + b"\n")
    return b"".join(lines)


# Entries


def test_the_vector_is_a_chain() -> None:
    assert [entry.n for entry in verify(VECTOR)] == [1, 2, 3]
    assert LINES[0].startswith(FIRST.encode())
    entries = [parse(line) for line in LINES]
    assert entries == [Entry(n, line) for n, line in enumerate(LINES, 1)]
    for entry, after in zip(entries, LINES[1:], strict=False):
        assert entry is not None
        assert after.startswith(entry.hash.encode() + b" ")


def test_the_vector_is_what_we_would_write() -> None:
    entry = None
    for line in LINES:
        _, _, time, kind, fields = line.decode().split(" ", 4)
        assert encode(json.loads(fields)) == fields
        entry = following(entry, time, kind, fields)
        assert entry.line == line


def test_a_line_has_a_longest() -> None:
    line = LINES[0][:-1].ljust(LINE_MAX - 2) + b"}"
    assert parse(line) == Entry(1, line)
    assert parse(line[:-1] + b" }") is None


def test_a_hash_is_of_the_line_without_its_line_feed() -> None:
    assert Entry(3, LINES[2]).hash == hashlib.sha256(LINES[2]).hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        "", "{", "{}{}", '{"a":1} ', " {}", "[]", "[{}]", "1", "null", '"x"', '{"a":1}\n{"b":2}',
        "{}\n",
        '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", '{"a":"\x7f"}', '{"a":"\x1b[2J"}', '{"a":"\n"}',
        '{"a":"ä"}', '{"a":"\udc80"}', '{"a":NaN}', '{"a":"x}', '{"a":' * 1500 + "1" + "}" * 1500,
        '{"a":"' + "x" * LINE_MAX + '"}',
    ],
)  # fmt: skip
def test_fields_that_are_no_one_printable_object_make_no_line(fields: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        following(None, NOW, "result", fields)


def test_fields_that_are_too_deep_for_this_python_make_no_line() -> None:
    """How deep that is differs between versions; nothing else may be raised."""
    try:
        following(None, NOW, "result", '{"a":' + "[" * 1500 + "]" * 1500 + "}")
    except ValueError as error:
        assert "deep" in str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", ["", "A", "a b", "a\n", "k" * 33, "bug:", "ä", "{}"])
def test_a_kind_that_is_no_word_makes_no_line(kind: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        following(None, NOW, kind, "{}")


@pytest.mark.parametrize(
    "time", ["", "now", "2026-11-24 03:12:07", NOW + "\n", "٢٠٢٦-11-24T03:12:07Z"]
)
def test_a_time_that_is_none_makes_no_line(time: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        following(None, time, "start", "{}")


@given(st.none() | st.integers(0, 10**17), st.text(max_size=40), st.text(max_size=40), st.text())
@settings(max_examples=200, deadline=None, database=None)
def test_whatever_is_recorded_is_a_line_or_refused(
    n: int | None, time: str, kind: str, fields: str
) -> None:
    previous = None if n is None else Entry(n, b"x")
    for args in ((time, kind, fields), (NOW, kind, "{}"), (NOW, "bug", fields)):
        try:
            entry = following(previous, *args)
        except ValueError:
            continue
        assert parse(entry.line) == entry
        assert b"\n" not in entry.line


# Fields


@given(FIELDS)
@settings(max_examples=150, deadline=None, database=None)
def test_any_values_make_one_object_that_fits_a_line(fields: dict[str, Value]) -> None:
    text = encode(fields)
    assert len(text) <= FIELDS_MAX
    line = following(Entry(10**17, b"x"), NOW, "k" * 32, text).line
    assert len(line) < LINE_MAX
    assert line.isascii()
    assert line.decode().isprintable()


def test_texts_are_escaped_and_read_back_as_escaped() -> None:
    text = encode({"what": 'a bug\nresult: "done" \\ \x1b[2J \x7f ä \U0010ffff \udc80'})
    assert json.loads(text) == {
        "what": 'a bug\\x0aresult: "done" \\ \\x1b[2J \\x7f \\xe4 \\u{10ffff} \\u{dc80}'
    }


def test_what_is_short_is_kept_whole_and_in_order() -> None:
    fields: dict[str, Value] = {"b": "x" * 3000, "a": 1, "c": [True, None, {"d": 0.5}]}
    assert json.loads(encode(fields)) == fields
    assert encode(fields).startswith('{"a":1,"b":"x')


@pytest.mark.parametrize(
    "text", ["x" * 5000, "\0" * 5000, '"' * 5000, "\U0010ffff" * 512, "\\" * 3000]
)
def test_what_is_long_is_cut_and_still_one_object(text: str) -> None:
    read = json.loads(encode({"place": "stream1", "what": text, "more": [text]}))
    assert read["place"] == "stream1"
    assert len(read["what"]) > 300
    assert len(read["more"][0]) > 300


def test_what_cannot_be_cut_to_fit_says_so() -> None:
    assert encode({str(n): n for n in range(5000)}) == '{"cut":true}'
    assert encode({"n": [*range(5000)]}) == '{"cut":true}'


# The end of a file


def test_an_empty_journal_has_an_end() -> None:
    assert end_of(b"", whole=True) == End(None, 0, 0)


def test_the_end_of_a_whole_journal() -> None:
    assert end_of(VECTOR, whole=True) == End(Entry(3, LINES[2]), 0, 0)
    assert end_of(VECTOR[100:], whole=False) == End(Entry(3, LINES[2]), 0, 0)


@given(st.integers(0, len(VECTOR)))
@settings(max_examples=200, deadline=None, database=None)
def test_a_journal_cut_anywhere_loses_the_cut_line_and_no_more(size: int) -> None:
    data = VECTOR[:size]
    whole = data.count(b"\n")
    found = end_of(data, whole=True)
    assert found is not None
    assert found.unfinished == len(data) - len(data[: data.rfind(b"\n") + 1])
    assert found.last == (Entry(whole, LINES[whole - 1]) if whole else None)
    assert found.junk == 0


JUNK = [
    b"",
    b"junk",
    b"\0" * 5000,
    LINES[0][:-1],
    LINES[0] + b"\r",
    b"x" + LINES[0],
    LINES[1] + b" ",
]


@pytest.mark.parametrize("junk", JUNK)
def test_whole_lines_that_are_none_stay_and_are_bound(junk: bytes) -> None:
    data = VECTOR + junk + b"\n"
    found = end_of(data, whole=True)
    assert found == End(Entry(3, junk), len(junk) + 1, 0)
    after = following(found.last, NOW, "damaged", encode({"junk": found.junk}))
    entries = verify(data + after.line + b"\n", junk=1)
    assert [entry.n for entry in entries] == [1, 2, 3, 4]
    again = end_of(data + after.line + b"\n", whole=True)
    assert again == End(after, 0, 0)


def test_junk_alone_is_no_beginning() -> None:
    found = end_of(b"junk\nmore\ncut", whole=True)
    assert found == End(Entry(0, b"more"), 10, 3)
    after = following(found.last, NOW, "damaged", "{}")
    assert after.n == 1
    assert not after.line.startswith(FIRST.encode())
    verify(b"junk\nmore\n" + after.line + b"\n", junk=2)


@given(st.integers(1, len(VECTOR) - 1))
@settings(max_examples=100, deadline=None, database=None)
def test_a_tail_is_enough_or_says_that_it_is_not(size: int) -> None:
    found = end_of(VECTOR[-size:], whole=False)
    enough = size > len(LINES[2]) + 1  # with the line feed before it
    assert found == (End(Entry(3, LINES[2]), 0, 0) if enough else None)


def test_what_looks_like_an_entry_within_a_cut_line_is_none() -> None:
    inner = f"{FIRST} 99 {NOW} start " + "{}"
    forged = chain("{}", '{"why":"' + inner + '"}', '{"why":"' + inner.replace("{}", "{") + '"}')
    for size in range(1, len(forged)):
        found = end_of(forged[-size:], whole=False)
        assert found is None or (found.last is not None and found.last.n == 3)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, deadline=None, database=None)
def test_any_bytes_have_an_end_that_can_be_followed(data: bytes, whole: bool) -> None:
    found = end_of(data, whole)
    if found is None:
        assert not whole
        return
    kept = data[: len(data) - found.unfinished]
    after = following(found.last, NOW, "damaged", "{}")
    assert kept == b"" or kept.endswith(b"\n")
    assert end_of(kept + after.line + b"\n", whole) == End(after, 0, 0)
    if kept:
        assert after.line.startswith(hashlib.sha256(kept.split(b"\n")[-2]).hexdigest().encode())
    else:
        assert after.line.startswith(FIRST.encode())


@given(st.lists(FIELDS, min_size=1, max_size=5))
@settings(max_examples=30, deadline=None, database=None)
def test_a_chain_of_anything_verifies(all_fields: list[dict[str, Value]]) -> None:
    data = chain(*(encode(fields) for fields in all_fields))
    assert [entry.n for entry in verify(data)] == [*range(1, len(all_fields) + 1)]
