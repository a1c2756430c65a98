"""The way of a request, as the judge decides it: driven by hand, with no process behind it."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.documentation.doors import NOW, V4, manual
from tests.places import ask, extra_commands

from panicdoor.commands.registry import COMMANDS, WATCH_S, Context, Level, Where
from panicdoor.config import Grant
from panicdoor.judge.dispatch import (
    Errand,
    Outcome,
    Pause,
    Record,
    Resume,
    Step,
    Steps,
    dispatch,
)
from panicdoor.judge.policy import Policy, Speaker
from panicdoor.messages import Ask
from panicdoor.printable import escape
from panicdoor.protocols.base import Part

CONTEXT = Context(manual(), V4, NOW, lambda: "aadq-caqd")


@pytest.fixture(autouse=True)
def _extra() -> Iterator[None]:
    with extra_commands():
        yield


def steps(request: Ask) -> list[Step]:
    return list(dispatch(request, CONTEXT))


def test_what_the_monitor_answers_itself_is_one_marked_part() -> None:
    assert steps(ask(1, "ping")) == [Part(f"pong from web1, {NOW}\n", end=True)]
    assert steps(ask(1, "challenge")) == [Part("aadq-caqd\n", end=True)]


def test_what_has_many_parts_marks_the_last() -> None:
    assert steps(ask(1, "three")) == [Part("one\n"), Part("two\n"), Part("three\n", end=True)]


def test_what_works_elsewhere_is_an_errand_resumed_part_by_part() -> None:
    judge = dispatch(ask(1, "count", "3"), CONTEXT)
    assert next(judge) == Errand(Where.WORKER, ("count", "3"))
    assert judge.send(Outcome("1\n", end=False, code=0)) == Part("1\n")
    assert judge.send(None) == Resume()
    assert judge.send(Outcome("2\n", end=False, code=0)) == Part("2\n")
    assert judge.send(None) == Resume()
    assert judge.send(Outcome("", end=True, code=0)) == Part("", end=True)
    with pytest.raises(StopIteration):
        judge.send(None)


@pytest.mark.parametrize("code", [1, 2, 3])
def test_how_an_errand_ended_is_said(code: int) -> None:
    judge = dispatch(ask(1, "fail"), CONTEXT)
    assert next(judge) == Errand(Where.OBSERVER, ("fail",))
    assert judge.send(Outcome("no\n", end=True, code=code)) == Part("no\n", end=True, code=code)


def test_an_errand_that_nobody_waits_for_ends_quietly() -> None:
    judge = dispatch(ask(1, "count", "3"), CONTEXT)
    next(judge)
    judge.close()


def test_what_is_not_for_everybody_is_refused_and_not_run() -> None:
    text = "refused: forbidden is not for everybody; with your ssh key: see doc\n"
    assert steps(ask(1, "forbidden")) == [Part(text, end=True, code=1)]


def test_whatever_its_level_or_place_only_what_is_public_runs() -> None:
    for name, command in COMMANDS.items():
        if command.level is not Level.PUBLIC:
            (only,) = steps(ask(1, name))
            assert isinstance(only, Part)
            assert only.text.startswith("refused: ")
            assert (only.end, only.code) == (True, 1)


def test_an_order_is_refused_and_its_words_are_not_looked_at() -> None:
    text = "refused: this door takes no orders yet\n"
    order = "panicdoor order 1\ndo: forbidden\n"
    for words in ((), ("ping",), ("forbidden",), ("count", "3")):
        assert steps(ask(1, *words, order=order)) == [Part(text, end=True, code=1)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to do"),
        (("",), "no command ''"),
        (("nonesuch",), "no command 'nonesuch'"),
        (("ping", "x"), "'x' is one word too many"),
        (("count",), "UPTO is missing"),
        (("count", "many"), "UPTO is a number, not 'many'"),
        (("count", "\u0661"), "UPTO is a number"),
        (("ping", "--json"), "ping knows no '--json'"),
        (("\x1b[2J",), "no command '\\x1b[2J'"),
        (("PING",), "no command 'PING'"),
        (("ping\n",), "no command 'ping\\x0a'"),
        (("__class__",), "no command"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(words: tuple[str, ...], says: str) -> None:
    (only,) = steps(ask(1, *words))
    assert isinstance(only, Part)
    assert only.text.startswith(says)
    assert (only.end, only.code) == (True, 2)


WORDS = st.lists(
    st.sampled_from([*COMMANDS, "count", "forbidden", "fail", "--json", "1", "-x", ""]) | st.text(),
    max_size=6,
).map(tuple)


@given(WORDS, st.text(max_size=50) | st.just(""), st.lists(st.booleans(), max_size=4))
@settings(max_examples=300, deadline=None, database=None)
def test_any_words_lead_to_parts_and_one_end(
    words: tuple[str, ...], order: str, ends: list[bool]
) -> None:
    with extra_commands():
        judge = dispatch(ask(1, *words, order=order), CONTEXT)
        said: list[Part] = []
        outcome = None
        outcomes = iter([*ends, True])
        for _ in range(100):
            try:
                step = judge.send(outcome)
            except StopIteration:
                break
            except ValueError:
                if words != ("crash-monitor",):
                    raise
                return
            outcome = None
            if isinstance(step, Part):
                said.append(step)
            else:
                assert not order
                assert COMMANDS[words[0]].level is Level.PUBLIC
                outcome = Outcome("x\n", end=next(outcomes), code=0)
        else:
            pytest.fail("it never ends")
    assert [part.end for part in said] == [False] * (len(said) - 1) + [True]
    if said[-1].code:
        assert escape(said[-1].text) == said[-1].text


GRANT = Grant(to=("alice",), may=("defend",))
ALICE = Speaker("alice", "192.0.2.7", Level.DEFEND)


def test_who_may_is_recorded_and_served() -> None:
    errand = list(dispatch(ask(1, "forbidden"), CONTEXT, lambda: Policy((GRANT,)), ALICE))
    entry = {"by": "alice", "from": "192.0.2.7", "do": "forbidden"}
    assert errand == [Record("typed", entry), Errand(Where.WORKER, ("forbidden",))]


def test_who_may_not_is_recorded_and_told_why() -> None:
    said = list(dispatch(ask(1, "forbidden"), CONTEXT, lambda: Policy(()), ALICE))
    why = "no grant lets alice run forbidden"
    entry = {"by": "alice", "from": "192.0.2.7", "do": "forbidden", "why": why}
    assert said == [Record("refused", entry), Part(f"refused: {why}\n", end=True, code=1)]


def test_what_is_recorded_can_be_read_in_one_way_only() -> None:
    words = ("processes", "a --json", "--by=memory")
    judge = dispatch(ask(1, *words), CONTEXT, lambda: Policy((GRANT,)), ALICE)
    entry = {"by": "alice", "from": "192.0.2.7", "do": "processes 'a --json' --by=memory"}
    assert next(judge) == Record("typed", entry)


@pytest.mark.parametrize("word", ["it's", "a\nb", "\x1b[2J", "\u202e", "x" * 1020])
def test_what_nobody_can_type_is_not_run(word: str) -> None:
    """A frontend that was taken over can say it."""
    (said,) = dispatch(ask(1, "processes", word), CONTEXT, lambda: Policy((GRANT,)), ALICE)
    assert isinstance(said, Part)
    assert (said.end, said.code) == (True, 2)


def test_what_is_public_is_not_recorded() -> None:
    assert len(list(dispatch(ask(1, "ping"), CONTEXT, lambda: Policy((GRANT,)), ALICE))) == 1


WATCHER = Policy((Grant(to=("alice",), may=("observe",)),))


def watch(*words: str) -> Steps:
    """Begin a watch, up to its first errand."""
    judge = dispatch(ask(1, *words), CONTEXT, lambda: WATCHER, ALICE)
    entry = {"by": "alice", "from": "192.0.2.7", "do": " ".join(words)}
    assert next(judge) == Record("typed", entry)
    return judge


def said(text: str, end: bool = False, code: int = 0, cursor: str = "") -> Outcome:
    return Outcome(text, end, code, cursor)


def test_a_watch_is_an_errand_again_and_again_recorded_once() -> None:
    judge = watch("rows", "--watch", "2")
    for _ in range(3):
        assert judge.send(None) == Errand(Where.OBSERVER, ("rows", "2"))
        assert judge.send(said("")) == Part("", top=True)
        assert judge.send(None) == Resume()
        assert judge.send(said("one\n")) == Part("one\n", top=True)
        assert judge.send(None) == Resume()
        assert judge.send(said("two\n")) == Part("two\n")
        assert judge.send(None) == Resume()
        assert judge.send(said("", end=True)) == Part("")
        assert judge.send(None) == Pause(WATCH_S)
    judge.close()


def test_the_first_error_ends_a_watch() -> None:
    judge = watch("rows", "--watch")
    judge.send(None)
    assert judge.send(said("one\n")) == Part("one\n", top=True)
    judge.send(None)
    assert judge.send(said("no\n", end=True, code=3)) == Part("no\n", end=True, code=3)
    with pytest.raises(StopIteration):
        judge.send(None)


def test_what_is_followed_goes_on_from_where_it_was() -> None:
    judge = watch("onward", "--follow")
    cursor = ""
    for number in range(3):
        assert judge.send(None) == Errand(Where.WORKER, ("onward", "--follow"), cursor)
        assert judge.send(said("new\n")) == Part("new\n")
        assert judge.send(None) == Resume()
        cursor = f"n{number}"
        assert judge.send(said("", end=True, cursor=cursor)) == Part("")
        assert judge.send(None) == Pause(WATCH_S)
    judge.close()


def test_a_watch_is_not_followed() -> None:
    words = ("onward", "--follow", "--watch")
    (only,) = dispatch(ask(1, *words), CONTEXT, lambda: WATCHER, ALICE)
    assert only == Part("it is either --watch or --follow\n", end=True, code=2)


def test_nobody_else_watches() -> None:
    text = "refused: rows is not for everybody; with your ssh key: see doc\n"
    assert steps(ask(1, "rows", "--watch")) == [Part(text, end=True, code=1)]


def test_a_watch_is_judged_anew_for_each_round() -> None:
    now = [WATCHER]
    judge = dispatch(ask(1, "rows", "--watch"), CONTEXT, lambda: now[0], ALICE)
    next(judge)
    for _ in range(2):
        assert judge.send(None) == Errand(Where.OBSERVER, ("rows",))
        judge.send(said("", end=True))
        assert judge.send(None) == Pause(WATCH_S)
    now[0] = Policy(())
    why = "no grant lets alice run rows"
    entry = {"by": "alice", "from": "192.0.2.7", "do": "rows --watch", "why": why}
    assert judge.send(None) == Record("refused", entry)
    assert judge.send(None) == Part(f"refused: {why}\n", end=True, code=1)
    with pytest.raises(StopIteration):
        judge.send(None)
