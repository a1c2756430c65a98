"""The registry: signatures and docstrings in, commands out, and words bound to arguments."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.commands import registry
from panicdoor.commands.registry import (
    Bound,
    Command,
    Context,
    Example,
    Here,
    Level,
    Seconds,
    Where,
    command,
    find,
    parts,
)
from panicdoor.errors import CommandError
from panicdoor.messages import PART_MAX

ABOUT = {"unit": "the unit to thaw", "count": "how many times", "force": "ask nobody"}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "COMMANDS", {})


def thaw_out(
    context: Context, unit: str, count: int = 1, *more: str, force: bool = False
) -> Iterator[str]:
    """Let a frozen unit go on.

    It takes up where it was.

    Arguments:
        unit: the unit to thaw,
            with its suffix
        count: how many times
        more: further units
        force: ask nobody

    Examples:
        > thaw-out batch.slice 2 --force
        thawed
        ...
        > thaw-out x
        nothing
    """
    yield unit


def made(**options: Any) -> Command:
    command(level=Level.RECOVER, where=Where.WORKER, undo="freeze", **options)(thaw_out)
    return registry.COMMANDS["thaw-out"]


def test_signature_and_docstring_are_the_manual() -> None:
    found = made()
    assert found.name == "thaw-out"
    assert found.summary == "Let a frozen unit go on."
    assert found.manual == ("It takes up where it was.",)
    assert found.usage == "thaw-out UNIT [COUNT] [MORE...] [--force]"
    assert found.brief == "thaw-out UNIT [COUNT] [MORE...]"
    assert found.arguments[0].about == "the unit to thaw, with its suffix"
    assert [(a.name, a.kind, a.required, a.default, a.rest) for a in found.arguments] == [
        ("unit", "str", True, "", False),
        ("count", "int", False, 1, False),
        ("more", "str", False, "", True),
        ("force", "bool", False, False, False),
    ]
    assert found.examples == (
        Example("thaw-out batch.slice 2 --force", "thawed\n..."),
        Example("thaw-out x", "nothing"),
    )
    assert (found.undo, found.makes_root, found.where) == ("freeze", False, Where.WORKER)


def test_words_become_arguments() -> None:
    bind = made().bind
    assert bind(("a",)) == Bound(("a", 1), {})
    assert bind(("a", "--force", "07", "b", "c")) == Bound(("a", 7, "b", "c"), {"force": True})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "UNIT is missing; usage: thaw-out UNIT"),
        (("--force",), "UNIT is missing"),
        (("a", "x"), "COUNT is a number, not 'x'"),
        (("a", "\u0661"), "COUNT is a number"),
        (("a", "1" * 19), "COUNT is a number"),
        (("a", "-1"), "thaw-out knows no '-1'"),
        (("-a",), "thaw-out knows no '-a'"),
        (("-",), "thaw-out knows no '-'"),
        (("a", "1", "b", "--fource"), "thaw-out knows no '--fource'"),
        (("a", "--force=1"), "thaw-out knows no '--force=1'"),
        (("a", "--force", "--force"), "--force is there twice"),
        (("a", "x" * 99), f"not '{'x' * 40}...'"),
        (("a", "\x1b"), r"not '\x1b'"),
    ],
)
def test_words_that_do_not_fit(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError) as raised:
        made().bind(words)
    assert sentence in str(raised.value)


def test_one_word_too_many() -> None:
    def look(context: Context) -> Iterator[str]:
        """Look around."""
        yield ""

    command(level=Level.OBSERVE, where=Where.OBSERVER)(look)
    with pytest.raises(CommandError, match="'x' is one word too many; usage: look"):
        find(("look",)).bind(("x",))


def test_verbatim_rest_may_hold_flags_of_another_command() -> None:
    bind = made(verbatim=True).bind
    assert bind(("a", "1", "--dry-run", "-x")).values == ("a", 1, "--dry-run", "-x")
    with pytest.raises(CommandError):
        bind(("--dry-run",))


def test_what_stops_the_import() -> None:
    def undescribed(context: Context, unit: str) -> Iterator[str]:
        """Do it."""
        yield unit

    def unknown(context: Context) -> Iterator[str]:
        """Do it.

        Arguments:
            ghost: nobody
        """
        yield ""

    def untyped(context: Context, unit: list[str]) -> Iterator[str]:
        """Do it.

        Arguments:
            unit: a unit
        """
        yield ""

    def positional_flag(context: Context, force: bool = False) -> Iterator[str]:
        """Do it.

        Arguments:
            force: ask nobody
        """
        yield ""

    def nameless_value(context: Context, *, by: str = "") -> Iterator[str]:
        """Do it.

        Arguments:
            by: what comes first
        """
        yield by

    def valued_word(context: Context, unit: str) -> Iterator[str]:
        """Do it.

        Arguments:
            unit NAME: a unit
        """
        yield unit

    def valued_flag(context: Context, *, force: bool = False) -> Iterator[str]:
        """Do it.

        Arguments:
            force NOW: ask nobody
        """
        yield ""

    def required_option(context: Context, *, by: str) -> Iterator[str]:
        """Do it.

        Arguments:
            by WHAT: what comes first
        """
        yield by

    def silent(context: Context) -> Iterator[str]:
        yield ""

    def long(context: Context) -> Iterator[str]:
        """This sentence goes on for so long that no screen has room for all of it."""
        yield ""

    def wrong_example(context: Context) -> Iterator[str]:
        """Do it.

        Examples:
            > wrong-example 1
            done
        """
        yield ""

    def others_example(context: Context) -> Iterator[str]:
        """Do it.

        Examples:
            > thaw-out 1
            done
        """
        yield ""

    register = command(level=Level.PUBLIC, where=Where.FRONTEND)
    for function, sentence in (
        (undescribed, "nothing is said about unit"),
        (unknown, "there is no argument ghost"),
        (untyped, "must be a str, int, bool or Seconds"),
        (positional_flag, "a flag is a keyword-only bool"),
        (silent, "one sentence"),
        (long, "one sentence"),
        (nameless_value, "`by VALUE: what it is` is for options only"),
        (valued_word, "is for options only"),
        (valued_flag, "is for options only"),
        (required_option, "an option can be left out"),
        (others_example, "is another's"),
    ):
        with pytest.raises(TypeError, match=sentence):
            register(function)
    with pytest.raises(CommandError, match="too many"):
        register(wrong_example)
    assert registry.COMMANDS == {}
    made()
    with pytest.raises(TypeError, match="there is one already"):
        made()


def sort_out(
    context: Context,
    unit: str = "",
    *,
    since: Seconds = Seconds(3600),  # noqa: B008 - a test's own
    by: str = "cpu",
    most_rows: int = 5,
    force: bool = False,
) -> Iterator[str]:
    """Sort units.

    Arguments:
        unit: the unit to sort
        since AGO: how far to look back
        by cpu|memory: what comes first
        most_rows COUNT: how many
        force: ask nobody

    Examples:
        > sort-out --by memory x --since 2h
        sorted
    """
    yield unit


def sorter(level: Level = Level.RECOVER) -> Command:
    command(level=level, where=Where.WORKER)(sort_out)
    return registry.COMMANDS["sort-out"]


def test_options_with_values() -> None:
    found = sorter()
    usage = "sort-out [UNIT] [--since AGO] [--by cpu|memory] [--most-rows COUNT] [--force]"
    assert (found.usage, found.brief) == (usage, "sort-out [UNIT]")
    by = found.arguments[2]
    assert (by.name, by.kind, by.option, by.value, by.default) == (
        "by", "str", True, "cpu|memory", "cpu",
    )  # fmt: skip
    assert (by.choices, found.arguments[1].choices) == (("cpu", "memory"), ())
    assert found.bind(()) == Bound(("",), {})
    assert found.bind(("--since", "90s", "x", "--most-rows=7", "--force", "--by", "memory")) == (
        ("x",),
        {"since": 90, "most_rows": 7, "force": True, "by": "memory"},
    )
    assert found.bind(("--since=2d",)).options == {"since": 2 * 86400}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--since",), "AGO is missing after --since; usage: sort-out"),
        (("--since", "--force"), "AGO is missing after --since"),
        (("--since", "-1h"), "AGO is missing after --since"),
        (("--since=",), "--since is a time such as 90s, 15m, 6h or 2d, not ''"),
        (("--since", "2"), "--since is a time such as 90s, 15m, 6h or 2d, not '2'"),
        (("--since", "1h", "--since=2h"), "--since is there twice"),
        (("--by", "name"), "--by is cpu or memory, not 'name'"),
        (("--most-rows", "many"), "--most-rows is a number, not 'many'"),
        (("--force=yes",), "sort-out knows no '--force=yes'"),
        (("--until", "2h"), "sort-out knows no '--until'"),
    ],
)
def test_values_that_do_not_fit(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError) as raised:
        sorter().bind(words)
    assert sentence in str(raised.value)


def test_what_looks_from_a_process_of_its_own_can_be_watched() -> None:
    found = sorter(Level.OBSERVE)
    assert found.usage.endswith(" [--force] [--watch]")
    assert found.bind(("--watch",)).options == {"watch": True}
    registry.COMMANDS.clear()
    assert "--watch" not in sorter(Level.PUBLIC).usage


def test_the_nearest_command_is_named() -> None:
    sorter()
    made()
    for typed, near in (
        ("sort", "sort-out"), ("thaw", "thaw-out"), ("thr", ""), ("t", ""),
        ("tahw-out", "thaw-out"), ("srot-out", "sort-out"), ("out", ""), ("haw-out", ""),
    ):  # fmt: skip
        with pytest.raises(CommandError) as raised:
            find((typed,))
        hint = f"did you mean {near}? " if near else ""
        assert str(raised.value) == f"no command '{typed}'; {hint}type: help"


def test_find() -> None:
    found = made()
    assert find(("thaw-out", "x", "y", "z")) is found
    for words, sentence in (
        ((), "nothing to do; type: help"),
        (("x",), "no command 'x'; type: help"),
        (("\x07" * 50,), "type: help"),
    ):
        with pytest.raises(CommandError) as raised:
            find(words)
        assert sentence in str(raised.value)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 80


def test_levels_are_ordered() -> None:
    assert sorted(Level, reverse=True) == [
        Level.DEFEND,
        Level.RECOVER,
        Level.OBSERVE,
        Level.PUBLIC,
    ]
    assert Level.PUBLIC < Level.OBSERVE <= Level.OBSERVE
    assert Level("recover") is Level.RECOVER


@pytest.mark.parametrize(
    ("address", "host", "authority"),
    [
        ("192.0.2.10", "192.0.2.10", "192.0.2.10:903"),
        ("2001:db8::10", "2001:db8::10", "[2001:db8::10]:903"),
        ("fe80::1%eth0", "fe80::1%eth0", "[fe80::1%eth0]:903"),
        ("::ffff:192.0.2.10", "192.0.2.10", "192.0.2.10:903"),
    ],
)
def test_here(address: str, host: str, authority: str) -> None:
    here = Here(address, 903)
    assert (here.host, here.authority) == (host, authority)


@given(st.text("ab\n", max_size=3 * PART_MAX), st.integers(1, 9))
def test_parts_are_small_and_whole(text: str, times: int) -> None:
    text *= times
    found = list(parts(text))
    assert "".join(found) == text
    assert all(0 < len(part) <= PART_MAX for part in found)


def test_parts_end_where_lines_end() -> None:
    text = f"{'x' * 1000}\n" * 5 + "y" * (PART_MAX + 1)
    assert [len(part) for part in parts(text)] == [3003, 2002, PART_MAX, 1]


def test_parts_at_their_limit() -> None:
    assert [len(part) for part in parts("x" * PART_MAX + "\n")] == [PART_MAX, 1]
    assert [len(part) for part in parts("x\n" + "y" * (PART_MAX - 1))] == [2, PART_MAX - 1]
    assert list(parts("")) == []
