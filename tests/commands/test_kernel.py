"""The command kernel: what the kernel complained of, and whose fault a crash is."""

import json
import math
import os
import re
import time
from collections.abc import Callable, Generator, Sequence

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands import kernel
from panicdoor.commands.kernel import report, wrong
from panicdoor.commands.table import document as document_of
from panicdoor.errors import CommandError
from panicdoor.kernel import kmsg
from panicdoor.kernel.kmsg import Log, Record

OOM = "Memory cgroup out of memory: Killed process 4711 (\x1b[2Jx) total-vm:1kB"
HUNG = "INFO: task nfsd:77 blocked for more than 120 seconds."
BAD = "EXT4-fs error (device sda1): ext4_lookup:1785: inode #2: comm ls: bad"


@pytest.fixture
def readable() -> None:
    try:
        os.close(os.open(kmsg.DEVICE, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        pytest.skip(f"the kernel's messages cannot be read here: {error}")


def log(*said: tuple[float, str], whole: bool = True, lost: int = 0) -> Log:
    """Messages of so many seconds ago."""
    now = time.monotonic()
    records = [Record(n, now - ago, 3, True, text) for n, (ago, text) in enumerate(said)]
    return Log(tuple(records), lost, whole)


@pytest.mark.usefixtures("readable")
def test_it_only_looks() -> None:
    is_an_observer("kernel")


@pytest.mark.usefixtures("readable")
def test_the_screen_fits_and_the_document_has_the_same() -> None:
    assert screen("kernel").count("\n") <= 40
    said = document("kernel")
    assert len(said["messages"]) <= kernel.LINES_MAX
    assert sum(found["count"] for found in said["classes"]) >= len(said["messages"])


def test_nothing_was_said() -> None:
    quiet = report(log())
    assert list(wrong(quiet)) == []
    assert list(kernel._lines(quiet)) == ["Nothing severe from the kernel in the last hour.\n"]


def test_the_worst_of_the_last_hour_comes_first() -> None:
    seen = report(log((90000, BAD), (200, HUNG), (100, BAD), (50, OOM)))
    assert [found.complaint.name for found in seen.classes] == [
        "filesystem error",
        "out of memory",
        "hung task",
    ]
    first, second, third = wrong(seen)
    assert first.startswith("filesystem error, 1 in the last hour: data is damaged")
    assert "1.7 min ago: EXT4-fs error" in first
    assert "killed" in second
    assert "hung task" in third


def test_what_is_old_is_told_but_no_finding() -> None:
    seen = report(log((90000, BAD)))
    assert list(wrong(seen)) == []
    text = "".join(kernel._lines(seen))
    assert "filesystem error      1          0  1.0 d" in text


def test_what_the_host_says_is_escaped() -> None:
    text = "".join(kernel._lines(report(log((5, OOM)))))
    assert "(\\x1b[2Jx)" in text
    assert text.isascii()
    assert max(map(len, text.split("\n"))) <= 80


def crashes(name: str, count: int, ago: float) -> Sequence[tuple[float, str]]:
    return [(ago, f"{name}[{n}]: segfault at 0 ip 0 sp 0 error 4 in x") for n in range(count)]


def test_crashes_are_findings_when_they_do_not_end() -> None:
    few = report(log(*crashes("nginx", 9, 5), *crashes("old", 50, 5000)))
    assert list(wrong(few)) == []
    storm = report(log(*crashes("nginx", 12, 5), *crashes("php", 3, 5)))
    assert list(wrong(storm)) == ["nginx crashed 12 times in the last 10 min"]


def test_much_is_bounded_and_said() -> None:
    seen = report(log(*[(5.0, HUNG)] * 300, whole=False, lost=2))
    assert len(seen.newest) == kernel.LINES_MAX
    text = "".join(kernel._lines(seen))
    assert "(292 more messages left out)\n" in text
    assert "the newest were not read" in text
    assert "overwritten" in text
    said = kernel._document(seen)
    assert isinstance(said, dict)
    assert said["left_out"] == 100
    assert said["whole"] is False


def test_long_messages_are_cut() -> None:
    said = json.loads("".join(document_of(kernel._document(report(log((5, BAD + "x" * 9000)))))))
    assert len(said["messages"][0]["text"]) == kernel.TEXT_MAX


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(1, "Operation not permitted"), "only root may read"),
        (FileNotFoundError(2, "No such file or directory"), "no kernel messages: /dev/kmsg: No"),
    ],
)
def test_messages_that_cannot_be_read(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def records(*_: object) -> Log:
        raise error

    monkeypatch.setattr(kmsg, "records", records)
    with pytest.raises(CommandError, match=said):
        screen("kernel")


def lines(found: Generator[str, None, str]) -> tuple[str, str]:
    """Return what is said, and what is to be given back the next time."""
    said = ""
    while True:
        try:
            said += next(found)
        except StopIteration as end:
            return said, str(end.value)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the kernel has said, to be added to."""
    messages: list[tuple[float, str]] = []

    def records(wanted: Callable[[Record], bool], most: int) -> Log:
        found = [record for record in log(*messages).records if wanted(record)]
        return Log(tuple(found[-most:]), 0, True)

    monkeypatch.setattr(kmsg, "records", records)
    return messages


def test_what_is_followed_is_told_once(said: list[tuple[float, str]]) -> None:
    said += [(9000, HUNG)] * 12 + [(8000, "usb 1-1: new device")]
    first, cursor = lines(kernel._follow("", math.inf, False))
    assert first.count("\n") == kernel.LINES_SHOWN
    assert re.fullmatch(rf"[0-9]{{4}}-[-0-9: ]+ UTC  {HUNG}", first.split("\n")[0])
    assert lines(kernel._follow(cursor, math.inf, False)) == ("", cursor)
    said += [(2, OOM), (1, BAD)]
    new, after = lines(kernel._follow(cursor, math.inf, False))
    assert [line.partition("UTC  ")[2][:10] for line in new.split("\n")] == [
        OOM[:10], BAD[:10], "",
    ]  # fmt: skip
    assert lines(kernel._follow(after, math.inf, False)) == ("", after)


def test_what_is_followed_where_nothing_was_said(said: list[tuple[float, str]]) -> None:
    nothing, cursor = lines(kernel._follow("", math.inf, False))
    assert nothing == ""
    said += [(1, BAD)] * 20
    text, _ = lines(kernel._follow(cursor, math.inf, False))
    assert text.count("\n") == 20


def test_a_flood_that_is_followed_is_bounded_and_said(said: list[tuple[float, str]]) -> None:
    said += [(1, BAD)] * 300
    text, _ = lines(kernel._follow("0", math.inf, False))
    assert text.count("\n") == kernel.LINES_MAX + 1
    assert text.endswith("(99 more messages, older than these, left out)\n")


def test_what_is_followed_as_json_is_an_object_a_line(said: list[tuple[float, str]]) -> None:
    said += [(7000, BAD), (2, OOM), (1, BAD)]
    text, _ = lines(kernel._follow("", 60, True))
    found = [json.loads(line) for line in text.splitlines()]
    assert [message["class"] for message in found] == ["out of memory", "filesystem error"]


def test_messages_of_some_time_only(said: list[tuple[float, str]]) -> None:
    said += [(9000, HUNG), (7000, BAD), (20, OOM)]
    assert [m["class"] for m in document("kernel --since 2h")["messages"]] == [
        "out of memory", "filesystem error",
    ]  # fmt: skip
    assert len(document("kernel --since 30s")["messages"]) == 1
    assert len(document("kernel")["messages"]) == 3
    assert "hung task" not in screen("kernel --since 2h")
