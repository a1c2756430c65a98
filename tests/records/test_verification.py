"""What a journal that is not whole is told apart by: the first bad line, and what is missing."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.records.journal import Entry, following, parse
from panicdoor.records.verification import FAULTS_MAX, Fault, Verdict, verify

VECTOR = (Path(__file__).parents[1] / "vectors/v1.journal").read_bytes()
NOW = "2026-11-24T03:12:07Z"


def chain(count: int) -> list[bytes]:
    """Return the lines of a journal."""
    entry: Entry | None = None
    lines = []
    for n in range(count):
        entry = following(entry, NOW, "result", f'{{"a":{n}}}')
        lines.append(entry.line + b"\n")
    return lines


def check(*files: list[bytes], **anchors: str) -> Verdict:
    known = {int(n.removeprefix("n")): frozenset({hash}) for n, hash in anchors.items()}
    return verify([(f"j{i}", lines) for i, lines in enumerate(files, 1)], known)


def hash_of(line: bytes) -> str:
    entry = parse(line[:-1])
    assert entry is not None
    return entry.hash


def test_the_vector_is_whole() -> None:
    found = check(VECTOR.splitlines(keepends=True))
    assert (found.entries, found.faults, found.last and found.last.n) == (3, [], 3)


def test_a_journal_in_several_files_is_one_chain() -> None:
    lines = chain(6)
    assert check(lines[:2], lines[2:5], [], lines[5:]).faults == []
    assert check(lines[2:5], lines[:2]).faults[0] == Fault(
        "j1", 1, "entries 1 to 2 missing before this one, number 3"
    )


def test_a_changed_line_is_seen_in_the_next() -> None:
    lines = chain(6)
    lines[2] = lines[2].replace(b'"a":2', b'"a":7')
    assert check(lines).faults == [
        Fault("j1", 4, "entry 4 is bound to another line than the one before it: one was changed")
    ]


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        (slice(0, 1), "entry 1 missing before this one, number 2"),
        (slice(2, 3), "entry 3 missing before this one, number 4"),
        (slice(1, 4), "entries 2 to 4 missing before this one, number 5"),
    ],
)
def test_what_was_taken_out_is_named(gone: slice, text: str) -> None:
    lines = chain(6)
    del lines[gone]
    assert check(lines).faults == [Fault("j1", 1 + gone.start, text)]


def test_what_was_put_in_or_repeated_is_named() -> None:
    lines = chain(4)
    again = check([*lines[:2], lines[1], *lines[2:]])
    assert again.faults[0] == Fault("j1", 3, "expected entry 3 here, this is number 2")
    junk = check([*lines[:2], b"hello\n", *lines[2:]])
    assert junk.faults[0] == Fault("j1", 3, "this is no entry")
    assert "bound to another line" in junk.faults[1].text


def test_junk_that_the_chain_goes_on_over() -> None:
    """A door that finds junk binds its next entry to it: the junk is seen, and nothing else."""
    first = following(None, NOW, "start", "{}")
    after = following(Entry(1, b"junk"), NOW, "damaged", '{"junk":5}')
    assert check([first.line + b"\n", b"junk\n", after.line + b"\n"]).faults == [
        Fault("j1", 2, "this is no entry")
    ]


def test_fields_that_are_no_object() -> None:
    lines = chain(2)
    broken = lines[1].replace(b'{"a":1}', b"{a:1}")
    assert check([lines[0], broken]).faults == [Fault("j1", 2, "this is no entry")]


def test_a_cut_end_loses_that_entry_and_says_so() -> None:
    lines = chain(3)
    found = check([*lines[:2], lines[2][:-9]])
    assert found.entries == 2
    assert found.faults == [
        Fault("j1", 3, f"the last entry was cut: {len(lines[2]) - 9} bytes without an end,"
              " as a crash leaves them")
    ]  # fmt: skip


def test_anchors() -> None:
    lines = chain(4)
    assert check(lines, n2=hash_of(lines[1]), n4=hash_of(lines[3])).faults == []
    cut = check(lines[:2], n4=hash_of(lines[3]))
    assert cut.faults == [
        Fault("", 0, "it ends with entry 2, but entry 4 has stood in it: its end is missing")
    ]
    assert "it has no entry" in check([], n1="0" * 64).faults[0].text


def test_a_journal_that_was_written_anew_disagrees_with_its_anchor() -> None:
    before = hash_of(chain(3)[1])
    entry = following(None, NOW, "start", "{}")
    anew = [entry.line + b"\n", following(entry, NOW, "result", "{}").line + b"\n"]
    assert check(anew).faults == []
    assert check(anew, n2=before).faults == [
        Fault("j1", 2, "entry 2 is another than the anchor says: the journal was written anew")
    ]


def test_two_anchors_of_one_entry_that_disagree() -> None:
    lines = chain(1)
    known = {1: frozenset({hash_of(lines[0]), "0" * 64})}
    assert len(verify([("j", lines)], known).faults) == 1


def test_faults_are_bounded() -> None:
    found = check([b"x\n"] * 100)
    assert (len(found.faults), found.more) == (FAULTS_MAX, 100 - FAULTS_MAX)


@given(st.lists(st.binary(max_size=80)))
@settings(max_examples=200, deadline=None, database=None)
def test_any_bytes_are_judged(lines: list[bytes]) -> None:
    verify([("j", lines), ("k", [line + b"\n" for line in lines])], {3: frozenset({"0" * 64})})


@given(st.integers(0, len(VECTOR) - 2), st.integers(1, 255))
@settings(max_examples=300, deadline=None, database=None)
def test_any_changed_byte_is_seen_with_an_anchor(at: int, change: int) -> None:
    """Without one the last line could be another: nothing is bound to it yet."""
    data = bytearray(VECTOR)
    data[at] ^= change
    last = hash_of(VECTOR.splitlines(keepends=True)[-1])
    lines = bytes(data).split(b"\n")
    found = verify([("j", [line + b"\n" for line in lines[:-1]])], {3: frozenset({last})})
    assert found.faults
