"""The monitor in a process of its own, spoken to as everybody else, taken over or not, would."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
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
    PART_MAX,
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
from panicdoor.processes import monitor
from panicdoor.processes.place import BUGS_A_MINUTE
from panicdoor.records import journal

FRONTENDS = ("stream1", "stream2", "datagram")
RUNNERS = {"observer": 30, "worker1": 31, "worker2": 32}  # their places, and epochs at start
SOON = 0.3  # seconds that deadlines take in these tests


def hurry() -> None:
    """Shorten what the monitor waits for, in its own process; it says nothing by itself."""
    for name in ("ERRAND_S", "WAIT_S"):
        setattr(monitor, name, SOON)
    monitor.SWEEP_S = 0.02  # type: ignore[misc]
    monitor.FRESH_S = 3600.0  # type: ignore[misc]


def impatient() -> None:
    """Shorten also what clients have for reading."""
    hurry()
    monitor.READER_S = SOON  # type: ignore[misc]


def start(places: Places) -> None:
    """Fill the monitor's place, with a Hello of every runner waiting for it."""
    for runner, epoch in RUNNERS.items():
        places.end(runner, "monitor").say(Hello(runner, 1, epoch))
    places.fill("monitor", hurry)
    places.end("stream1", "monitor").hear(Fresh)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with opened(tmp_path / "door") as places:
        start(places)
        yield places


@pytest.fixture
def stream(places: Places) -> End:
    return places.end("stream1", "monitor")


@pytest.fixture
def worker(places: Places) -> End:
    return places.end("worker1", "monitor")


def begun(end: End, number: int) -> None:
    """Wait until it is said that the work of an errand has begun, or waits."""
    end.hear(Answer, id=number, text="", end=False)


def part(end: End, number: int) -> tuple[str, bool, int]:
    """Return the next part that says something or is the last."""
    while True:
        answer = end.hear(Answer, id=number)
        assert answer.epoch == EPOCH
        if answer.text or answer.end:
            return answer.text, answer.end, answer.code


def out(end: End, run: Run, text: str, *, last: bool = False, code: int = 0) -> None:
    end.say(Output(run.id, run.epoch, text, last, code))


def written(places: Places, kind: str, seconds: float = 5.0) -> dict[str, Any]:
    """Return the fields of the next entry of that kind, as the writer gets it."""
    entry = places.end("writer", "monitor").hear(Write, seconds, kind=kind)
    journal.following(None, "2026-11-24T03:12:07Z", entry.kind, entry.fields)
    fields: dict[str, Any] = json.loads(entry.fields)
    return fields


def taken(places: Places) -> None:
    """Let everything that was said until now be read and acted on."""
    places.read_by("monitor")
    assert "pong" in answered(places.end("datagram", "monitor"), 2**40, "ping")


