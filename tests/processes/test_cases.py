"""Requests to a monitor in a process of its own, and how their answers go out."""

import re
import time
from pathlib import Path

from tests.monitors import (
    SOON,
    begun,
    impatient,
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
    opened,
)

from panicdoor.messages import (
    PART_MAX,
    Answer,
    Cancel,
    Hello,
    More,
    Run,
)
from panicdoor.processes import cases, monitor


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


def test_who_reads_on_has_its_time_anew(tmp_path: Path) -> None:
    def patient() -> None:
        monitor.SWEEP_S, cases.READER_S = 0.02, 1.0  # type: ignore[misc]

    with opened(tmp_path / "door") as places:
        worker, stream = places.end("worker1", "monitor"), places.end("stream1", "monitor")
        worker.say(Hello("worker1", 1, 7))
        places.fill("monitor", patient)
        stream.say(ask(1, "count", "9"))
        run = worker.hear(Run)
        out(worker, run, "1\n")
        assert part(stream, 1) == ("1\n", False, 0)
        linger(places, 0.6)
        stream.say(More(1, EPOCH))
        linger(places, 0.6)
        out(worker, run, "2\n")
        assert part(stream, 1) == ("2\n", False, 0)


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
