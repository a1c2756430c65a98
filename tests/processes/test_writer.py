"""The writer in a process of its own, spoken to as the monitor and the supervisor would."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.journals import Entry, journal_of, verify
from tests.places import End, Places, descriptors, hostile, opened, resident
from tests.running import wait_for

from panicdoor.kernel.process import boot_id
from panicdoor.messages import (
    PART_MAX,
    Bug,
    Hello,
    Holder,
    Ping,
    Pong,
    Write,
    Written,
)
from panicdoor.messages import (
    Places as Holders,
)
from panicdoor.processes.opening import JOURNAL_RESERVE, PLACES_SIZE
from panicdoor.records.journal import LINE_MAX, encode

EPOCH = 99  # the monitor's


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with opened(tmp_path / "door") as places:
        yield places


@pytest.fixture
def monitor(places: Places) -> End:
    places.fill("writer")
    monitor = places.end("monitor", "writer")
    monitor.hear(Hello)
    return monitor


def write(number: int, fields: str = "{}", kind: str = "result") -> Write:
    return Write(number, EPOCH, kind, fields)


def written(end: End, number: int) -> Written:
    return end.hear(Written, id=number)


def entries(places: Places, junk: int = 0) -> list[Entry]:
    """Return the journal, verified from its start to its end."""
    return verify(journal_of(places.directory), junk)


def refill(places: Places, number: int = signal.SIGKILL) -> End:
    """Have another writer take the place."""
    places.stop("writer", number)
    places.fill("writer")
    monitor = places.end("monitor", "writer")
    monitor.hear(Hello)
    return monitor


# What is written


def test_an_entry_is_told_to_the_monitor_when_it_stands_on_disk(
    places: Places, monitor: End
) -> None:
    monitor.say(write(7, '{"a":1}'), write(8, '{"b":2}', "accept"))
    first, second = written(monitor, 7), written(monitor, 8)
    found = entries(places)
    assert [(e.n, e.kind, e.fields) for e in found] == [
        (1, "result", {"a": 1}),
        (2, "accept", {"b": 2}),
    ]
    assert [(w.epoch, w.n, w.hash) for w in (first, second)] == [
        (EPOCH, e.n, e.hash) for e in found
    ]


def test_the_supervisors_entries_are_written_and_nobody_is_told(
    places: Places, monitor: End
) -> None:
    places.end("supervisor", "writer").say(Write(1, 5, "lost", '{"place":"stream1"}'))
    places.read_by("writer")
    monitor.say(write(2))
    assert written(monitor, 2).n == 2
    assert monitor.waiting() == []
    assert [e.kind for e in entries(places)] == ["lost", "result"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_writer_goes_on_where_the_last_one_was(
    places: Places, monitor: End, number: int
) -> None:
    for each in range(3):
        monitor.say(write(each))
        written(monitor, each)
    after = refill(places, number)
    after.say(write(9))
    assert written(after, 9).n == 4
    assert len(entries(places)) == 4


def test_what_waits_when_it_is_told_to_end_is_written(places: Places, monitor: End) -> None:
    supervisor = places.end("supervisor", "writer")
    os.kill(places.pids["writer"], signal.SIGSTOP)
    for number in range(100):
        monitor.say(write(number))
        supervisor.say(write(number, kind="lost"))
    os.kill(places.pids["writer"], signal.SIGTERM)
    os.kill(places.pids["writer"], signal.SIGCONT)
    wait_for(lambda: not places.lives("writer") or len(entries(places)) == 200)
    assert [e.kind for e in entries(places)].count("lost") == 100
    assert len(entries(places)) == 200


def test_entries_wait_in_the_wire_while_it_is_stopped_and_come_later(
    places: Places, monitor: End
) -> None:
    os.kill(places.pids["writer"], signal.SIGSTOP)
    monitor.say(*(write(number) for number in range(100)))
    assert journal_of(places.directory) == b""
    os.kill(places.pids["writer"], signal.SIGCONT)
    assert [written(monitor, number).n for number in range(100)] == [*range(1, 101)]
    assert len(entries(places)) == 100


def test_space_is_reserved_ahead_without_a_change_of_size(places: Places, monitor: End) -> None:
    file = places.directory / "journal"
    monitor.say(write(1))
    written(monitor, 1)
    size = file.stat().st_size
    assert size < 200
    assert file.stat().st_blocks * 512 >= JOURNAL_RESERVE
    text = encode({"x": "x" * 3000})
    count = JOURNAL_RESERVE // 2 // 3000 + 20
    for number in range(count):
        monitor.say(write(number, text))
        written(monitor, number)
    assert file.stat().st_blocks * 512 >= file.stat().st_size + JOURNAL_RESERVE // 2
    assert len(entries(places)) == count + 1


def test_it_answers_pings_and_tells_who_it_is(places: Places) -> None:
    places.fill("writer", fill_no=3)
    hello = places.end("monitor", "writer").hear(Hello)
    assert (hello.place, hello.fill) == ("writer", 3)
    supervisor = places.end("supervisor", "writer")
    supervisor.say(Ping(5))
    assert supervisor.hear(Pong).n == 5


# What is no entry


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("result", ""), ("result", "{"), ("result", "{}\n{}"), ("result", "[]"),
        ("result", '{"a":"\x1b"}'),
        ("result", '{"a":"ä"}'), ("result", "{" * PART_MAX), ("result", "\U0010ffff" * PART_MAX),
        ("Result", "{}"), ("a b", "{}"), ("a\n", "{}"), ("\x1b[2J", "{}"), ("ä", "{}"),
    ],
)  # fmt: skip
def test_what_would_be_no_line_is_dropped_and_counted(
    places: Places, monitor: End, kind: str, fields: str
) -> None:
    monitor.say(write(1, fields, kind), write(2))
    assert written(monitor, 2).n == 2
    found = entries(places)
    assert [(e.kind, e.fields) for e in found] == [("missed", {"entries": 1}), ("result", {})]
    assert monitor.waiting() == []


def test_the_largest_fields_make_a_line(places: Places, monitor: End) -> None:
    monitor.say(Write(2**63 - 1, EPOCH, "k" * 32, encode({"x": "x" * 5000})))
    assert written(monitor, 2**63 - 1).n == 1
    assert len(journal_of(places.directory)) <= LINE_MAX
    entries(places)


def test_hostile_packets_change_nothing(places: Places, monitor: End) -> None:
    pid = places.pids["writer"]
    monitor.say(write(1))
    written(monitor, 1)
    before = descriptors(pid), resident(pid), journal_of(places.directory)
    supervisor = places.end("supervisor", "writer")
    for packet in hostile(write(2)):
        monitor.push(packet)
        supervisor.push(packet)
    holders = Holders((Holder("stream1", 1, 2),))
    listed = (places.directory / "places").read_bytes()
    for sample in (holders, Ping(1)):
        for packet in hostile(sample):
            supervisor.push(packet)
    monitor.push(msgspec.msgpack.encode(holders))
    monitor.say(Ping(1), Hello("writer", 1, 1), Bug("x", "y"), Written(1, 1, 1, "x"))
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(100):
        monitor.push(b"", [null] * 100)
    os.close(null)
    places.read_by("writer")
    monitor.say(write(3))
    assert written(monitor, 3).n == 2
    assert monitor.waiting() == []
    assert descriptors(pid) == before[0]
    assert resident(pid) < before[1] + 2048
    assert journal_of(places.directory).startswith(before[2])
    assert (places.directory / "places").read_bytes() == listed
    assert len(entries(places)) == 2


# The list of places


def test_the_list_of_places_is_overwritten_where_it_is(places: Places, monitor: End) -> None:
    supervisor, file = places.end("supervisor", "writer"), places.directory / "places"
    many = Holders(tuple(Holder(f"stream{n}", 10**6 + n, 10**9) for n in range(64)))
    supervisor.say(many, Holders((Holder("monitor", 5, 6), Holder("stream1", 7, 8))))
    places.read_by("writer")
    monitor.say(write(1))
    written(monitor, 1)
    lines = file.read_text().split("\n")
    assert [line for line in lines if line.strip()] == [boot_id(), "monitor 5 6", "stream1 7 8"]
    assert file.stat().st_size == PLACES_SIZE


def test_a_list_that_is_too_long_is_cut_and_no_bug(places: Places, monitor: End) -> None:
    longest = Holder("\U0010ffff" * 32, 2**63 - 1, 2**63 - 1)
    places.end("supervisor", "writer").say(Holders((longest,) * 64))
    places.read_by("writer")
    monitor.say(write(1))
    written(monitor, 1)
    assert monitor.waiting() == []
    assert (places.directory / "places").stat().st_size == PLACES_SIZE


# What an installer reads


@pytest.fixture
def said(places: Places) -> Iterator[int]:
    """Have the writer's standard error in a pipe that nobody empties, and return its other end."""
    reader, pipe = os.pipe()
    os.dup2(pipe, places.world.holdings.files["stderr"])
    os.close(pipe)
    os.set_blocking(reader, False)
    yield reader
    os.close(reader)


