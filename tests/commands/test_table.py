"""Tables, units, JSON: whatever the host calls itself, 80 columns show it harmlessly."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.commands.table import (
    ROWS_MAX,
    WIDTH,
    Column,
    cut,
    document,
    duration,
    findings,
    left_out,
    lines_as_parts,
    percent,
    size,
    table,
)
from panicdoor.messages import PART_MAX

COLUMNS = (Column("pid", right=True), Column("size", right=True), Column("name", least=8))


def test_a_table_is_aligned_and_has_no_trailing_blanks() -> None:
    rows = [("1", "12 KiB", "init"), ("4711", "1 B", "x y")]
    assert list(table(COLUMNS, rows)) == [
        " pid    size  name\n",
        "   1  12 KiB  init\n",
        "4711     1 B  x y\n",
    ]


def test_nothing_to_show_is_no_table() -> None:
    assert list(table(COLUMNS, [])) == []


def test_the_widest_that_may_be_cut_is_cut() -> None:
    columns = (Column("a", least=5), Column("n", right=True), Column("b", least=60))
    lines = list(table(columns, [("a" * 50, "1" * 10, "b" * 70)]))
    assert lines[1] == "aaaaa~  1111111111  " + "b" * 59 + "~\n"
    assert all(len(line) <= WIDTH + 1 for line in lines)


def test_a_table_that_cannot_shrink_is_cut_as_a_whole() -> None:
    (_, line) = table((Column("n"), Column("m")), [("1" * 60, "2" * 60)])
    assert len(line) == WIDTH + 1
    assert line.endswith("2~\n")


def test_rows_are_bounded_and_the_rest_is_said() -> None:
    lines = list(table([Column("n")], ((str(n),) for n in range(ROWS_MAX + 3))))
    assert len(lines) == 1 + ROWS_MAX + 1
    assert lines[-1] == "(3 more rows left out)\n"


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5))
def test_any_text_makes_a_harmless_table(rows: list[tuple[str, str, str]]) -> None:
    lines = list(table(COLUMNS, rows))
    assert len(lines) == (len(rows) + 1 if rows else 0)
    for line in lines:
        assert line.endswith("\n")
        assert line[:-1].isascii()
        assert line[:-1].isprintable()
        assert len(line) <= WIDTH + 1


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab~"), ("abc", 1, "~"), ("", 0, ""), ("a", 0, "~")],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_left_out() -> None:
    assert list(left_out(0, "processes")) == []
    assert list(left_out(12, "processes")) == ["(12 more processes left out)\n"]


def test_findings() -> None:
    assert list(findings([], "all is well")) == ["all is well\n"]
    assert list(findings(["a\x1b", "b " * 45], "")) == [
        "! a\\x1b\n",
        "! " + "b " * 38 + "b\n",
        "  b b b b b b\n",
    ]


@given(st.text())
def test_any_text_makes_a_harmless_finding(text: str) -> None:
    for line in findings([text], ""):
        assert line[:-1].isascii()
        assert line[:-1].isprintable()
        assert len(line) <= WIDTH + 1


def test_lines_are_gathered_into_parts() -> None:
    lines = [f"{n} {'x' * 90}\n" for n in range(100)]
    found = list(lines_as_parts(lines))
    assert "".join(found) == "".join(lines)
    assert len(found) == 4
    assert all(len(part) <= PART_MAX and part.endswith("\n") for part in found)
    assert list(lines_as_parts([])) == []
    assert [len(part) for part in lines_as_parts(["x" * (PART_MAX + 1)])] == [PART_MAX, 1]


def test_lines_are_asked_for_only_when_a_part_wants_them() -> None:
    asked = []

    def lines() -> Iterator[str]:
        for n in range(100):
            asked.append(n)
            yield "x" * 1000

    found = lines_as_parts(lines())
    next(found)
    assert len(asked) < 10


def test_document() -> None:
    text = "".join(document({"name": "a\x1b[2J\n\x7f\xe4", "n": [1, 2.5, None, True]}))
    assert text.isascii()
    assert text.endswith("}\n")
    assert "\x7f" not in text
    assert json.loads(text) == {"name": "a\\x1b[2J\\x0a\\x7f\\xe4", "n": [1, 2.5, None, True]}


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (300 << 20, "300 MiB"),
        (12_025_908_429, "11.2 GiB"),
        (16 << 30, "16.0 GiB"),
        (1 << 70, "1024 EiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0 %"), (0.41, "0.4 %"), (9.96, "10.0 %"), (97.2, "97 %"), (100, "100 %")],
)
def test_percent(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.3, "0.3 s"),
        (42, "42 s"),
        (1700, "28 min"),
        (6840, "1.9 h"),
        (41 * 86400 + 5000, "41 d"),
        (-90, "-1.5 min"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
