"""The supervisor at work, with real processes in its places that do nothing but what a test wants.

The writer is the real one: what the supervisor says is read in the journal. Clocks run faster.
"""

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from tests.child import status
from tests.places import Places, opened
from tests.running import children, exit_code, session, title, wait_for

from panicdoor import messages
from panicdoor.errors import PanicdoorError
from panicdoor.messages import Message, Ping, Pong, Replace
from panicdoor.processes import supervisor, writer
from panicdoor.processes.place import Place, World
from panicdoor.processes.supervisor import ENTRIES, Supervisor
from panicdoor.processes.wires import Wire
from panicdoor.roles import ROLE_OF, ROLES, SUPERVISOR

Entry = Callable[[Place], None]
PING_S = 0.2  # a loaded machine must still answer the fifth


@dataclass
class Door:
    """A supervisor in a process of its own, and what its places write into a file."""

    directory: Path
    world: World
    entries: dict[str, Entry] = field(default_factory=dict)
    before: list[Callable[[], object]] = field(default_factory=list)
    pid: int = 0

    @property
    def notes(self) -> Path:
        """The file that places write into."""
        return self.directory.with_name("notes")

    def note(self, text: str) -> None:
        """Write a line into it, from a place that may still open files."""
        with self.notes.open("a") as file:
            file.write(text + "\n")

    def noted(self) -> list[str]:
        """Return its lines."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def start(self) -> None:
        """Start it and wait until it is ready."""
        reader, ready = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 9
            try:
                os.setsid()
                os.close(reader)
                code = self._run(ready)
            except PanicdoorError as error:
                self.note(f"failed: {error}")
                code = 1
            finally:
                os._exit(code)
        os.close(ready)
        with os.fdopen(reader, "rb") as pipe:
            pipe.read()

    def _run(self, ready: int) -> int:
        ENTRIES.update({name: serve for name in ENTRIES if name != "writer"})
        ENTRIES.update(self.entries)
        for prepare in self.before:
            prepare()
        return Supervisor(self.world, reloads=True).run(lambda world, notes: os.close(ready))

    def places(self) -> dict[str, int]:
        """Return who holds which place."""
        titles = {pid: title(pid).split() for pid in children(self.pid)}
        return {t[1]: pid for pid, t in titles.items() if len(t) > 1 and t[1] in ROLE_OF}

    def said(self, kind: str) -> list[dict[str, str]]:
        """Return the journal's entries of a kind."""
        lines = (self.directory / "journal").read_text().splitlines()
        rows = [line.split(" ", 4) for line in lines]
        return [json.loads(row[4]) for row in rows if row[3] == kind]

    def stop(self) -> int:
        """End it and return its exit code."""
        pid, self.pid = self.pid, 0
        os.kill(pid, signal.SIGTERM)
        return exit_code(pid)

    def left(self, leader: int) -> list[int]:
        """Return the processes of a session."""
        return [int(p) for p in os.listdir("/proc") if p.isdigit() and session(int(p)) == leader]

    def close(self) -> None:
        """End everything by force."""
        if self.pid:
            family = [*children(self.pid), self.pid]
            for pid in reversed(family):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def serve(place: Place) -> None:
    """Be a place that does nothing."""
    ignore_all(place)
    place.serve()


