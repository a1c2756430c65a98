"""The monitor in a process of its own, spoken to as whoever has been taken over would."""

import json
import os
import socket
import time
from pathlib import Path

import msgspec
import pytest
from tests.monitors import (
    FRONTENDS,
    begun,
    linger,
    out,
    part,
    taken,
    written,
)
from tests.places import (
    EPOCH,
    FAR,
    End,
    Places,
    answered,
    ask,
    descriptors,
    hostile,
    opened,
    resident,
)

from panicdoor.messages import (
    Answer,
    Ask,
    Bug,
    Cancel,
    Fresh,
    Hello,
    Message,
    More,
    Output,
    Ping,
    Pong,
    Replace,
    Run,
    Write,
    Written,
)
from panicdoor.processes import cases, monitor
from panicdoor.processes.place import BUGS_A_MINUTE
from panicdoor.records import journal

# What it is told by whoever may have been taken over


def test_no_word_of_a_frontend_gets_it_above_public(places: Places, stream: End) -> None:
    runners = [places.end(place, "monitor") for place in ("observer", "worker1", "worker2")]
    for number, (words, order) in enumerate(
        [
            (("forbidden",), ""),
            (("forbidden", "--force"), ""),
            (("forbidden",), "panicdoor order 1\ndo: forbidden\n"),
            (("ping",), "x" * 8192),
            ((), "panicdoor order 1\n"),
            (("FORBIDDEN",), ""),
            (("forbidden\0",), ""),
            (("order", "forbidden"), ""),
            (("help", "forbidden"), ""),
        ]
    ):
        for way in ("ssh", "supervisor", "operator", "\x1b[2J"):
            message = Ask(number, EPOCH, FAR, way, "::1", "", words, order)
            stream.say(message)
            while not stream.hear(Answer, id=number).end:
                stream.say(More(number, EPOCH))
    taken(places)
    assert not any(end.waiting() for end in runners)
    supervisor = places.end("supervisor", "monitor").waiting()
    assert supervisor == []


CONTROL = (
    "\x1b[2J\x1b]0;x\x07",
    "\0",
    "a\r\nb",
    "\u202e",
    "\U0010ffff" * 40,
    "\x7f",
    "'",
    "\x9b2J",
)


@pytest.mark.parametrize("words", [(c,) for c in CONTROL] + [("ping", c) for c in CONTROL])
def test_words_come_back_escaped(stream: End, words: tuple[str, ...]) -> None:
    text = answered(stream, 1, *words)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def test_an_id_that_is_being_answered_is_not_asked_again(
    places: Places, stream: End, worker: End
) -> None:
    """A second request of the same id would take the place of the first, and hold its worker."""
    stream.say(ask(1, "count", "9"), ask(1, "count", "8"), ask(1, "ping"))
    run = worker.hear(Run)
    taken(places)
    assert places.end("worker2", "monitor").waiting() == []
    out(worker, run, "1\n")
    assert part(stream, 1)[0] == "1\n"
    stream.say(Cancel(1, EPOCH))
    worker.hear(Cancel)


def test_frontends_cannot_touch_each_others_requests(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "three"), ask(2, "count", "9"))
    run = worker.hear(Run)
    assert part(stream, 1)[0] == "one\n"
    other = places.end("stream2", "monitor")
    for number in (1, 2):
        other.say(More(number, EPOCH), Cancel(number, EPOCH))
    other.say(Hello("stream1", 2, 9), Hello("monitor", 2, 9), Hello("worker1", 2, 9))
    taken(places)
    assert [m for m in stream.waiting() if m != Answer(2, EPOCH, "", end=False)] == []
    assert worker.waiting() == []
    out(worker, run, "1\n")
    assert part(stream, 2)[0] == "1\n"
    stream.say(More(1, EPOCH))
    assert part(stream, 1)[0] == "two\n"


def test_a_hello_ends_what_its_own_predecessor_asked(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "count", "9"), ask(2, "three"))
    run = worker.hear(Run)
    stream.say(Hello("stream1", 2, EPOCH + 1))
    assert worker.hear(Cancel).id == run.id
    stream.waiting()
    stream.say(More(2, EPOCH))
    assert part(stream, 2)[1:] == (True, 3)


