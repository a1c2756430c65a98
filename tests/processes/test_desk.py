"""The desk: what it answers by itself, and how it waits for a monitor that a test plays."""

import heapq
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.documentation.doors import V4, manual
from tests.places import extra_commands

from panicdoor.config import Door, parse
from panicdoor.messages import Answer, Ask, Cancel, Fresh, Message, More, Reloaded
from panicdoor.processes.desk import (
    ASK_S,
    ASKS_MAX,
    FRESH_FOR_S,
    GONE,
    PAGE_MAX,
    REPLACED,
    SLOW,
    WORK_S,
    Asked,
    Desk,
    Prepared,
)
from panicdoor.protocols.base import Form, Part, Request

EPOCH = 77


class Timer:
    """What a loop gives out for a call that is to come."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.cancelled = True


class Frontend:
    """A desk in a place without processes: its wire to the monitor, its timers and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.handlers: dict[type[Message], Callable[[Any, str], None]] = {}
        self.said: list[Message] = []
        self.full = False
        self.parts: list[Part] = []
        self.policy: tuple[int, Door] | None = None
        place: Any = SimpleNamespace(
            world=SimpleNamespace(
                manual=manual(), door=None, holdings=SimpleNamespace(policy=self)
            ),
            epoch=EPOCH,
            on=self.handlers.__setitem__,
            tell=self.tell,
            loop=SimpleNamespace(call_later=self.call_later),
        )
        self.desk = Desk(place)

    def read_door(self) -> tuple[int, Door] | None:
        """Return the policy in force, as its memory would."""
        return self.policy

    def tell(self, peer: str, message: Message) -> bool:
        assert peer == "monitor"
        if not self.full:
            self.said.append(message)
        return not self.full

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, call)
        heapq.heappush(self.timers, timer)
        return timer

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and self.timers[0].when <= until:
            timer = heapq.heappop(self.timers)
            self.now = timer.when
            if not timer.cancelled:
                timer.call()
        self.now = until

    def waits(self) -> bool:
        """Whether anything is kept for an answer, or a timer runs for one."""
        return bool(self.desk._asked) or any(not timer.cancelled for timer in self.timers)

    def ask(self, *words: str, order: str = "", form: Form = Form.TEXT) -> Asked | Prepared:
        request = Request(words, form, order)
        return self.desk.ask(request, V4, "tcp", "192.0.2.1", "", self.parts.append)

    def asked(self, *words: str) -> tuple[Asked | Prepared, Ask]:
        """Ask something of the monitor, and return what it was asked."""
        asked = self.ask(*words)
        asked.more()
        ask = self.said.pop()
        assert isinstance(ask, Ask)
        return asked, ask

    def answer(self, ask: Ask, text: str, *, end: bool = False, code: int = 0) -> None:
        self.handlers[Answer](Answer(ask.id, ask.epoch, text, end, code), "monitor")

    def fresh(self, challenge: str, epoch: int = 5) -> None:
        self.handlers[Fresh](Fresh(challenge, epoch), "monitor")

    def all(self, *words: str, form: Form = Form.TEXT) -> str:
        """Return a whole answer that needs nobody else."""
        asked = self.ask(*words, form=form)
        while not self.parts or not self.parts[-1].end:
            asked.more()
        return "".join(part.text for part in self.parts)


@pytest.fixture
def frontend(monkeypatch: pytest.MonkeyPatch) -> Frontend:
    frontend = Frontend()
    monkeypatch.setattr(time, "monotonic", lambda: frontend.now)
    return frontend


# What it answers by itself


@pytest.mark.parametrize(
    ("words", "form", "has"),
    [
        ((), Form.TEXT, "PANICDOOR"),
        (("doc",), Form.TEXT, "PANICDOOR"),
        (("help",), Form.TEXT, "ping"),
        (("about",), Form.TEXT, "Example Ops"),
        (("order", "ping"), Form.TEXT, "panicdoor order 1"),
        ((), Form.HTML, "<html"),
        (("help", "ping"), Form.HTML, "<html"),
        ((), Form.JSON, '"commands"'),
        (("help",), Form.JSON, '"ping"'),
        (("help", "--json"), Form.JSON, '"ping"'),
    ],
)
def test_documentation_asks_nobody(
    frontend: Frontend, words: tuple[str, ...], form: Form, has: str
) -> None:
    frontend.full = True
    text = frontend.all(*words, form=form)
    assert has in text
    assert frontend.said == []
    assert not frontend.waits()
    if form is Form.JSON:
        json.loads(text)


