"""The kernel's messages: as dmesg(1) shows them; no record raises."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import kmsg

LINE = b"3,343,1337971,-;I/O error, dev sda, sector 8\\x0aGet\n SUBSYSTEM=block\n DEVICE=b8:0\n"


def everything(record: kmsg.Record) -> bool:
    return True


def test_parse_record() -> None:
    assert kmsg.parse_record(LINE) == kmsg.Record(
        343, 1.337971, 3, True, "I/O error, dev sda, sector 8\nGet"
    )
    assert kmsg.parse_record(b"14,1,2,c,caller=T9;hello\n") == kmsg.Record(
        1, 2e-6, 6, False, "hello"
    )
    for junk in (b"", b"x", b"3,343", b"3,343,1", b";", b"3;3;3;3", b"1" * 40 + b",2,3,-;x"):
        assert kmsg.parse_record(junk) is None


@given(
    st.binary() | st.builds(lambda n, d: LINE[:n] + d + LINE[n:], st.integers(0, 60), st.binary())
)
def test_no_bytes_raise(data: bytes) -> None:
    kmsg.parse_record(data)


def device() -> None:
    try:
        os.close(os.open(kmsg.DEVICE, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        pytest.skip(f"the kernel's messages cannot be read here: {error}")


def test_it_agrees_with_dmesg() -> None:
    device()
    if shutil.which("dmesg") is None:
        pytest.skip("there is no dmesg")
    log = kmsg.records(everything, 100_000)
    told = subprocess.run(["dmesg", "--kernel"], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("dmesg may not read here")
    ours = [record.text.split("\n")[0] for record in log.records if record.kernel]
    theirs = [line.partition("] ")[2] for line in told.stdout.splitlines()]
    assert log.whole
    assert ours
    assert [text for text in ours[-20:-1] if text not in theirs and text.isascii()] == []


def test_only_the_newest_are_kept() -> None:
    device()
    all_of_them = kmsg.records(everything, 100_000).records
    newest = kmsg.records(everything, 3).records
    assert len(newest) == min(3, len(all_of_them))
    assert newest[-1].number >= all_of_them[-1].number
    assert [record.number for record in newest] == sorted(record.number for record in newest)
    assert kmsg.records(everything, 0).records == ()
    assert kmsg.records(lambda record: False, 3).records == ()


def test_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    device()
    monkeypatch.setattr(kmsg, "RECORDS_MAX", 2)
    log = kmsg.records(everything, 10)
    assert len(log.records) == 2
    assert not log.whole
    monkeypatch.setattr(kmsg, "READ_S", -1.0)
    assert len(kmsg.records(everything, 10).records) == 1


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kmsg.records(everything, 1, str(tmp_path / "none"))


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_bytes(LINE)
    log = kmsg.records(everything, 1, str(tmp_path / "kmsg"))
    assert len(log.records) == 1
    assert log.whole


def test_records_that_are_overwritten_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bytes | OSError] = [OSError(32, "EPIPE"), LINE, BlockingIOError(11, "EAGAIN")]

    def read(fd: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "read", read)
    log = kmsg.records(everything, 5, "/dev/null")
    assert (len(log.records), log.lost, log.whole) == (1, 1, True)
