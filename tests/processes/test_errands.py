"""Errands: who runs them, in which order, and what becomes of those that nobody ends."""

from dataclasses import dataclass, field

import pytest
from tests.running import wait_for

from panicdoor.commands.registry import Where
from panicdoor.messages import Cancel, Message, More, Output, Replace, Run
from panicdoor.processes import errands
from panicdoor.processes.errands import BUSY, DIED, RUNNERS, UNREAD, Errands, Job

EPOCH = 7


@dataclass
class House:
    """Errands, with a note of all that was said to other places and to clients."""

    full: set[str] = field(default_factory=set)
    told: list[tuple[str, Message]] = field(default_factory=list)
    heard: list[tuple[str, str, bool, int]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errands = Errands(self.tell, EPOCH, absent=True)

    def tell(self, place: str, message: Message) -> bool:
        self.told.append((place, message))
        return place not in self.full

    def add(
        self, name: str, frontend: str = "stream1", where: Where = Where.OBSERVER, who: str = ""
    ) -> Job:
        job = Job(
            frontend, where, (name,),
            lambda: self.begun.append(name),
            lambda text, end, code: self.heard.append((name, text, end, code)),
            who=who,
        )  # fmt: skip
        self.errands.add(job)
        return job

    def runs(self) -> list[tuple[str, str]]:
        """Return who was given what."""
        return [(place, m.words[0]) for place, m in self.told if isinstance(m, Run)]

    def say(self, place: str, text: str, end: bool = False, code: int = 0) -> None:
        """Let the last errand of a place print something."""
        number = [m.id for p, m in self.told if p == place and isinstance(m, Run)][-1]
        self.errands.output(Output(number, EPOCH, text, end, code), place)


@pytest.fixture
def house() -> House:
    house = House()
    for epoch, name in enumerate(RUNNERS):
        house.errands.hello(name, epoch)
    return house


def test_nobody_is_given_anything_before_a_hello() -> None:
    house = House()
    house.add("look")
    assert (house.runs(), house.begun) == ([], ["look"])
    house.errands.hello("observer", 3)
    assert house.runs() == [("observer", "look")]
    assert [m.to for _, m in house.told if isinstance(m, Run)] == [3]


def test_parts_come_one_by_one_and_then_the_place_is_free(house: House) -> None:
    job = house.add("look")
    house.say("observer", "one\n")
    house.errands.more(job)
    assert isinstance(house.told[-1][1], More)
    house.add("again")
    house.say("observer", "two\n", end=True, code=1)
    assert house.heard == [("look", "one\n", False, 0), ("look", "two\n", True, 1)]
    assert house.runs() == [("observer", "look"), ("observer", "again")]


def test_frontends_have_their_turn(house: House) -> None:
    for name in "abc":
        house.add(name)
    house.add("d", "stream2")
    for _ in range(4):
        house.say("observer", "", end=True)
    assert [name for _, name in house.runs()] == ["a", "b", "d", "c"]


def test_a_busy_operator_delays_another_by_one_errand(house: House) -> None:
    for number in range(errands.ERRANDS_WAITING_MAX + 2):
        house.add(f"a{number}", "ssh", who="alice")
    assert [name for name, *_ in house.heard] == [f"a{errands.ERRANDS_WAITING_MAX + 1}"]
    house.add("b", "ssh", who="bob")
    for _ in range(2):
        house.say("observer", "", end=True)
    assert [name for _, name in house.runs()] == ["a0", "a1", "b"]


def test_both_workers_work(house: House) -> None:
    for name in "abc":
        house.add(name, where=Where.WORKER)
    assert house.runs() == [("worker1", "a"), ("worker2", "b")]


def test_too_many_are_refused(house: House) -> None:
    for number in range(errands.ERRANDS_WAITING_MAX + 1):
        house.add(str(number))
    assert house.heard == []
    house.add("last")
    assert house.heard == [("last", BUSY, True, 3)]


def test_who_waits_for_too_long_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add("first")
    monkeypatch.setattr(errands, "WAIT_S", -1.0)
    house.add("second")
    house.errands.sweep()
    assert house.heard == [("second", BUSY, True, 3)]
    house.say("observer", "", end=True)
    assert house.runs() == [("observer", "first")]


def test_a_missed_deadline_is_told_again_and_again_until_a_hello(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "ERRAND_S", -1.0)
    house.add("look")
    for _ in range(2):
        house.errands.sweep()
    assert [m.place for _, m in house.told if isinstance(m, Replace)] == ["observer"] * 2
    assert [(name, end, code) for name, _, end, code in house.heard] == [("look", True, 1)]
    house.say("observer", "too late\n", end=True)
    assert len(house.heard) == 1
    house.errands.hello("observer", 9)
    house.errands.sweep()
    assert len([m for _, m in house.told if isinstance(m, Replace)]) == 2


def test_a_place_whose_wire_is_full_is_replaced(house: House) -> None:
    house.full = {"observer"}
    house.add("look")
    assert [m.place for _, m in house.told if isinstance(m, Replace)] == ["observer"]
    assert house.heard[0][2:] == (True, 1)


def test_the_end_of_a_process_ends_its_errand(house: House) -> None:
    house.add("look")
    house.add("next")
    house.errands.hello("observer", 9)
    assert house.heard == [("look", DIED, True, 1)]
    assert house.runs() == [("observer", "look"), ("observer", "next")]
    house.errands.hello("stream1", 9)  # no runner


def test_what_nobody_waits_for_ends_and_holds_its_place_until_it_has(house: House) -> None:
    running, waiting = house.add("look"), house.add("next")
    house.errands.drop(waiting)
    house.errands.drop(running)
    assert isinstance(house.told[-1][1], Cancel)
    house.add("third")
    house.say("observer", "heard by nobody\n")
    assert house.runs() == [("observer", "look")]
    house.say("observer", "", end=True)
    assert house.runs() == [("observer", "look"), ("observer", "third")]
    assert house.heard == []


def test_outputs_of_others_mean_nothing(house: House) -> None:
    house.add("look")
    number = next(m.id for _, m in house.told if isinstance(m, Run))
    house.errands.output(Output(number, EPOCH - 1, "x", True, 0), "observer")
    house.errands.output(Output(number + 1, EPOCH, "x", True, 0), "observer")
    house.errands.output(Output(number, EPOCH, "x", True, 0), "worker1")
    assert house.heard == []


def test_who_does_not_read_on_gives_way_to_those_who_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "HOLD_S", 0.0)
    house.add("slow")
    house.say("observer", "one\n")
    house.errands.sweep()
    assert house.heard == [("slow", "one\n", False, 0)]
    house.add("next")
    house.errands.sweep()
    house.errands.sweep()
    assert house.heard[1:] == [("slow", UNREAD, True, 3)]
    assert [m for _, m in house.told if isinstance(m, Cancel)] == [Cancel(1, EPOCH)]
    assert house.runs() == [("observer", "slow")]
    house.say("observer", "cancelled\n", end=True, code=1)
    assert house.runs()[1:] == [("observer", "next")]
    assert len(house.heard) == 2