@pytest.mark.parametrize(
    ("words", "form", "says"),
    [
        (("nonesuch",), Form.TEXT, "no command 'nonesuch'"),
        (("doc", "x"), Form.TEXT, "PAGE is a number, not 'x'"),
        (("help", "a", "b"), Form.TEXT, "one word too many"),
        (("\x1b[2J",), Form.TEXT, "no command '\\x1b[2J'"),
        (("ping",), Form.JSON, "ping has no JSON form"),
        (("ping", "x"), Form.TEXT, "one word too many"),
        (("challenge", *["x"] * 63), Form.JSON, "one word too many"),
        (("nonesuch",), Form.HTML, "no command"),
        (("nonesuch",), Form.JSON, "no command"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    frontend: Frontend, words: tuple[str, ...], form: Form, says: str
) -> None:
    text = frontend.all(*words, form=form)
    assert says in text.replace("&#x27;", "'").replace("\\\\", "\\")
    assert frontend.parts[-1].code == 2
    assert frontend.said == []


def test_parts_are_delivered_one_by_one_and_nothing_is_left_after_a_cancel(
    frontend: Frontend,
) -> None:
    asked = frontend.ask("doc", "--json")
    assert frontend.parts == []
    asked.more()
    assert len(frontend.parts) == 1
    asked.cancel()
    assert not frontend.waits()


def test_the_challenge_is_the_last_fresh_one_and_not_for_ever(frontend: Frontend) -> None:
    assert frontend.desk.challenge() == ""
    assert "aadq" not in frontend.all("doc")
    frontend.fresh("one")
    frontend.fresh("two")
    assert frontend.desk.challenge() == "two"
    frontend.pass_time(FRESH_FOR_S - 1)
    assert frontend.desk.challenge() == "two"
    frontend.pass_time(2)
    assert frontend.desk.challenge() == ""


# What the monitor is asked


def test_a_question_goes_out_with_the_first_more_and_its_deadline_is_counted_from_there(
    frontend: Frontend,
) -> None:
    asked = frontend.ask("ping")
    frontend.pass_time(60)
    assert frontend.said == []
    asked.more()
    ask = Ask(1, EPOCH, frontend.now + ASK_S, "tcp", "192.0.2.1", "", ("ping",), "")
    assert frontend.said == [ask]
    frontend.answer(ask, "pong\n", end=True)
    assert frontend.parts == [Part("pong\n", end=True)]
    assert not frontend.waits()


def test_an_order_is_sent_on_as_it_is(frontend: Frontend) -> None:
    frontend.ask(order="panicdoor order 1\n").more()
    (ask,) = frontend.said
    assert isinstance(ask, Ask)
    assert (ask.words, ask.order) == ((), "panicdoor order 1\n")


def test_one_more_one_part(frontend: Frontend) -> None:
    asked, ask = frontend.asked("ping")
    frontend.answer(ask, "one\n")
    assert frontend.parts == [Part("one\n")]
    frontend.pass_time(3600)  # a client that reads slowly is no fault of the monitor's
    assert frontend.said == []
    asked.more()
    assert frontend.said == [More(ask.id, EPOCH)]
    frontend.answer(ask, "two\n", end=True, code=1)
    assert frontend.parts[1:] == [Part("two\n", end=True, code=1)]
    assert not frontend.waits()


def test_an_empty_part_only_says_that_work_has_begun(frontend: Frontend) -> None:
    _, ask = frontend.asked("ping")
    frontend.pass_time(ASK_S - 0.1)
    frontend.answer(ask, "")
    assert frontend.parts == []
    frontend.pass_time(WORK_S - 0.1)
    frontend.answer(ask, "")
    frontend.pass_time(WORK_S - 0.1)
    frontend.answer(ask, "", end=True)
    assert frontend.parts == [Part("", end=True)]


def test_work_that_goes_on_and_has_nothing_new_is_waited_for(frontend: Frontend) -> None:
    """What is followed may be silent for hours, as long as the monitor says that it goes on."""
    asked, ask = frontend.asked("ping")
    frontend.handlers[Answer](Answer(ask.id, EPOCH, "one\n", end=False, top=True), "monitor")
    assert frontend.parts == [Part("one\n", top=True)]
    asked.more()
    for _ in range(5):
        frontend.pass_time(WORK_S - 0.1)
        frontend.answer(ask, "")
    assert len(frontend.parts) == 1
    frontend.pass_time(WORK_S + 0.1)
    assert frontend.parts[1:] == [Part(SLOW, end=True, code=3)]


@pytest.mark.parametrize(("begun", "seconds", "text"), [(False, ASK_S, GONE), (True, WORK_S, SLOW)])
def test_a_monitor_that_is_silent_costs_a_while_and_a_clear_line(
    frontend: Frontend, begun: bool, seconds: float, text: str
) -> None:
    _, ask = frontend.asked("ping")
    if begun:
        frontend.answer(ask, "")
    frontend.pass_time(seconds - 0.01)
    assert frontend.parts == []
    frontend.pass_time(0.02)
    assert frontend.parts == [Part(text, end=True, code=3)]
    assert frontend.said == [Cancel(ask.id, EPOCH)]
    frontend.answer(ask, "late\n", end=True)
    assert len(frontend.parts) == 1
    assert not frontend.waits()


def test_a_monitor_that_falls_silent_between_parts(frontend: Frontend) -> None:
    asked, ask = frontend.asked("ping")
    frontend.answer(ask, "one\n")
    asked.more()
    frontend.pass_time(WORK_S)
    assert frontend.parts[1:] == [Part(SLOW, end=True, code=3)]


@pytest.mark.parametrize("later", [False, True])
def test_a_full_wire_is_said_at_once(frontend: Frontend, later: bool) -> None:
    asked = frontend.ask("ping")
    if later:
        asked.more()
        ask = frontend.said[0]
        assert isinstance(ask, Ask)
        frontend.answer(ask, "one\n")
    frontend.full = True
    asked.more()
    assert frontend.parts[-1] == Part(GONE, end=True, code=3)
    assert not frontend.waits()


def test_another_monitor_ends_what_the_last_one_had_begun_and_no_more(frontend: Frontend) -> None:
    frontend.fresh("x", epoch=5)
    _, begun = frontend.asked("ping")
    _, unheard = frontend.asked("ping")
    frontend.answer(begun, "")
    frontend.fresh("y", epoch=5)
    assert frontend.parts == []
    frontend.fresh("z", epoch=6)
    assert frontend.parts == [Part(REPLACED, end=True, code=3)]
    frontend.answer(unheard, "pong\n", end=True)
    assert frontend.parts[1:] == [Part("pong\n", end=True)]
    assert not frontend.waits()


def test_a_cancel_is_told_once_the_question_is_out(frontend: Frontend) -> None:
    frontend.ask("ping").cancel()
    assert frontend.said == []
    asked, ask = frontend.asked("ping")
    asked.cancel()
    assert frontend.said == [Cancel(ask.id, EPOCH)]
    frontend.answer(ask, "pong\n", end=True)
    assert frontend.parts == []
    assert not frontend.waits()


def test_answers_to_others_mean_nothing(frontend: Frontend) -> None:
    _, ask = frontend.asked("ping")
    for number, epoch in ((ask.id + 1, EPOCH), (ask.id, EPOCH - 1), (0, 0), (2**63 - 1, EPOCH)):
        frontend.handlers[Answer](Answer(number, epoch, "forged\n", end=True), "monitor")
    assert frontend.parts == []
    frontend.answer(ask, "pong\n", end=True)
    frontend.answer(ask, "again\n", end=True)
    assert frontend.parts == [Part("pong\n", end=True)]


def test_questions_are_bounded(frontend: Frontend) -> None:
    asked = [frontend.ask("ping") for _ in range(ASKS_MAX)]
    for each in asked:
        each.more()
    more = frontend.ask("ping")
    more.more()
    assert frontend.parts == [Part("the door is busy; try again\n", end=True, code=3)]
    assert len(frontend.said) == ASKS_MAX
    asked[0].cancel()
    frontend.ask("ping").more()
    assert isinstance(frontend.said[-1], Ask)
    frontend.pass_time(ASK_S)
    assert not frontend.waits()


def test_a_page_is_delivered_whole_and_bounded(frontend: Frontend) -> None:
    asked = frontend.ask("ping", form=Form.HTML)
    asked.more()
    (ask,) = frontend.said
    assert isinstance(ask, Ask)
    for _ in range(200):
        frontend.answer(ask, "<b>" + "x" * 2997)
        asked.more()
    frontend.answer(ask, "end\n", end=True)
    assert [part.text for part in frontend.parts[:-1]] == [""] * 200
    page = frontend.parts[-1].text
    assert "<html" in page
    assert "&lt;b&gt;" in page
    assert PAGE_MAX < len(page) < PAGE_MAX * 1.1


def test_a_refusal_in_json_is_json(frontend: Frontend) -> None:
    asked = frontend.ask("challenge", form=Form.JSON)
    asked.more()
    (ask,) = frontend.said
    assert isinstance(ask, Ask)
    assert ask.words == ("challenge", "--json")
    frontend.pass_time(ASK_S)
    assert json.loads(frontend.parts[0].text) == {"error": GONE.strip()}
    assert frontend.parts[0].code == 3


@pytest.fixture
def _extra() -> Iterator[None]:
    with extra_commands():
        yield


@pytest.mark.usefixtures("_extra")
def test_what_is_forbidden_is_asked_and_not_decided_here(frontend: Frontend) -> None:
    _, ask = frontend.asked("forbidden")
    assert ask.words == ("forbidden",)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "more", "cancel", "part", "begun", "end", "time", "fresh", "full"]),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=200, deadline=None, database=None)