def ignore_all(place: Place) -> None:
    for kind in vars(messages).values():
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Ping:
            place.on(kind, lambda message, sender: None)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A door whose supervisor is in a hurry."""
    monkeypatch.setattr(supervisor, "PING_S", PING_S)
    places: Places
    with opened(tmp_path / "door") as places:
        made = Door(places.directory, places.world)
        yield made
        made.close()


def reported(door: Door, kind: str, **fields: str) -> bool:
    """Whether the supervisor has said that."""
    return any(fields.items() <= entry.items() for entry in door.said(kind))


def refilled(door: Door, name: str, before: int) -> bool:
    return door.places().get(name, before) != before


def test_places_start_in_the_order_of_roles_and_end_in_the_reverse(door: Door) -> None:
    def noting(place: Place) -> None:
        door.note(f"begins {place.role.name}")
        ignore_all(place)
        place.serve(last=lambda: door.note(f"ends {place.role.name}"))

    def writing(place: Place) -> None:
        door.note("begins writer")
        # It may open nothing more once it has run.
        end = os.open(door.notes, os.O_WRONLY | os.O_APPEND)
        writer.run(place)
        os.write(end, b"ends writer\n")

    door.entries = {**dict.fromkeys(ENTRIES, noting), "writer": writing}
    door.start()
    assert set(door.places()) == set(ROLE_OF)
    pid = door.pid
    assert door.stop() == 0
    assert door.left(pid) == []
    noted = door.noted()
    order = [role.name for role in ROLES for _ in range(role.n) if role.entry in ENTRIES]
    assert sorted(line for line in noted if line.startswith("begins")) == sorted(
        f"begins {name}" for name in order
    )
    assert [line.split()[1] for line in noted if line.startswith("ends")] == order[::-1]


def test_what_does_not_end_is_killed(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_S", 0.2)

    def deaf(place: Place) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()

    door.entries = {"worker": deaf}
    door.start()
    pid = door.pid
    began = time.monotonic()
    assert door.stop() == 0
    assert time.monotonic() - began > 0.4  # observer and workers, one after the other
    assert door.left(pid) == []
    assert door.said("lost") == []


def test_a_door_that_is_not_whole_in_time_is_closed_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0)

    def silent(place: Place) -> None:
        place.serve(lambda: place.run_for(60))

    door.entries = {"datagram": silent}
    door.start()
    pid, door.pid = door.pid, 0
    assert exit_code(pid) == 1
    (noted,) = door.noted()  # on a busy machine others may be late, too
    late = noted.removeprefix("failed: ").removesuffix(" did not start in 1 seconds").split(", ")
    assert "datagram" in late
    assert door.left(pid) == []


# Who is replaced


def test_the_monitor_has_workers_replaced_and_nobody_else(door: Door) -> None:
    def asking(place: Place) -> None:
        ignore_all(place)
        if place.fill == 1:
            for name in (SUPERVISOR, "monitor", "writer", "stream1", "spare1", "", "nobody"):
                place.loop.call_later(0.1, place.tell, SUPERVISOR, Replace(name or "?", "junk"))
            for name in ("worker1", "observer"):
                place.loop.call_later(0.1, place.tell, SUPERVISOR, Replace(name, "as\x1b asked"))
        place.serve()

    door.entries = {"monitor": asking}
    door.start()
    for name in ("worker1", "observer"):
        wait_for(partial(reported, door, "filled", place=name))
    assert {entry["place"] for entry in door.said("lost")} == {"worker1", "observer"}
    assert all("as" in entry["why"] for entry in door.said("lost"))
    assert b"\x1b" not in (door.directory / "journal").read_bytes()


def test_only_the_monitor_is_heard(door: Door) -> None:
    """The type is not in the row of the others: their packets are dropped."""

    def asking(place: Place) -> None:
        ignore_all(place)
        place.loop.call_later(0.1, place.tell, SUPERVISOR, Replace("worker1", "hostile"))
        place.loop.call_later(0.2, lambda: place.wires[SUPERVISOR]._socket.send(b"\xff" * 999))
        place.loop.call_later(0.3, lambda: place.wires[SUPERVISOR]._socket.send(b""))
        place.loop.call_later(0.4, door.note, "asked")
        place.serve()

    door.entries = {"stream": asking}
    door.start()
    before = door.places()
    wait_for(lambda: door.noted().count("asked") == 2)
    assert door.places() == before
    assert door.said("lost") == []


def mute(door: Door, pong: Callable[[Place, Ping], None]) -> Entry:
    """A place that answers the first ping, and then as `pong` does."""

    def be(place: Place) -> None:
        ignore_all(place)
        first = place._handlers[Ping]

        def heard(ping: Ping, sender: str) -> None:
            if place.fill > 1 or ping.n < 5:
                first(ping, sender)
            else:
                pong(place, ping)

        place.on(Ping, heard)
        place.serve()

    return be


@pytest.mark.parametrize(
    "pong",
    [
        lambda place, ping: None,
        lambda place, ping: place.tell(SUPERVISOR, Pong(ping.n + 1)),
        lambda place, ping: place.tell(SUPERVISOR, Pong(0)),
    ],
    ids=["none", "of the future", "of the past"],
)
def test_who_does_not_answer_is_replaced(door: Door, pong: Callable[[Place, Ping], None]) -> None:
    door.entries = {"datagram": mute(door, pong)}
    door.start()
    before = door.places()
    wait_for(partial(reported, door, "filled", place="datagram"))
    assert [entry["why"] for entry in door.said("lost")] == ["no answer to 5 pings"]
    wait_for(partial(refilled, door, "datagram", before["datagram"]))
    after = door.places()
    assert {n: p for n, p in after.items() if n not in ("datagram", "spare1")} == {
        n: p for n, p in before.items() if n not in ("datagram", "spare1")
    }
    wait_for(lambda: title(before["datagram"]) == "")


def test_who_has_not_answered_yet_is_given_longer(door: Door) -> None:
    def slow(place: Place) -> None:
        ignore_all(place)
        place.serve(lambda: place.run_for(0 if place.fill == 1 else PING_S * 7))

    door.entries = {"datagram": slow}
    door.start()
    os.kill(door.places()["datagram"], signal.SIGKILL)
    wait_for(partial(reported, door, "filled", place="datagram"))
    pid = door.places()["datagram"]
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > PING_S * 10)
    assert door.places()["datagram"] == pid
    assert len(door.said("lost")) == 1


def test_it_is_said_how_one_ended(door: Door) -> None:
    def leaving(place: Place) -> None:
        ignore_all(place)
        if place.fill == 1:
            place.loop.call_later(1.2, os._exit, 7)
        place.serve()

    door.entries = {"stream": leaving}
    door.start()
    os.kill(door.places()["datagram"], signal.SIGSEGV)
    wait_for(partial(reported, door, "lost", place="datagram", why="signal 11"))
    wait_for(partial(reported, door, "lost", place="stream1", why="exit code 7"))


def test_one_that_was_told_to_end_is_waited_for(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal may have been for the whole group: then nothing is filled once more."""
    monkeypatch.setattr(supervisor, "ASKED_S", 0.6)
    door.start()
    os.kill(door.places()["datagram"], signal.SIGTERM)
    wait_for(partial(reported, door, "lost", place="datagram"))
    lost = time.monotonic()
    wait_for(partial(reported, door, "filled", place="datagram"))
    assert time.monotonic() - lost > supervisor.ASKED_S / 2


