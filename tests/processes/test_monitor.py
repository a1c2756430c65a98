"""The monitor in a process of its own, spoken to as everybody else would."""

import re
import signal
import time
from pathlib import Path

from tests.monitors import (
    RUNNERS,
    SOON,
    begun,
    hurry,
    linger,
    out,
    part,
    taken,
    written,
)
from tests.places import (
    EPOCH,
    End,
    Places,
    ask,
    opened,
)

from panicdoor.messages import (
    Answer,
    Cancel,
    Fresh,
    Hello,
    More,
    Ping,
    Pong,
    Replace,
    Run,
    Write,
)
from panicdoor.processes import errands

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


def test_what_a_frontends_predecessor_asked_for_is_ended(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    places.end("stream2", "monitor").say(Hello("stream2", 2, 5))
    taken(places)
    assert not any(isinstance(m, Cancel) for m in worker.waiting())
    stream.say(Hello("stream1", 2, 5))
    assert worker.hear(Cancel).id == run.id


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


def test_it_is_said_again_until_somebody_says_hello(
    places: Places, stream: End, worker: End
) -> None:
    """Nobody pings a worker: a successor that never begins would hold its place for ever."""
    supervisor = places.end("supervisor", "monitor")
    stream.say(ask(1, "hang"))
    worker.hear(Run)
    for _ in range(2):
        assert supervisor.hear(Replace).place == "worker1"
    worker.say(Hello("worker1", 2, 55))
    stream.say(ask(2, "count", "1"))
    run = worker.hear(Run, words=("count", "1"))
    out(worker, run, "", last=True)
    supervisor.waiting()
    linger(places, 2 * SOON)
    assert not any(isinstance(m, Replace) for m in supervisor.waiting())


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


def test_the_end_of_an_errand_is_told_after_what_its_client_has_yet_to_read(
    places: Places, stream: End, worker: End
) -> None:
    stream.say(ask(1, "count", "9"))
    run = worker.hear(Run)
    out(worker, run, "1\n")
    assert part(stream, 1) == ("1\n", False, 0)
    worker.hear(More)
    out(worker, run, "2\n")
    worker.say(Hello("worker1", 2, 9))
    taken(places)
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("2\n", False, 0)
    stream.say(More(1, EPOCH))
    assert part(stream, 1) == ("the process that ran this ended\n", True, 1)


def test_errands_wait_in_a_bounded_queue_and_are_handed_out_in_turn(
    places: Places, stream: End, worker: End
) -> None:
    most = errands.ERRANDS_WAITING_MAX
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