def test_whatever_happens_every_question_ends_once_and_nothing_is_kept(
    steps: list[tuple[str, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        frontend = Frontend()
        patch.setattr(time, "monotonic", lambda: frontend.now)
        got: list[list[Part]] = []
        asked: list[Asked | Prepared] = []
        gone: list[bool] = []
        for what, which in steps:
            if what == "ask":
                got.append([])
                request = Request(("ping",))
                asked.append(frontend.desk.ask(request, V4, "tcp", "", "", got[-1].append))
                gone.append(False)
                asked[-1].more()
                continue
            if what == "time":
                frontend.pass_time(which * 7.0)
            elif what == "fresh":
                frontend.fresh("x", 1 + which)
            elif what == "full":
                frontend.full = not frontend.full
            elif which < len(asked):
                ended = gone[which] or any(part.end for part in got[which])
                if what == "more" and not ended:
                    asked[which].more()
                elif what == "cancel" and not ended:
                    asked[which].cancel()
                    gone[which] = True
                elif what in ("part", "begun", "end"):
                    text = "" if what == "begun" else "x"
                    message = Answer(which + 1, EPOCH, text, what == "end", 0)
                    frontend.handlers[Answer](message, "monitor")
        for number, one in enumerate(asked):
            if not gone[number] and not any(part.end for part in got[number]):
                one.more()
        frontend.pass_time(WORK_S + 1)
        for number, parts in enumerate(got):
            assert sum(part.end for part in parts) == (0 if gone[number] else 1)
            assert all(not part.end for part in parts[:-1])
        assert not frontend.waits()


# The policy


def test_another_policy_is_told_of_from_the_message_on() -> None:
    front = Frontend()
    taken: list[object] = []
    front.desk.changed = taken.append
    assert "nobody" in front.desk.manual.help("triage")
    grant = '[[grant]]\nto = ["alice"]\nmay = ["observe"]\nfrom = ["192.0.2.0/24"]\n'
    door = parse(f'name = "web1"\n{grant}', "door.toml")
    front.policy = 3, door
    front.handlers[Reloaded](Reloaded(3), "monitor")
    front.handlers[Reloaded](Reloaded(3), "monitor")
    assert taken == [door]
    assert front.desk.door == door
    said = front.desk.manual.help("triage")
    assert "One signature, or typed in ssh" in said
    assert "alice" not in said + front.desk.manual.json(V4)
    assert "192.0.2.0" not in said + front.desk.manual.help_json("triage")
