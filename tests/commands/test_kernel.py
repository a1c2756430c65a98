"""The command kernel: what the kernel complained of, and whose fault a crash is."""

import json
import os
import time
from collections.abc import Sequence

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
