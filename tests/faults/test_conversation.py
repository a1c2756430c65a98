"""The inner conversation of a whole door, as its clients see it when something in it fails."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.journals import journal_of, verify
from tests.running import Door, running, wait_for

HURRY = "from panicdoor.processes import errands; errands.ERRAND_S = 1.0; errands.WAIT_S = 4.0"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door whose workers have one second for a part."""
    with running(tmp_path_factory.mktemp("quick") / "door", extra=True, code=HURRY) as door:
        wait_for(lambda: b"1" in door.talk(b"count 1\n"))
        yield door


def begin(door: Door, line: bytes, until: bytes = b"") -> socket.socket:
    """Type a line, read until something has come, and keep the connection."""
    client = door.connect()
    client.sendall(line)
    seen = b""
    while until not in seen:
        seen += client.recv(4096)
    return client


def rest(client: socket.socket) -> bytes:
    """End the input and return what still comes."""
    client.shutdown(socket.SHUT_WR)
    found = b""
    while data := client.recv(65536):
        found += data
    client.close()
    return found


def test_a_worker_that_hangs_is_replaced_its_client_told_and_others_served(quick: Door) -> None:
    before = quick.places()
    start = time.monotonic()
    clients = [begin(quick, b"hang\n", b"hanging") for _ in range(2)]
    waiting = begin(quick, b"count 3\n")
    assert b"pong" in quick.talk(b"ping\n", 1.0)
    assert b"it cannot be done" in quick.talk(b"fail\n", 1.0)
    for client in clients:
        assert b"seconds and is being replaced" in rest(client)
    assert 0.9 < time.monotonic() - start < 4
    assert b"3" in rest(waiting)
    for worker in ("worker1", "worker2"):
        quick.wait_filled(worker, before[worker], 2.0)
    assert b"2\r\n3" in quick.talk(b"count 3\n")
    assert quick.place("monitor") == before["monitor"]


def test_an_error_and_a_bug_in_the_middle_reach_the_client_and_the_journal(quick: Door) -> None:
    assert quick.talk(b"fail\n") == b"trying\r\nit cannot be done\r\n"
    told = b"this command has a bug, which has been recorded"
    assert quick.talk(b"crash\n") == b"trying\r\n" + told + b"\r\n"
    assert b"the door has a bug here" in quick.talk(b"crash-monitor\n")
    wait_for(lambda: journal_of(quick.directory).count(b" bug {") == 2)
    bugs = [e.fields for e in verify(journal_of(quick.directory)) if e.kind == "bug"]
    assert [bug["place"] for bug in bugs] == ["observer", "monitor"]
    assert bugs[0]["what"].startswith("ValueError: a bug\\x0aresult: done at ")
    assert 'panicdoor: bug: {"place":"observer"' in quick.said()


def test_a_slow_reader_holds_nobody_else(quick: Door) -> None:
    slow = begin(quick, b"count 100000000\n", b"10\r\n")
    for _ in range(3):
        assert b"2\r\n3" in quick.talk(b"count 3\n", 1.0)
    slow.close()
    wait_for(lambda: b"3" in quick.talk(b"count 3\n"))


def test_a_client_that_leaves_frees_its_worker(quick: Door) -> None:
    for _ in range(6):
        begin(quick, b"count 100000000\n", b"10\r\n").close()
    assert b"2\r\n3" in quick.talk(b"count 3\n")
    assert b"2\r\n3" in quick.talk(b"count 3\n")


def test_more_than_can_run_wait_for_their_turn(quick: Door) -> None:
    clients = [begin(quick, b"doze 100\n") for _ in range(6)]
    assert all(b"awake" in rest(client) for client in clients)


def test_a_dead_monitor_costs_a_clear_line_and_the_next_question_works(quick: Door) -> None:
    client = begin(quick, b"doze 900\n")
    time_out = time.monotonic() + 5
    wait_for(lambda: b"pong" in quick.talk(b"ping\n"))
    before = quick.kill("monitor")
    assert b"the monitor was replaced before this was done; look, and try again" in rest(client)
    assert time.monotonic() < time_out
    quick.wait_filled("monitor", before, 1.0)
    wait_for(lambda: b"pong" in quick.talk(b"ping\n"))
    wait_for(lambda: b"1" in quick.talk(b"count 1\n"))


def test_a_stopped_monitor_costs_two_seconds_and_a_clear_line(quick: Door) -> None:
    pid = quick.kill("monitor", signal.SIGSTOP)
    try:
        start = time.monotonic()
        assert quick.documented(timeout=1.0)
        answer = quick.talk(b"ping\n")
        assert b"the monitor does not answer and is being replaced" in answer
        assert time.monotonic() - start < 2.7
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: b"pong" in quick.talk(b"ping\n"))
    assert quick.place("monitor") == pid


def test_hundreds_of_questions_at_once_are_all_answered(quick: Door) -> None:
    clients = [begin(quick, b"ping\n") for _ in range(300)]
    assert all(b"pong" in rest(client) for client in clients)


def test_what_is_not_for_everybody_is_refused_over_the_wire(quick: Door) -> None:
    assert (
        quick.talk(b"forbidden\n")
        == b"refused: forbidden is not for everybody; with your ssh key: see doc\r\n"
    )


def test_the_journal_of_a_whole_life_is_one_chain(tmp_path: Path) -> None:
    with running(tmp_path / "door", extra=True) as door:
        door.talk(b"crash\n")
        for name in ("writer", "monitor", "worker1"):
            door.wait_filled(name, door.kill(name))
            wait_for(lambda: b"pong" in door.talk(b"ping\n"))
        door.talk(b"crash\n")
        assert door.stop() == 0
        found = verify(journal_of(door.directory))
        assert (found[0].kind, found[-1].kind) == ("start", "stop")
        assert [entry.kind for entry in found].count("start") == 1
        assert [entry.kind for entry in found].count("bug") == 2
        assert {e.fields["place"] for e in found if e.kind == "filled"} >= {"writer", "worker1"}
