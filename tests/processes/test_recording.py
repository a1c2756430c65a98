"""Entries handed to a writer, and what is heard of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.monitors import taken, written
from tests.places import EPOCH, opened

from panicdoor.messages import Bug, Message, Write, Written
from panicdoor.processes import monitor, recording
from panicdoor.processes.recording import Recording
from panicdoor.records import journal

HASH = "ab" * 32


class House:
    """A recording, the writer's wire as a list with room for some, and what was heard."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.sent: list[Write] = []
        self.soon: list[Callable[[], None]] = []
        self.heard: list[tuple[object, ...]] = []
        self.recording = Recording(self.tell, EPOCH, self.later)

    def tell(self, peer: str, message: Message) -> bool:
        assert peer == "writer"
        assert isinstance(message, Write)
        if len(self.sent) >= self.room:
            return False
        self.sent.append(message)
        return True

    def later(self, call: Callable[..., None], *arguments: object) -> None:
        self.soon.append(lambda: call(*arguments))

    def come_round(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def record(self, name: str) -> None:
        self.recording.record(
            "accepted", {"name": name}, lambda *told: self.heard.append((name, *told))
        )

    def written(self, at: int, n: int, epoch: int = EPOCH) -> None:
        self.recording.written(Written(self.sent[at].id, epoch, n, HASH), "writer")


def test_who_waits_hears_where_the_entry_stands() -> None:
    house = House()
    house.record("a")
    house.record("b")
    assert house.heard == []
    house.written(0, 7)
    assert house.heard == [("a", 7, HASH, False)]
    house.written(1, 8)
    assert house.heard[1:] == [("b", 8, HASH, False)]
    house.written(1, 8)
    assert len(house.heard) == 2


def test_another_monitors_entries_are_not_ours() -> None:
    house = House()
    house.record("a")
    house.written(0, 7, epoch=EPOCH + 1)
    assert house.heard == []


def test_a_disk_that_hangs_makes_an_entry_volatile_beside_the_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()
    house.record("a")
    house.written(0, 7)
    house.record("b")
    house.recording.sweep()
    assert len(house.heard) == 1
    monkeypatch.setattr(recording, "WRITTEN_S", -1.0)
    fresh = House()
    fresh.record("c")
    fresh.recording.sweep()
    assert fresh.heard == [("c", 0, journal.FIRST, True)]
    fresh.written(0, 9)
    assert len(fresh.heard) == 1
    fresh.record("d")
    fresh.recording.sweep()
    assert fresh.heard[1:] == [("d", 9, HASH, True)]


def test_what_the_wire_has_no_room_for_is_volatile_and_counted() -> None:
    house = House(room=1)
    house.record("a")
    house.record("b")
    house.record("c")
    assert house.heard == []  # never before `record` returns
    house.come_round()
    assert house.heard == [("b", 0, journal.FIRST, True), ("c", 0, journal.FIRST, True)]
    house.room = 10
    house.record("d")
    assert [json.loads(each.fields) for each in house.sent] == [
        {"name": "a"},
        {"entries": 2},
        {"name": "d"},
    ]


def test_what_is_waited_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WAITING_MAX", 2)
    house = House()
    for name in "abc":
        house.record(name)
    house.come_round()
    assert house.heard == [("c", 0, journal.FIRST, True)]


def test_everybody_who_wants_to_is_told_after_who_waits() -> None:
    house = House()
    house.recording.told.append(lambda *told: house.heard.append(told))
    house.record("a")
    house.recording.record("start", {})
    house.written(0, 7)
    house.written(1, 8)
    assert house.heard == [
        ("a", 7, HASH, False),
        ("accepted", {"name": "a"}, 7, HASH, False),
        ("start", {}, 8, HASH, False),
    ]


# Through a monitor


def test_a_writer_that_hangs_is_not_waited_for_and_what_is_missed_is_counted(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "hung") as places:
        places.fill("monitor", lambda: setattr(monitor, "BUGS_A_MINUTE", 10_000))
        stream, writer = places.end("stream1", "monitor"), places.end("writer", "monitor")
        for number in range(500):
            stream.say(Bug("x", f"{number}" + "\0" * 500))
        taken(places)
        first = [m for m in writer.waiting() if isinstance(m, Write)]
        bugs = [json.loads(m.fields)["what"].partition("\\")[0] for m in first if m.kind == "bug"]
        assert 30 < len(bugs) < 400
        assert bugs == [str(number) for number in range(len(bugs))]
        stream.say(Bug("x", "last"))
        assert written(places, "missed") == {"entries": 500 - len(bugs)}
        assert written(places, "bug")["what"] == "last"
