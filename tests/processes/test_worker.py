"""A worker in a process of its own, spoken to as the monitor would speak to it, and otherwise."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.places import End, Places, descriptors, hostile, opened, resident
from tests.running import wait_for

from panicdoor.commands import snapshot
from panicdoor.messages import PART_MAX, Bug, Cancel, Hello, More, Output, Run
from panicdoor.processes.place import BUGS_A_MINUTE

WARM = 9  # times, after which all has been done that is done for the first time
GROWTH_MAX = 1024  # KiB, in forty times: each would take more if it kept anything
EPOCH = 99  # the monitor's, whom these tests play
CONTROL = "".join(chr(code) for code in (*range(10), *range(11, 32), 127))


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with opened(tmp_path / "door") as places:
        yield places


@pytest.fixture
def worker(places: Places) -> End:
    places.fill("worker1")
    end = places.end("monitor", "worker1")
    end.hear(Hello)
    return end


def run(number: int, *words: str, to: int = 0, seconds: float = 60.0) -> Run:
    return Run(number, EPOCH, to, time.monotonic() + seconds, words)


def output(end: End, number: int) -> tuple[str, bool, int]:
    said = end.hear(Output, id=number)
    assert said.epoch == EPOCH
    return said.text, said.end, said.code


def alive(end: End, number: int = 10**6) -> bool:
    """Whether it runs errands: what was sent before has been read."""
    end.say(run(number, "count", "1"))
    return output(end, number) == ("1\n", False, 0)


def test_it_says_who_it_is_as_the_first_thing(places: Places) -> None:
    before = time.monotonic_ns()
    places.fill("worker2", fill_no=7)
    end = places.end("monitor", "worker2")
    hello = end.hear(Hello)
    assert (hello.place, hello.fill) == ("worker2", 7)
    assert before < hello.epoch < time.monotonic_ns()
    places.fill("observer")
    assert places.end("monitor", "observer").hear(Hello).place == "observer"


def test_one_more_one_part(worker: End) -> None:
    worker.say(run(1, "count", "3"))
    for part in ("1\n", "2\n", "3\n"):
        assert output(worker, 1) == (part, False, 0)
        assert worker.waiting() == []
        worker.say(More(1, EPOCH))
    assert output(worker, 1) == ("", True, 0)
    worker.say(More(1, EPOCH), Cancel(1, EPOCH))
    assert alive(worker)


def test_what_is_followed_goes_on_behind_its_cursor(worker: End) -> None:
    for cursor, text, after in (("", "1\n", "1"), ("41", "42\n", "42")):
        begin = run(1, "onward", "--follow")
        worker.say(Run(begin.id, begin.epoch, begin.to, begin.until, begin.words, cursor))
        assert output(worker, 1) == (text, False, 0)
        worker.say(More(1, EPOCH))
        last = worker.hear(Output, id=1)
        assert (last.text, last.end, last.cursor) == ("", True, after)


def test_an_error_in_the_middle_is_the_end_of_the_answer(places: Places, worker: End) -> None:
    worker.say(run(1, "fail"), More(1, EPOCH))
    assert output(worker, 1) == ("trying\n", False, 0)
    assert output(worker, 1) == ("it cannot be done\n", True, 1)
    assert alive(worker)


@pytest.mark.parametrize("words", [("nonesuch",), ("count", "x"), ("",), ("count", "1", "2")])
def test_what_makes_no_sense_is_an_error_too(worker: End, words: tuple[str, ...]) -> None:
    worker.say(run(1, *words))
    text, end, code = output(worker, 1)
    assert (end, code) == (True, 1)
    assert text
    assert alive(worker)


def test_no_words_are_the_errand_to_read_the_policy(places: Places, worker: End) -> None:
    memory = places.world.holdings.policy
    worker.say(run(1))
    assert output(worker, 1) == ("", True, 0)
    found = memory.read()
    assert found
    assert (found[0], found[1].door) == (1, places.world.door)
    (places.directory / "door.toml").write_text("junk")
    worker.say(run(2))
    text, end, code = output(worker, 2)
    assert text.startswith(f"{places.directory}/door.toml: line 1")
    assert (end, code) == (True, 1)
    assert memory.newest() == 1
    assert alive(worker)


def test_an_observer_cannot_write_the_policy(places: Places) -> None:
    places.fill("observer")
    end = places.end("monitor", "observer")
    end.hear(Hello)
    end.say(run(1))
    assert output(end, 1) == ("this document cannot be written here\n", True, 1)
    assert places.world.holdings.policy.read() is None


def test_a_bug_is_reported_in_one_line_and_the_next_errand_works(worker: End) -> None:
    worker.say(run(1, "crash"), More(1, EPOCH))
    assert output(worker, 1) == ("trying\n", False, 0)
    bug = worker.hear(Bug)
    assert bug.place == "worker1"
    assert bug.text.startswith("ValueError: a bug\\x0aresult: done at ")
    assert "extra.py:" in bug.text
    assert output(worker, 1) == ("this command has a bug, which has been recorded\n", True, 1)
    assert alive(worker)


def test_bugs_in_a_loop_are_reported_a_few_times_a_minute(worker: End) -> None:
    for number in range(20):
        worker.say(run(number, "crash"), More(number, EPOCH))
        worker.hear(Output, id=number, end=True)
    assert sum(isinstance(message, Bug) for message in worker.waiting()) == BUGS_A_MINUTE
    worker.say(run(100, "crash"), More(100, EPOCH))
    heard = []
    while True:
        heard += worker.waiting()
        if any(isinstance(m, Output) and m.end for m in heard):
            break
    assert not any(isinstance(message, Bug) for message in heard)


def test_cancel_ends_it_at_its_next_part_and_lets_it_tidy_up_first(worker: End) -> None:
    worker.say(run(1, "untidy"), More(1, EPOCH))
    assert output(worker, 1)[0] == "again\n"
    assert output(worker, 1)[0] == "again\n"
    worker.say(Cancel(1, EPOCH))
    assert worker.hear(Bug).text.startswith("ValueError: not tidied up")
    assert output(worker, 1) == ("cancelled\n", True, 1)
    worker.say(More(1, EPOCH), Cancel(1, EPOCH))
    assert alive(worker)


def test_a_new_errand_ends_the_old_one(worker: End) -> None:
    worker.say(run(1, "untidy"))
    assert output(worker, 1)[0] == "again\n"
    worker.say(run(2, "count", "1"))
    assert worker.hear(Bug).text.startswith("ValueError: not tidied up")
    assert output(worker, 2) == ("1\n", False, 0)


@pytest.mark.parametrize(
    ("number", "epoch"), [(2, EPOCH), (1, EPOCH - 1), (0, EPOCH), (2**63 - 1, 2**63 - 1)]
)
def test_words_about_other_errands_mean_nothing(worker: End, number: int, epoch: int) -> None:
    worker.say(run(1, "count", "2"))
    assert output(worker, 1)[0] == "1\n"
    worker.say(More(number, epoch), Cancel(number, epoch), More(1, EPOCH))
    assert output(worker, 1) == ("2\n", False, 0)
    assert worker.waiting() == []


def test_what_nobody_waits_for_any_more_is_not_run(worker: End) -> None:
    worker.say(Run(1, EPOCH, 0, 0.0, ("count", "1")), run(2, "count", "1", seconds=-0.001))
    assert alive(worker)
    assert worker.waiting() == []


def test_what_was_meant_for_its_predecessor_is_not_run(places: Places, worker: End) -> None:
    places.stop("worker1", signal.SIGKILL)
    worker.say(run(1, "count", "1", to=1))
    places.fill("worker1")
    hello = worker.hear(Hello)
    worker.say(run(2, "count", "1", to=hello.epoch + 1))
    worker.say(run(3, "count", "1", to=hello.epoch))
    assert worker.hear(Output).id == 3
    assert alive(worker)


def test_an_empty_part_and_a_large_one_lose_nothing(worker: End) -> None:
    worker.say(run(1, "bytes-of-every-kind"))
    whole = ""
    while True:
        text, end, _ = output(worker, 1)
        assert len(text) <= PART_MAX
        whole += text
        if end:
            break
        worker.say(More(1, EPOCH))
    assert whole == "\\x1b[2J\\x00\\u{202e}\\u{10ffff}" * 700 + "end\n"
    assert alive(worker)


@pytest.mark.parametrize("hangs", [("hang",), ("doze", "300")])
def test_it_hangs_alone(places: Places, worker: End, hangs: tuple[str, ...]) -> None:
    places.fill("worker2")
    other = places.end("monitor", "worker2")
    other.hear(Hello)
    worker.say(run(1, *hangs), More(1, EPOCH))
    assert alive(other)
    if hangs == ("doze", "300"):
        assert output(worker, 1) == ("awake\n", False, 0)


def test_hostile_packets_change_nothing(places: Places, worker: End) -> None:
    pid = places.pids["worker1"]
    assert alive(worker)
    before = descriptors(pid), resident(pid)
    worker.say(run(1, "count", "3"))
    assert output(worker, 1)[0] == "1\n"
    for sample in (run(1, "crash"), More(1, EPOCH), Cancel(1, EPOCH)):
        for packet in hostile(sample):
            worker.push(packet)
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(300):
        worker.push(b"", [null] * 100)
        worker.push(msgspec.msgpack.encode(More(2, EPOCH)), [null] * 100)
    os.close(null)
    worker.say(More(1, EPOCH))
    assert output(worker, 1) == ("2\n", False, 0)
    assert worker.waiting() == []
    assert descriptors(pid) == before[0]
    assert resident(pid) < before[1] + 2048


def test_a_flood_ends_and_leaves_it_as_it_was(places: Places, worker: End) -> None:
    assert alive(worker)
    before = resident(places.pids["worker1"])
    junk = msgspec.msgpack.encode(Cancel(1, 1))
    for _ in range(20_000):
        worker.push(junk)
    assert alive(worker)
    assert resident(places.pids["worker1"]) < before + 2048


def test_it_ends_when_it_is_told_to_and_not_with_ctrl_c(places: Places, worker: End) -> None:
    pid = places.pids["worker1"]
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    assert alive(worker)
    assert places.stop("worker1") == -signal.SIGTERM


def test_what_finds_no_room_is_lost_and_it_goes_on(places: Places, worker: End) -> None:
    worker.say(run(1, "count", "100000"))
    for _ in range(3000):
        worker.say(More(1, EPOCH))
    worker.waiting()
    assert alive(worker)
    assert places.lives("worker1")


def has_read(pid: int) -> int:
    """Return how many bytes a process has read, since it began."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def test_an_observer_keeps_what_triage_compares_with(places: Places) -> None:
    pids = [places.fill(name) for name in ("observer", "worker1")]
    for name in ("observer", "worker1"):
        places.end("monitor", name).hear(Hello)
    before = [has_read(pid) for pid in pids]
    for _ in range(2):
        now = has_read(pids[0])
        wait_for(lambda now=now: has_read(pids[0]) > now, 3 * snapshot.KEEP_S)  # type: ignore[misc]
    assert has_read(pids[1]) == before[1]


def answer(end: End, number: int, *words: str) -> str:
    """Return a whole answer, taken part by part."""
    end.say(run(number, *words))
    said = end.hear(Output, id=number)
    text = said.text
    while not said.end:
        end.say(More(number, EPOCH))
        said = end.hear(Output, id=number)
        text += said.text
    assert said.code == 0
    return text


def test_looking_again_and_again_takes_no_more_memory(places: Places) -> None:
    pid = places.fill("observer")
    end = places.end("monitor", "observer")
    end.hear(Hello)
    for number in range(50):
        assert answer(end, number, "triage", *["--json"] * (number % 2))
        if number == WARM:
            before = resident(pid)
    assert resident(pid) - before < GROWTH_MAX