def test_an_old_epoch_is_another_request(places: Places, stream: End) -> None:
    stream.say(ask(1, "three", epoch=EPOCH))
    assert part(stream, 1)[0] == "one\n"
    stream.say(More(1, EPOCH - 1), Cancel(1, EPOCH - 1), More(1, 2**63 - 1))
    assert {stream.hear(Answer).text for _ in range(2)} == {
        "this answer was not read for too long and has ended\n"
    }
    stream.say(More(1, EPOCH))
    assert part(stream, 1)[0] == "two\n"


@pytest.mark.parametrize("sender", ["worker2", "observer"])
def test_outputs_of_others_and_of_other_errands_mean_nothing(
    places: Places, stream: End, worker: End, sender: str
) -> None:
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    begun(stream, 1)
    other = places.end(sender, "monitor")
    out(other, run, "forged\n", last=True)
    worker.say(
        Output(run.id + 1, run.epoch, "forged\n", end=True),
        Output(run.id, run.epoch - 1, "forged\n", end=True),
        Output(0, run.epoch, "forged\n", end=True),
    )
    out(worker, run, "1\n")
    assert part(stream, 1) == ("1\n", False, 0)


def test_bugs_told_by_others_are_recorded_a_few_times_a_minute_and_counted(
    places: Places, stream: End
) -> None:
    for text in ("\U0010ffff" * 512, '"}\n{"', "\x1b[2J", "'\\", "", *["again"] * 2000):
        stream.say(Bug("monitor", text))
    places.end("observer", "monitor").say(Bug("x", "another's"))
    taken(places)
    places.stop("monitor")
    entries = [m for m in places.end("writer", "monitor").waiting() if isinstance(m, Write)]
    for entry in entries:
        journal.following(None, "2026-11-24T03:12:07Z", entry.kind, entry.fields)
    bugs = [json.loads(entry.fields) for entry in entries if entry.kind == "bug"]
    assert [bug["place"] for bug in bugs].count("stream1") == BUGS_A_MINUTE
    assert {"place": "observer", "what": "another's"} in bugs
    assert bugs[0]["what"] == "\\u{10ffff}" * 512 or len(bugs[0]["what"]) > 1000
    counted = json.loads(next(entry.fields for entry in entries if entry.kind == "counted"))
    assert counted == {"bugs": {"stream1": 2005 - BUGS_A_MINUTE}}


def test_thousands_of_open_requests_are_refused_and_its_memory_stays(
    places: Places, stream: End
) -> None:
    pid = places.pids["monitor"]
    for number in range(cases.CASES_MAX):
        stream.say(ask(number, "three", until=FAR))
        stream.hear(Answer, id=number)
    before = resident(pid)
    for number in range(cases.CASES_MAX, 4 * cases.CASES_MAX):
        stream.say(ask(number, "three", until=FAR))
        assert part(stream, number) == ("the door is busy; try again\n", True, 3)
    assert resident(pid) < before + 1024
    start = time.monotonic()
    taken(places)
    assert time.monotonic() - start < 0.5
    stream.say(Hello("stream1", 2, 5))
    assert "pong" in answered(stream, 1, "ping")


def samples() -> list[tuple[str, Message]]:
    return [
        *((frontend, sample) for frontend in FRONTENDS for sample in (
            ask(2**50, "crash-monitor"), More(7, EPOCH), Cancel(7, EPOCH), Hello(frontend, 9, 9),
            Bug(frontend, "x"),
        )),
        *((runner, sample) for runner in ("observer", "worker1", "worker2") for sample in (
            Output(1, 2, "x", end=True), Hello(runner, 9, 9), Bug(runner, "x"))),
        ("writer", Written(1, 2, 3, "x")),
        ("writer", Bug("writer", "x")),
        ("supervisor", Ping(7)),
    ]  # fmt: skip


