"""What is said about JSON, and that whatever does not agree with it is found."""

from typing import Any

import pytest
from tests.commands.fitting import TYPES, misfits

from panicdoor.commands.fields import KINDS, Field, fields
from panicdoor.commands.registry import COMMANDS, Level

SAID = fields(
    """
    .findings[] text: sentences
    .load object?: null where it is not known
    .load.now number: tasks
    .users.* int: tasks
      of each
    .rows[].names[] text: of a row
    .rows[].size bytes?: of a row
    .rows[].ends date: when
    .one object: alone, where one is asked for
    .one.pid int: its pid
    """
)
ROW = {"names": ["a", "b"], "size": 1, "ends": "2026-11-24T03:12:07+00:00"}
WHOLE = {"findings": ["x"], "load": {"now": 0.5}, "users": {"0": 1}, "rows": [ROW]}


def test_every_kind_can_be_checked() -> None:
    assert set(TYPES) == set(KINDS)


def test_whoever_looks_says_what_is_in_its_json() -> None:
    for command in COMMANDS.values():
        if command.level is Level.OBSERVE:
            assert "json" in [argument.name for argument in command.arguments]
            assert command.fields


def test_fields() -> None:
    assert SAID[1] == Field(".load", "object?", "null where it is not known")
    assert SAID[3] == Field(".users.*", "int", "tasks of each")


@pytest.mark.parametrize(
    "line",
    [
        "findings text: what",
        ".findings: what",
        ".findings txt: what",
        ".findings[ text: what",
        ". text: what",
        ".a b text: what",
        ".a text",
        ".a text: what\n.a int: what",
        "",
    ],
)
def test_what_is_no_field(line: str) -> None:
    with pytest.raises(TypeError, match=r"^(a line is|.a is there twice)"):
        fields(line)


@pytest.mark.parametrize(
    "document",
    [
        WHOLE,
        {**WHOLE, "load": None},
        {"findings": [], "load": None, "users": {}, "rows": []},
        {**WHOLE, "rows": [{**ROW, "size": None}]},
        {"one": {"pid": 1}},
    ],
)
def test_what_fits(document: Any) -> None:
    assert list(misfits(SAID, document)) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**WHOLE, "more": 1}, ".more is not documented"),
        ({key: WHOLE[key] for key in WHOLE if key != "rows"}, ".rows is missing"),
        ({**WHOLE, "findings": None}, ".findings is null"),
        ({**WHOLE, "findings": [1]}, ".findings[] is 1, not of kind text"),
        ({**WHOLE, "findings": "x"}, ".findings is no list"),
        ({**WHOLE, "load": {}}, ".load.now is missing"),
        ({**WHOLE, "load": {"now": 1, "then": 2}}, ".load.then is not documented"),
        ({**WHOLE, "load": [1]}, ".load is no object"),
        ({**WHOLE, "users": {"0": True}}, ".users.* is True, not of kind int"),
        ({**WHOLE, "users": {"0": {"a": 1}}}, ".users.* is {'a': 1}, not of kind int"),
        ({**WHOLE, "rows": [{**ROW, "size": 1.5}]}, ".rows[].size is 1.5, not of kind bytes"),
        ({**WHOLE, "rows": [{**ROW, "names": [None]}]}, ".rows[].names[] is null"),
        ({**WHOLE, "rows": [{**ROW, "ends": "2026"}]}, ".rows[].ends is '2026', no date"),
        ({**WHOLE, "one": {"pid": 1}}, ".one is not documented"),
        ({"one": {}}, ".one.pid is missing"),
        ([], " is no object"),
    ],
)
def test_what_does_not_fit(document: Any, said: str) -> None:
    assert list(misfits(SAID, document)) == [said]
