"""What a journal says of numbers and codes, and that it can be said again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.records.journal import FIELDS_MAX, Entry, Value, encode, following
from panicdoor.records.lanes import NUMBER_MAX, Lanes, carried, fold

NOW = "2026-11-24T03:12:07Z"


def journal(*entries: tuple[str, dict[str, Value]], after: int = 0) -> list[bytes]:
    """Return the lines of a journal that goes on after that many entries."""
    previous = Entry(after, b"x") if after else None
    lines = []
    for kind, fields in entries:
        previous = following(previous, NOW, kind, encode(fields))
        lines.append(previous.line + b"\n")
    return lines


def test_numbers_are_the_highest_of_each_author() -> None:
    lines = journal(
        ("accepted", {"by": "alice", "seq": 7, "do": "ping"}),
        ("accepted", {"by": "bob", "seq": 9}),
        ("accepted", {"by": "alice", "seq": 5}),
        ("accepted", {"by": "carol", "order": "x"}),
        ("refused", {"by": "alice", "seq": 99}),
        ("done", {"by": "alice", "seq": 99}),
    )
    assert fold(lines) == Lanes({"alice": 7, "bob": 9}, last=6)
    assert fold(reversed(lines)) == fold(lines) == fold(line[:-1] for line in lines)


def test_the_floor_is_the_highest_that_was_armed() -> None:
    assert fold(journal(("armed", {"seq": 50}), ("armed", {"seq": 40}))).floor == 50


def test_codes_are_spent_by_orders_logins_and_strikes() -> None:
    lines = journal(
        ("accepted", {"by": "alice", "codes": ["alice 3", "bob 12"]}),
        ("login", {"by": "alice", "code": "alice 4"}),
        ("login", {"by": "bob", "code": 5}),
        ("login", {"by": "alice", "key": "SHA256:x"}),
        ("spent", {"codes": ["alice 0", "carol 999"], "why": "typed in the clear"}),
        ("refused", {"codes": ["alice 9"]}),
    )
    assert fold(lines).spent == {
        ("alice", 3), ("bob", 12), ("alice", 4), ("bob", 5), ("alice", 0), ("carol", 999),
    }  # fmt: skip


def test_no_journal_says_nothing() -> None:
    assert fold([]) == Lanes()
    assert fold([]).last == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"by": "alice", "seq": "7"}, {"by": "alice", "seq": True}, {"by": 7, "seq": 7},
        {"by": "alice", "seq": -1}, {"by": "alice", "seq": NUMBER_MAX + 1}, {"seq": 7},
        {"by": "alice", "seq": 1.5}, {"codes": "alice 3"}, {"codes": [["alice 3"], 3, None]},
        {"codes": ["alice 1000", "alice", "a b 3", "Alice 3", "alice  3"]}, {"code": 3},
        {"by": "alice", "code": True},
        {"numbers": {"alice": 3}, "floor": 4, "spent": {"alice": "3"}, "whole": True},
    ],
)  # fmt: skip
def test_what_is_said_wrongly_says_nothing(fields: dict[str, Value]) -> None:
    assert fold(journal(("accepted", fields))) == Lanes(last=1)


@pytest.mark.parametrize(
    "fields", [{"numbers": [1]}, {"spent": {"a": 5}}, {"spent": "x", "floor": "5"}, {"whole": 1}]
)
def test_what_is_carried_wrongly_says_nothing(fields: dict[str, Value]) -> None:
    assert fold(journal(("carried", fields), after=7)) == Lanes(last=8, whole=False)


def test_what_is_no_entry_says_nothing() -> None:
    (line,) = journal(("accepted", {"by": "alice", "seq": 7}))
    for bad in (b"x" + line, line[:-3] + b"\n", line.replace(b"{", b"["), b"", b" " * 9, line[65:]):
        assert fold([bad]).numbers == {}


def test_a_later_file_is_whole_with_what_was_carried() -> None:
    lanes = Lanes({"alice": 7}, 3, frozenset({("bob", 1)}), 10)
    rows = [("carried", fields) for fields in carried(lanes)]
    alone = journal(*rows, ("accepted", {"by": "alice", "seq": 8}), after=10)
    assert fold(alone) == Lanes({"alice": 8}, 3, frozenset({("bob", 1)}), 14)
    assert not fold(alone[:2]).whole
    assert fold([*alone[2:], *journal(("start", {}))]).whole


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._@-", min_size=1, max_size=64)


@given(
    st.dictionaries(NAMES, st.integers(1, NUMBER_MAX), max_size=90),
    st.integers(0, NUMBER_MAX),
    st.frozensets(st.tuples(NAMES, st.integers(0, 999)), max_size=90),
)
@settings(max_examples=60, deadline=None, database=None)
def test_what_is_carried_is_all_of_it(
    numbers: dict[str, int], floor: int, spent: frozenset[tuple[str, int]]
) -> None:
    lanes = Lanes(numbers, floor, spent)
    entries = carried(lanes)
    assert [entry.get("whole") for entry in entries] == [None] * (len(entries) - 1) + [True]
    found = fold(journal(*(("carried", fields) for fields in entries)))
    assert found == Lanes(numbers, floor, spent, len(entries))


def test_the_most_that_there_can_be_is_carried() -> None:
    """Every author there may be, and of one every other code, which is the longest list."""
    numbers = {f"{n}".rjust(64, "a"): NUMBER_MAX for n in range(4096)}
    spent = {("a" * 64, n) for n in range(0, 1000, 2)} | {("bob", n) for n in range(1000)}
    lanes = Lanes(numbers, 0, frozenset(spent))
    entries = carried(lanes)
    assert all(len(encode(fields)) <= FIELDS_MAX for fields in entries)
    assert fold(journal(*(("carried", e) for e in entries))).numbers == numbers
    assert fold(journal(*(("carried", e) for e in entries))).spent == spent
    assert len(entries) < 150


@given(st.lists(st.binary(max_size=80)))
@settings(max_examples=100, deadline=None, database=None)
def test_any_bytes_are_read(lines: list[bytes]) -> None:
    fold(lines)
