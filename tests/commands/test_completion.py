"""Tests of what the Tab key adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.places import extra_commands

from panicdoor.commands.completion import complete
from panicdoor.commands.registry import COMMANDS

SOME = {name: COMMANDS[name] for name in ("help", "doc", "about", "ping", "challenge", "order")}


@pytest.mark.parametrize(
    ("typed", "line", "choices"),
    [
        ("p", "ping ", ()),
        ("h", "help ", ()),
        ("help p", "help p", ("ping", "public")),
        ("help pi", "help ping ", ()),
        ("help pu", "help public ", ()),
        ("order p", "order ping ", ()),
        ("order  ab", "order  about ", ()),
        ("about -", "about --json ", ()),
        ("about --json -", "about --json -", ()),
        ("ping ", "ping ", ()),
        ("ping x", "ping x", ()),
        ("nonesuch x", "nonesuch x", ()),
        ("x", "x", ()),
        ("help ping p", "help ping p", ()),
    ],
)
def test_what_is_certain(typed: str, line: str, choices: tuple[str, ...]) -> None:
    done = complete(typed, len(typed), SOME)
    assert (done.line, done.position, done.choices) == (line, len(line), choices)


def test_what_is_possible() -> None:
    assert complete("", 0, SOME).choices == (
        "about", "challenge", "doc", "exit", "help", "order", "ping",
    )  # fmt: skip
    two = {"service": SOME["ping"], "services": SOME["ping"], "sockets": SOME["ping"]}
    assert complete("s", 1, two) == ("s", 1, ("service", "services", "sockets"))
    assert complete("se", 2, two) == ("service", 7, ("service", "services"))


@pytest.mark.parametrize(
    ("typed", "line", "choices"),
    [
        ("ordered -", "ordered --", ("--by", "--past", "--watch")),
        ("ordered --b", "ordered --by ", ()),
        ("ordered --by ", "ordered --by ", ("cpu", "memory")),
        ("ordered --by m", "ordered --by memory ", ()),
        ("ordered --by cpu --b", "ordered --by cpu --b", ()),
        ("ordered --past ", "ordered --past ", ()),
        ("ordered --watch --p", "ordered --watch --past ", ()),
    ],
)
def test_options_and_their_values(typed: str, line: str, choices: tuple[str, ...]) -> None:
    with extra_commands():
        done = complete(typed, len(typed), COMMANDS)
    assert (done.line, done.choices) == (line, choices)


def test_in_the_middle_of_a_line() -> None:
    assert complete("p about", 1, SOME) == ("ping about", 4, ())
    assert complete("pabout", 1, SOME) == ("ping about", 5, ())


@given(st.text(max_size=40), st.integers(0, 40))
def test_nothing_that_was_typed_is_lost(line: str, position: int) -> None:
    position = min(position, len(line))
    done = complete(line, position, SOME)
    assert done.line.startswith(line[:position])
    assert done.line.endswith(line[position:])
    assert position <= done.position <= len(done.line)