def test_some_entries_are_said_on_standard_error_in_one_line_each(
    places: Places, said: int
) -> None:
    places.fill("writer")
    monitor = places.end("monitor", "writer")
    what = encode({"place": "x", "what": "\x1b[2J\nä"})
    monitor.say(write(1, what, "bug"), write(2, '{"a":"\x1b\n"}', "lost"), write(3))
    written(monitor, 3)
    lines = os.read(said, 65536).decode("ascii").splitlines()
    assert lines == [
        f"panicdoor: bug: {what}",
        'panicdoor: lost: {"a":"\\x1b\\x0a"}',
        'panicdoor: missed: {"entries":1}',
    ]
    assert json.loads(what)["what"] == "\\x1b[2J\\x0a\\xe4"


def test_a_standard_error_that_nobody_reads_holds_up_nothing(places: Places, said: int) -> None:
    places.fill("writer")
    monitor = places.end("monitor", "writer")
    text = encode({"what": "x" * 3000})
    for number in range(100):
        monitor.say(write(number, text, "bug"))
        assert written(monitor, number).n == number + 1
    assert len(entries(places)) == 100
    assert len(os.read(said, 1 << 20)) > 30_000


def test_a_standard_error_that_is_gone_holds_up_nothing(places: Places) -> None:
    reader, pipe = os.pipe()
    os.dup2(pipe, places.world.holdings.files["stderr"])
    os.close(pipe)
    os.close(reader)
    places.fill("writer")
    monitor = places.end("monitor", "writer")
    monitor.say(write(1, "{}", "bug"), write(2, "{}", "lost"))
    assert written(monitor, 2).n == 2