# What fails in the supervisor itself


def failing(flag: Path, number: int, what: Callable[..., int]) -> Callable[..., int]:
    """Return a system call that fails as long as a file is there."""

    def call(*arguments: int) -> int:
        if flag.exists():
            raise OSError(number, os.strerror(number))
        return what(*arguments)

    return call


@pytest.mark.parametrize(
    ("call", "number"),
    [("fork", errno.EAGAIN), ("fork", errno.ENOMEM), ("pidfd_open", errno.ENFILE)],
)
def test_no_room_for_a_process(door: Door, call: str, number: int) -> None:
    flag = door.directory.with_name("flag")
    door.before = [lambda: setattr(os, call, failing(flag, number, getattr(os, call)))]
    door.start()
    flag.touch()
    before = door.places()
    for name in ("stream1", "datagram"):
        os.kill(before[name], signal.SIGKILL)
        wait_for(partial(refilled, door, name, before[name]))
    os.kill(before["worker1"], signal.SIGKILL)
    wait_for(partial(reported, door, "empty", place="worker1"))
    empty = [entry for entry in door.said("empty") if entry["place"] == "worker1"]
    assert empty[0]["why"] == f"no room for a process: {os.strerror(number)}"
    assert {"worker1", "spare1", "spare2"}.isdisjoint(door.places())
    flag.unlink()
    wait_for(lambda: set(door.places()) == set(ROLE_OF))
    assert {"stream2": before["stream2"]}.items() <= door.places().items()
    # A process without a pidfd was ended again: nobody is there twice.
    assert len(children(door.pid)) == len(ROLE_OF)


def test_who_answers_clients_gets_the_last_spares(door: Door) -> None:
    flag = door.directory.with_name("flag")
    door.before = [
        lambda: setattr(os, "fork", failing(flag, errno.EAGAIN, os.fork)),
        lambda: setattr(supervisor, "STORM_S", 0.0),  # young as they are, none of them waits
    ]
    door.start()
    flag.touch()
    before = door.places()
    os.kill(door.pid, signal.SIGSTOP)  # so that it sees all of them empty at once
    wait_for(lambda: status("State", door.pid).startswith("T"))
    lost = [before[name] for name in ("observer", "worker1", "stream1", "datagram")]
    for pid in lost:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(status("State", pid).startswith("Z") for pid in lost))
    os.kill(door.pid, signal.SIGCONT)
    for name in ("stream1", "datagram"):
        wait_for(partial(refilled, door, name, before[name]))
    wait_for(partial(reported, door, "empty", place="observer"))
    assert {"observer", "worker1"}.isdisjoint(door.places())


def test_a_bug_in_the_supervisor_is_no_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BUG_S", 0.05)
    flag = door.directory.with_name("flag")
    record = Supervisor._record_places

    def failing_record(self: Supervisor) -> bool:
        if flag.exists():
            flag.unlink()
            raise RuntimeError("a bug\nof\x1b ours")
        return record(self)

    monkeypatch.setattr(Supervisor, "_record_places", failing_record)
    door.start()
    flag.touch()
    before = door.places()
    os.kill(before["stream1"], signal.SIGKILL)
    wait_for(partial(reported, door, "bug", place=SUPERVISOR))
    wait_for(partial(refilled, door, "stream1", before["stream1"]))
    assert "RuntimeError: a bug" in door.said("bug")[0]["what"]
    assert door.stop() == 0


def test_the_list_of_places_is_written_in_the_end(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wire that was full then is tried again: a later serve finds orphans by the list."""
    monkeypatch.setattr(supervisor, "Wire", Narrow)
    door.start()
    before = door.places()
    os.kill(before["stream1"], signal.SIGKILL)
    wait_for(partial(refilled, door, "stream1", before["stream1"]))
    wait_for(lambda: set(door.places()) == set(ROLE_OF))
    wait_for(lambda: listed(door) == door.places())


class Narrow(Wire):
    """A wire that has room for every other list of places only."""

    __slots__ = ("_full",)

    def send(self, message: Message, fd: int = -1) -> bool:
        """Send, or refuse."""
        if isinstance(message, messages.Places):
            self._full = not getattr(self, "_full", False)
            if self._full:
                return False
        return super().send(message, fd)


def listed(door: Door) -> dict[str, int]:
    """Return the list of places as it stands on disk; the supervisor itself stands there, too."""
    rows = [line.split() for line in (door.directory / "places").read_text().splitlines()[1:]]
    found = {row[0]: int(row[1]) for row in rows if len(row) == 3}
    assert found.pop(SUPERVISOR, door.pid) == door.pid
    return found
