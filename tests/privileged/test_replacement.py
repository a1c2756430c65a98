"""Processes killed and stopped, with and without room for new ones, while clients come and stay.

Nobody is refused; what is lost is the connections of the stream that died; a place is filled
within a second, by a spare where fork(2) fails; and a crash at birth is no storm.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.groups import FULL, ROOM, group
from tests.knocking import Knocking, Visitor, by_udp
from tests.running import Door, running, start, title, wait_for

from panicdoor.processes.supervisor import BACKOFF_S, TAKE_S
from panicdoor.roles import ROLE_OF

SOON = 1.0  # seconds
REPLACED_S = 8.5  # seconds: five missed pings, one a second, and as much as two more
STREAMS = [name for name, role in ROLE_OF.items() if role.name == "stream"]
SPARES = [name for name, role in ROLE_OF.items() if role.name == "spare"]
OTHERS = [name for name in ROLE_OF if name not in SPARES]


def filled(door: Door, name: str, before: int) -> bool:
    """Whether a place has another holder than before."""
    return door.places().get(name, before) != before


def answers(door: Door) -> bool:
    """Whether everybody a client needs is there: streams, monitor, datagram, worker, observer."""
    try:
        return (
            b"pong" in door.talk(b"ping\r\n")
            and by_udp(door)
            and b"2" in door.talk(b"count 2\r\n")
            and b" asyncio " in door.talk(b"inside-observer\r\n")
        )
    except OSError:
        return False


@contextmanager
def visitors(door: Door) -> Iterator[list[Visitor]]:
    """Clients that stay, some at each stream."""
    found: list[Visitor] = []
    try:
        while {visitor.stream for visitor in found} < set(STREAMS):
            assert len(found) < 200, "one stream gets nothing"
            found.append(Visitor(door))
        yield found
    finally:
        for visitor in found:
            visitor.close()


# How the end of a connection shows, depending on what the client was doing.
LOST = {"tcp: ConnectionResetError", "tcp: BrokenPipeError", "tcp: OSError"}


def acceptable(failed: list[str], name: str) -> bool:
    """Whether no more was lost than what the killed process had in its hands."""
    if name in STREAMS:
        return len(failed) <= 1 and LOST.issuperset(failed)
    if name == "datagram":
        return failed in ([], ["udp: TimeoutError"])
    return not failed


def test_each_place_is_filled_again(tmp_path: Path) -> None:
    with running(tmp_path / "door", extra=True) as door, Knocking(door) as knocking:
        for name in ROLE_OF:
            with visitors(door) as staying:
                before = door.kill(name)
                door.wait_filled(name, before, SOON)
                for visitor in staying:
                    if visitor.stream != name:
                        visitor.present()
                    else:
                        with pytest.raises(ConnectionError):
                            visitor.present()
            wait_for(lambda: answers(door))
            assert acceptable(knocking.take_failures(), name), name
        assert knocking.answered["tcp"] > 100
        assert knocking.answered["udp"] > 10
        assert set(door.places()) == set(ROLE_OF)
        assert "bug" not in door.said()


@pytest.mark.parametrize("version", [1, 2])
def test_spares_fill_places_where_nothing_can_be_forked(tmp_path: Path, version: int) -> None:
    with (
        group(version) as processes,
        running(tmp_path / "door", extra=True, prefix=processes.prefix) as door,
        Knocking(door) as knocking,
    ):
        for name in OTHERS:
            with visitors(door) as staying:
                processes.limit(FULL)
                before = door.kill(name)
                door.wait_filled(name, before, SOON)
                assert set(door.places()) == {*OTHERS, "spare2"}
                for visitor in staying:
                    if visitor.stream != name:
                        visitor.present()
            wait_for(lambda: answers(door))
            processes.limit(ROOM)
            wait_for(lambda: set(door.places()) == set(ROLE_OF))
            assert acceptable(knocking.take_failures(), name), name
        assert "bug" not in door.said()


@pytest.mark.parametrize("version", [1, 2])
def test_more_deaths_than_spares(tmp_path: Path, version: int) -> None:
    with (
        group(version) as processes,
        running(tmp_path / "door", extra=True, prefix=processes.prefix) as door,
        Knocking(door) as knocking,
    ):
        processes.limit(FULL)
        for name in ("monitor", "stream1"):
            before = door.kill(name)
            door.wait_filled(name, before, SOON)
        door.kill("worker1")
        wait_for(lambda: '"place":"worker1"' in line_of(door, "empty"))
        wait_for(lambda: b"pong" in door.talk(b"ping\r\n"))
        assert set(door.places()) == {*OTHERS} - {"worker1"}
        # Said once, however often it is tried.
        wait_for(lambda: door.said().count("empty: ") == 3)
        time.sleep(1.2)
        assert door.said().count("empty: ") == 3
        assert len(knocking.take_failures()) <= 1
        processes.limit(ROOM)
        wait_for(lambda: set(door.places()) == set(ROLE_OF), 2.0)
        wait_for(lambda: answers(door))
        assert knocking.take_failures() == []


def line_of(door: Door, kind: str) -> str:
    """Return all that the door has said of one kind."""
    return "\n".join(line for line in door.said().splitlines() if f" {kind}: " in line)


CRASHING = """
import os
from panicdoor.processes import supervisor
def crash(place, entry=supervisor.ENTRIES["datagram"]):
    births = os.open({births!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(births, b"x")
    os.close(births)
    if os.path.exists({flag!r}):
        raise RuntimeError("at birth")
    entry(place)
supervisor.ENTRIES["datagram"] = crash
"""


def test_a_crash_at_birth_is_no_storm(tmp_path: Path) -> None:
    births, flag = tmp_path / "births", tmp_path / "crash"
    code = CRASHING.format(births=str(births), flag=str(flag))
    with running(tmp_path / "door", code=code) as door:
        others = {name: pid for name, pid in door.places().items() if name in ("stream1", "writer")}
        age(door, "datagram", SOON)
        flag.touch()
        door.kill("datagram")
        at = {}
        # The first is that of the one that was killed, and the second at once.
        for number in (2, 3, 4, 5):
            wait_for(partial(size_is, births, number))
            at[number] = time.monotonic()
        assert at[5] - at[2] >= sum(BACKOFF_S[:3]) - 0.1
        assert "RuntimeError: at birth" in line_of(door, "bug")
        flag.unlink()
        wait_for(lambda: open_for_datagrams(door), BACKOFF_S[3] + 2)
        assert births.stat().st_size == 6
        # One that has lived for a while is replaced at once, whatever its predecessors did.
        age(door, "datagram", SOON)
        before = door.kill("datagram")
        door.wait_filled("datagram", before, SOON)
        wait_for(partial(size_is, births, 7))
        assert {name: door.place(name) for name in others} == others


def size_is(file: Path, size: int) -> bool:
    return file.stat().st_size == size


def open_for_datagrams(door: Door) -> bool:
    try:
        return by_udp(door, 0.3)
    except OSError:
        return False


def age(door: Door, name: str, seconds: float) -> None:
    """Wait until who holds a place has held it for longer than that."""
    pid = door.place(name)
    born = time.monotonic()
    wait_for(lambda: time.monotonic() - born > seconds + 0.1)
    assert door.place(name) == pid


# Without a supervisor


def test_the_door_outlives_its_supervisor(tmp_path: Path) -> None:
    with running(tmp_path / "door") as door, visitors(door) as staying:
        before = door.kill("stream1")
        door.wait_filled("stream1", before, SOON)
        wait_for(lambda: answers_without_extra(door))
        os.kill(door.pid, signal.SIGKILL)
        door.process.wait(5)
        # Spares are no use to anybody now, and end; the others stay.
        wait_for(lambda: not any("spare" in line for line in door.family().values()))
        orphans = door.family()
        assert sorted(line.split()[1] for line in orphans.values()) == sorted(OTHERS)
        for _ in range(10):
            assert answers_without_extra(door)
        for visitor in staying:
            if visitor.stream != "stream1":
                visitor.served()
        with Knocking(door) as knocking:
            wait_for(lambda: min(knocking.answered[way] for way in ("tcp", "udp")) > 10)
        assert knocking.failed == []
        assert {pid: title(pid) for pid in orphans} == orphans

        again = start(door.directory, door.port)
        try:
            assert not door.family()
            assert answers_without_extra(again)
            assert set(again.places()) == set(ROLE_OF)
        finally:
            assert again.stop() == 0


def answers_without_extra(door: Door) -> bool:
    """Whether every way in is open: text, http, TLS, datagrams, and the monitor behind them."""
    request = b"GET / HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"
    try:
        return (
            b"pong" in door.talk(b"ping\r\n")
            and b"pong" in door.secure(b"ping\r\n\x04")
            and b"200 OK" in door.talk(request)
            and b"200 OK" in door.secure(request)
            and b"PANICDOOR" in door.talk(b"\0")
            and by_udp(door)
            and b"pong" in door.datagram(b"\x01ping\n".ljust(400, b"\0"))
        )
    except OSError:
        return False


# Stopped


def test_a_spare_that_is_slow_takes_its_place_all_the_same(tmp_path: Path) -> None:
    """A successor in its seat would read what it is to become, and keep it from knowing."""
    with running(tmp_path / "door", extra=True) as door:
        slow = door.kill("spare1", signal.SIGSTOP)
        door.kill("worker1")
        wait_for(lambda: '"place":"worker1"' in line_of(door, "filled"))
        stopped = time.monotonic()
        wait_for(lambda: time.monotonic() - stopped > TAKE_S / 2)
        os.kill(slow, signal.SIGCONT)
        wait_for(lambda: door.places().get("worker1") == slow)
        wait_for(lambda: set(door.places()) == set(ROLE_OF))
        wait_for(lambda: answers(door))


def test_stopped_places_are_replaced_and_missed_by_nobody(tmp_path: Path) -> None:
    """One door for each, all at once: it takes the supervisor six seconds to be sure."""
    names = ("stream1", "monitor", "writer", "datagram", "worker1")
    with ExitStack() as stack:
        doors = {n: stack.enter_context(running(tmp_path / n, extra=True)) for n in names}
        told: list[bytes] = []
        client = threading.Thread(
            target=lambda: told.append(doors["worker1"].talk(b"hang\r\n", 20.0))
        )
        client.start()
        wait_for(lambda: sleeping(doors["worker1"].place("worker1")))
        before = {name: door.place(name) for name, door in doors.items()}
        for name in names:
            os.kill(before[name], signal.SIGSTOP)
        stopped = time.monotonic()
        waiting = set(names)
        for turn in itertools.count():
            assert time.monotonic() < stopped + 20, waiting
            for name, door in doors.items():
                if name in waiting and filled(door, name, before[name]):
                    waiting.remove(name)
                    if name != "worker1":
                        assert time.monotonic() < stopped + REPLACED_S, name
                # The first may have been accepted by a process that was stopped then.
                assert door.documented() or turn == 0, name
            if not waiting:
                break
        client.join()
        assert b"worker1 did not answer in 10 seconds and is being replaced" in told[0]
        for door in doors.values():
            wait_for(partial(answers, door))
            assert "bug" not in door.said()


def sleeping(pid: int) -> bool:
    """Whether a process sleeps in clock_nanosleep(2), as the command `hang` does."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number in ("230", "115")  # x86_64, aarch64