def linger(places: Places, seconds: float) -> None:
    """Let that time go by, in which the monitor answers others all the while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        taken(places)
        time.sleep(0.005)


# What it says by itself


def test_its_start_is_recorded_once_and_its_end(places: Places) -> None:
    start = written(places, "start")
    assert re.fullmatch(r"web1 SHA256:[A-Za-z0-9+/]{43}", start["door"])
    taken(places)
    assert places.stop("monitor") == 0
    assert written(places, "stop") == {}
    places.fill("monitor", hurry, fill_no=2)
    taken(places)
    assert not any(isinstance(m, Write) for m in places.end("writer", "monitor").waiting())


def test_streams_get_a_challenge_at_once_and_when_they_are_new(places: Places) -> None:
    second = places.end("stream2", "monitor").hear(Fresh)
    assert re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}", second.challenge)
    stream = places.end("stream1", "monitor")
    stream.say(Hello("stream1", 2, 5))
    again = stream.hear(Fresh)
    assert again.challenge != second.challenge
    assert again.epoch == second.epoch
    places.end("datagram", "monitor").say(Hello("datagram", 2, 5))
    taken(places)
    assert places.end("datagram", "monitor").waiting() == []


def test_another_monitor_is_known_by_its_epoch(places: Places, stream: End) -> None:
    stream.say(Hello("stream1", 2, 5))
    first = stream.hear(Fresh)
    places.stop("monitor", signal.SIGKILL)
    places.fill("monitor")
    assert stream.hear(Fresh).epoch > first.epoch


def test_it_answers_pings(places: Places) -> None:
    supervisor = places.end("supervisor", "monitor")
    supervisor.say(Ping(7), Ping(8))
    assert (supervisor.hear(Pong).n, supervisor.hear(Pong).n) == (7, 8)


# Requests


def test_a_public_command_is_answered(stream: End) -> None:
    assert re.fullmatch(r"pong from web1, [0-9: -]+ UTC\n", answered(stream, 1, "ping"))
    assert re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}\n", answered(stream, 2, "challenge"))
    assert "no command" in answered(stream, 3, "nonesuch")


def test_one_more_one_part(places: Places, stream: End) -> None:
    stream.say(ask(1, "three"))
    assert part(stream, 1) == ("one\n", False, 0)
    taken(places)
    assert stream.waiting() == []
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("two\n", False, 0)
    taken(places)
    assert stream.waiting() == []
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("three\n", True, 0)
    stream.say(More(1, EPOCH))
    assert part(stream, 1)[1:] == (True, 3)


def test_two_mores_are_one_credit_and_no_more_is_kept(places: Places, stream: End) -> None:
    worker = places.end("worker1", "monitor")
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    stream.say(*[More(1, EPOCH)] * 5)
    taken(places)
    for text in ("1\n", "2\n"):
        out(worker, run, text)
    assert part(stream, 1) == ("1\n", False, 0)
    taken(places)
    assert stream.waiting() == []


def test_a_slow_reader_is_not_closed_before_its_time_and_holds_nobody(
    places: Places, stream: End
) -> None:
    """The deadline of the request is for its first word; after that, a reader may take its time."""
    stream.say(ask(1, "three", until=time.monotonic() + SOON))
    assert part(stream, 1)[0] == "one\n"
    linger(places, 2 * SOON)
    stream.say(More(1, EPOCH))
    assert part(stream, 1)[0] == "two\n"


def test_who_reads_too_late_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "late") as places:
        places.fill("monitor", impatient)
        stream = places.end("stream1", "monitor")
        stream.say(ask(1, "three"))
        assert part(stream, 1)[0] == "one\n"
        linger(places, 2 * SOON)
        stream.say(More(1, EPOCH))
        assert part(stream, 1) == ("this answer was not read for too long and has ended\n", True, 3)


def test_empty_parts_are_passed_over(places: Places, stream: End, worker: End) -> None:
    stream.say(ask(1, "gaps-here"))
    assert part(stream, 1)[0] == "one\n"
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("two\n", True, 0)
    stream.say(ask(2, "gaps"))
    run = worker.hear(Run)
    out(worker, run, "")
    worker.hear(More, id=run.id)
    out(worker, run, "two\n")
    begun(stream, 2)
    assert stream.hear(Answer, id=2).text == "two\n"


def test_what_is_too_long_when_escaped_comes_in_parts(stream: End) -> None:
    stream.say(ask(1, "bytes-of-every-kind-here"))
    whole = ""
    while True:
        text, end, _ = part(stream, 1)
        assert len(text) <= PART_MAX
        whole += text
        if end:
            break
        stream.say(More(1, EPOCH))
    assert whole == "\\x1b[2J\\x00\\u{202e}\\u{10ffff}" * 700 + "end\n"


def test_what_nobody_waits_for_any_more_is_not_judged(places: Places, stream: End) -> None:
    stream.say(ask(1, "ping", until=0.0), ask(2, "ping", until=time.monotonic() - 0.001))
    taken(places)
    assert stream.waiting() == []


def test_a_bug_in_it_is_recorded_and_the_next_request_works(places: Places, stream: End) -> None:
    stream.say(ask(1, "crash-monitor"))
    assert part(stream, 1) == ("the door has a bug here, which has been recorded\n", True, 1)
    bug = written(places, "bug")
    assert bug["place"] == "monitor"
    assert bug["what"].startswith("ValueError: a bug at ")
    taken(places)


def test_a_command_that_does_not_end_when_it_is_told_to_ends(places: Places, stream: End) -> None:
    stream.say(ask(1, "stubborn"))
    assert part(stream, 1)[0] == "one\n"
    stream.say(Cancel(1, EPOCH), More(1, EPOCH))
    assert part(stream, 1)[1:] == (True, 3)
    taken(places)


def test_a_frontend_that_does_not_read_gets_its_answers_when_it_does(
    places: Places, stream: End
) -> None:
    """What its wire had no room for is not lost: the sweep says it again."""
    asked = 150
    stream.say(*(ask(number, "bytes-of-every-kind-here") for number in range(asked)))
    taken(places)
    heard = {stream.hear(Answer).id for _ in range(asked)}
    assert heard == set(range(asked))


def test_what_a_frontend_does_not_read_at_all_is_given_up(tmp_path: Path) -> None:
    with opened(tmp_path / "deaf") as places:
        places.fill("monitor", impatient)
        stream = places.end("stream1", "monitor")
        stream.say(*(ask(number, "bytes-of-every-kind-here", until=FAR) for number in range(150)))
        taken(places)
        linger(places, 2 * SOON)
        heard = [m for m in stream.waiting() if isinstance(m, Answer)]
        linger(places, SOON)
        assert 20 < len(heard) < 100
        assert stream.waiting() == []


# Errands


def test_an_errand_goes_to_its_kind_of_process_and_comes_back_part_by_part(
    places: Places, stream: End
) -> None:
    observer, worker = places.end("observer", "monitor"), places.end("worker1", "monitor")
    stream.say(ask(1, "fail"))
    run = observer.hear(Run)
    assert run.words == ("fail",)
    assert run.to == RUNNERS["observer"]
    assert time.monotonic() < run.until < time.monotonic() + 1
    begun(stream, 1)
    out(observer, run, "trying\n")
    assert part(stream, 1) == ("trying\n", False, 0)
    assert observer.hear(More) == More(run.id, run.epoch)
    out(observer, run, "no\n", last=True, code=1)
    taken(places)
    assert stream.waiting() == []
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("no\n", True, 1)
    assert worker.waiting() == []


def test_an_errand_is_for_the_process_that_said_hello(places: Places, stream: End) -> None:
    """By the wire it came on, whatever place it names; a later monitor does not know them yet."""
    worker = places.end("worker1", "monitor")
    stream.say(ask(1, "count", "1"))
    assert worker.hear(Run).to == RUNNERS["worker1"]
    worker.say(Hello("worker2", 3, 815))
    assert "ended" in part(stream, 1)[0]
    stream.say(ask(2, "count", "1"))
    assert worker.hear(Run).to == 815
    places.stop("monitor", signal.SIGKILL)
    places.fill("monitor", hurry, fill_no=2)
    stream.say(ask(3, "count", "1"))
    assert worker.hear(Run).to == 0


def test_the_first_monitor_gives_nothing_to_who_has_not_said_hello(tmp_path: Path) -> None:
    """Else its Hello, which comes later, would end what it is running."""
    with opened(tmp_path / "early") as places:
        places.fill("monitor")
        stream, worker = places.end("stream1", "monitor"), places.end("worker2", "monitor")
        stream.say(ask(1, "count", "1"))
        begun(stream, 1)
        taken(places)
        assert not any(isinstance(m, Run) for m in worker.waiting())
        worker.say(Hello("worker2", 1, 7))
        assert worker.hear(Run).to == 7


def test_cancel_reaches_the_process_and_it_is_free_after_its_last_part(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    out(worker, run, "1\n")
    stream.say(Cancel(1, EPOCH))
    assert worker.hear(Cancel) == Cancel(run.id, run.epoch)
    out(worker, run, "2\n")
    out(worker, run, "cancelled\n", last=True, code=1)
    stream.say(ask(2, "count", "9"), ask(3, "count", "9"))
    assert worker.hear(Run).id > run.id
    assert [m for m in stream.waiting() if isinstance(m, Answer) and m.id == 1 and m.text] in (
        [],
        [Answer(1, EPOCH, "1\n", end=False)],
    )


def test_a_process_that_does_not_end_a_cancelled_errand_is_replaced(
    places: Places, stream: End, worker: End
) -> None:
    """A part that was on its way when the Cancel went out does not take the deadline away."""
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    stream.say(Cancel(1, EPOCH))
    worker.hear(Cancel)
    out(worker, run, "1\n")
    assert places.end("supervisor", "monitor").hear(Replace).place == "worker1"


def test_a_missed_deadline_has_the_process_replaced_and_its_client_told(
    places: Places, stream: End, worker: End
) -> None:
    supervisor = places.end("supervisor", "monitor")
    start = time.monotonic()
    stream.say(ask(1, "hang"))
    run = worker.hear(Run)
    begun(stream, 1)
    text, end, code = part(stream, 1)
    assert re.fullmatch(r"worker1 did not answer in \d+ seconds and is being replaced\n", text)
    assert (end, code) == (True, 1)
    assert SOON <= time.monotonic() - start < SOON + 1
    replace = supervisor.hear(Replace)
    assert replace.place == "worker1"
    assert "no answer" in replace.why
    # Until its successor says Hello, it gets no errands; what the dead one said means nothing.
    out(worker, run, "late\n")
    stream.say(ask(2, "count", "1"))
    assert places.end("worker2", "monitor").hear(Run).words == ("count", "1")
    assert not any(isinstance(m, Run) for m in worker.waiting())
    worker.say(Hello("worker1", 2, 55))
    stream.say(ask(3, "count", "3"))
    assert worker.hear(Run).to == 55
    assert not any(m.text == "late\n" for m in stream.waiting() if isinstance(m, Answer))


def test_a_missed_deadline_between_parts_counts_too(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "hang"))
    run = worker.hear(Run)
    out(worker, run, "hanging\n")
    begun(stream, 1)
    assert part(stream, 1)[0] == "hanging\n"
    stream.say(More(1, EPOCH))
    assert "did not answer" in part(stream, 1)[0]


def test_a_slow_reader_is_not_the_processs_fault(places: Places, stream: End, worker: End) -> None:
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    out(worker, run, "1\n")
    out(worker, run, "2\n")
    linger(places, 3 * SOON)
    assert not any(isinstance(m, Replace) for m in places.end("supervisor", "monitor").waiting())
    stream.say(More(1, EPOCH))
    begun(stream, 1)
    assert (part(stream, 1)[0], part(stream, 1)[0]) == ("1\n", "2\n")


def test_a_process_that_dies_ends_its_errand_at_its_successors_hello(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "count", "9"))
    worker.hear(Run)
    begun(stream, 1)
    worker.say(Hello("worker1", 2, 9))
    assert part(stream, 1) == ("the process that ran this ended\n", True, 1)


def test_errands_wait_in_a_bounded_queue_and_are_handed_out_in_turn(
    places: Places, stream: End, worker: End
) -> None:
    most = monitor.ERRANDS_WAITING_MAX
    stream.say(*(ask(number, "count", "1") for number in range(most + 12)))
    busy = [stream.hear(Answer, end=True) for _ in range(10)]
    assert {answer.id for answer in busy} == set(range(most + 2, most + 12))
    assert {answer.text for answer in busy} == {"every worker is busy; try again\n"}
    other = places.end("stream2", "monitor")
    other.say(ask(1000, "count", "2"), ask(1001, "count", "2"))
    taken(places)
    order = []
    for _ in range(5):
        run = worker.hear(Run)
        order.append(run.words[1])
        out(worker, run, "", last=True)
    assert order.index("2") <= 2
    assert order.count("2") == 2


def test_an_errand_that_waited_too_long_is_told_that_all_are_busy(
    places: Places, stream: End
) -> None:
    for number, place in enumerate(("worker1", "worker2")):
        stream.say(ask(number, "count", "9"))
        out(places.end(place, "monitor"), places.end(place, "monitor").hear(Run), "1\n")
    start = time.monotonic()
    stream.say(ask(3, "count", "1"))
    begun(stream, 3)
    assert part(stream, 3) == ("every worker is busy; try again\n", True, 3)
    assert SOON <= time.monotonic() - start < SOON + 1


def test_a_cancelled_errand_does_not_wait_any_more(places: Places, stream: End) -> None:
    for number, place in enumerate(("worker1", "worker2")):
        stream.say(ask(number, "count", "9"))
        places.end(place, "monitor").hear(Run)
    stream.say(ask(3, "count", "3"), ask(4, "count", "4"), Cancel(3, EPOCH))
    taken(places)
    worker = places.end("worker1", "monitor")
    worker.say(Hello("worker1", 2, 9))
    assert worker.hear(Run).words == ("count", "4")


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
    for number in range(monitor.CASES_MAX):
        stream.say(ask(number, "three", until=FAR))
        stream.hear(Answer, id=number)
    before = resident(pid)
    for number in range(monitor.CASES_MAX, 4 * monitor.CASES_MAX):
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


# The writer


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