def test_who_reads_on_in_time_does_not_give_way(house: House) -> None:
    house.add("look")
    house.say("observer", "one\n")
    house.add("next")
    house.errands.sweep()
    assert house.heard == [("look", "one\n", False, 0)]


def test_who_ended_when_told_to_is_not_replaced(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "ERRAND_S", -1.0)
    house.errands.drop(house.add("look"))
    house.say("observer", "cancelled\n", end=True, code=1)
    house.errands.sweep()
    assert not any(isinstance(m, Replace) for _, m in house.told)


def test_who_reads_on_again_and_again_at_the_last_moment_gives_way_in_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "HOLD_IN_ALL_S", 0.02)
    job = house.add("slow")
    house.add("next")
    house.say("observer", "part\n")

    def read_on() -> bool:
        house.errands.more(job)
        house.say("observer", "part\n")
        house.errands.sweep()
        return house.heard[-1] == ("slow", UNREAD, True, 3)

    wait_for(read_on)


def test_who_works_at_the_next_part_does_not_give_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "HOLD_S", 0.0)
    job = house.add("slow")
    house.say("observer", "one\n")
    house.errands.more(job)
    house.add("next")
    house.errands.sweep()
    assert house.heard == [("slow", "one\n", False, 0)]


def test_what_waits_for_another_kind_of_place_takes_none_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "HOLD_S", 0.0)
    house.add("slow")
    house.say("observer", "one\n")
    for name in ("a", "b", "c"):
        house.add(name, where=Where.WORKER)
    house.errands.sweep()
    assert house.heard == [("slow", "one\n", False, 0)]