def test_hostile_packets_on_every_wire_change_nothing(places: Places, stream: End) -> None:
    pid = places.pids["monitor"]
    taken(places)
    before = descriptors(pid), resident(pid)
    stream.say(ask(7, "three"))
    assert part(stream, 7)[0] == "one\n"
    sent: dict[str, int] = {}
    for sender, sample in samples():
        packets = list(hostile(sample))
        for packet in packets:
            places.end(sender, "monitor").push(packet)
        sent[sender] = sent.get(sender, 0) + len(packets)
    null = os.open(os.devnull, os.O_RDONLY)
    for sender in sent:
        for _ in range(100):
            places.end(sender, "monitor").push(b"\0", [null] * 100)
        sent[sender] += 100
    os.close(null)
    stream.say(More(7, EPOCH))
    assert part(stream, 7)[0] == "two\n"
    taken(places)
    assert descriptors(pid) == before[0]
    assert resident(pid) < before[1] + 2048
    assert not any(m for m in places.end("datagram", "monitor").waiting())
    assert places.stop("monitor") == 0
    counted = written(places, "counted")
    assert counted == {"dropped": sent}


def test_what_is_counted_is_told_once(tmp_path: Path) -> None:
    def hurry() -> None:
        monitor.COUNT_S = 0.1  # type: ignore[misc]

    with opened(tmp_path / "other") as places:
        places.fill("monitor", hurry)
        for _ in range(3):
            places.end("stream1", "monitor").push(b"junk")
        told = 0
        while told < 3:
            told += written(places, "counted")["dropped"]["stream1"]
        assert told == 3
        linger(places, 0.3)
        entries = places.end("writer", "monitor").waiting()
        assert not any(isinstance(m, Write) and m.kind == "counted" for m in entries)


def test_a_message_that_a_pair_may_not_exchange_is_dropped(places: Places) -> None:
    others = ("stream1", "stream2", "datagram", "worker1", "worker2", "observer", "supervisor")
    taken(places)
    for other in others:
        places.end(other, "monitor").waiting()
    for sender in ("stream1", "worker1", "writer", "supervisor"):
        end = places.end(sender, "monitor")
        end.say(
            Pong(1), Replace("worker1", "x"), Write(1, 1, "accept", "{}"), Fresh("x", 1),
            Run(1, 1, 0, FAR, ("forbidden",)), Answer(1, 1, "x", end=True),
        )  # fmt: skip
    taken(places)
    heard = [m for other in others for m in places.end(other, "monitor").waiting()]
    assert [m for m in heard if not isinstance(m, Fresh)] == []
    places.stop("monitor")
    assert set(written(places, "counted")["dropped"].values()) == {6}


@pytest.mark.parametrize("kind", ["junk", "ask", "more", "hello", "expired", "largest"])
def test_a_flood_of_one_frontend_delays_no_other_and_costs_no_memory(
    places: Places, stream: End, kind: str
) -> None:
    pid = places.pids["monitor"]
    taken(places)
    before = resident(pid)
    flood = {
        "junk": b"\xff" * 100,
        "ask": msgspec.msgpack.encode(ask(1, "ping")),
        "more": msgspec.msgpack.encode(More(1, 1)),
        "hello": msgspec.msgpack.encode(Hello("stream1", 1, 1)),
        "expired": msgspec.msgpack.encode(ask(1, "ping", until=0.0)),
        "largest": msgspec.msgpack.encode(
            ask(1, *["\U0001f6aa" + "x" * 900] * 8, order="x" * 8000)
        ),
    }[kind]
    packets = 20_000 if kind == "junk" else 3000
    child = os.fork()
    if child == 0:
        try:
            for _ in range(packets):
                stream.push(flood)
        finally:
            os._exit(0)
    other, waits, number = places.end("stream2", "monitor"), [], 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        number += 1
        start = time.monotonic()
        assert "pong" in answered(other, number, "ping")
        waits.append(time.monotonic() - start)
    assert len(waits) > 5
    assert max(waits) < 0.5
    assert sorted(waits)[len(waits) // 2] < 0.05
    stream.waiting()
    assert "pong" in answered(stream, 2**41, "ping")
    assert resident(pid) < before + 2048


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_frontend_that_shuts_its_wire_harms_itself_alone(
    places: Places, stream: End, how: int
) -> None:
    stream.say(ask(1, "three"))
    stream.socket.shutdown(how)
    taken(places)
    used = _processor_ticks(places.pids["monitor"])
    linger(places, 0.3)
    assert _processor_ticks(places.pids["monitor"]) - used < 25
    places.stop("monitor")
    assert written(places, "counted")["shut"] == ["stream1"]


def _processor_ticks(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(stat[11]) + int(stat[12])
