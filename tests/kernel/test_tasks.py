"""Processes: as ps(1) sees them at the same moment, whatever they call themselves."""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import tasks

LINE = (
    b"7 (sh) S 1 7 7 34816 9 4194560 1 2 3 4 50 25 1 1 20 0 3 0 1234 1000 20 18446744073709551615"
)
STATUS = b"""Name:\tsh\\nUid:\t9
Umask:\t0022
State:\tS (sleeping)
Tgid:\t7
TracerPid:\t3
Uid:\t1000\t0\t0\t0
VmRSS:\t    1234 kB
RssAnon:\t     100 kB
VmSwap:\t       5 kB
voluntary_ctxt_switches:\t8
nonvoluntary_ctxt_switches:\t9
"""


@contextmanager
def child(name: bytes = b"sleeper") -> Iterator[int]:
    """A process of that name, which waits until the test is over."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        ctypes.CDLL(None).prctl(15, name, 0, 0, 0)  # PR_SET_NAME
        os.close(reader)
        os.write(writer, b".")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_parse_stat() -> None:
    assert tasks.parse_stat(LINE) == tasks.Stat(
        7, "sh", "S", 1, 34816, False, 75, 3, 1234, 20 * tasks.PAGE
    )


@pytest.mark.parametrize("name", [b"x) R 1\n(", b"((", b"))", b"", b"\x1b[2J", b"\xff\n"])
def test_a_name_is_only_a_name(name: bytes) -> None:
    stat = tasks.parse_stat(LINE.replace(b"(sh)", b"(" + name + b")"))
    assert stat is not None
    assert (stat.name, stat.state, stat.parent) == (name.decode("latin-1"), "S", 1)


@pytest.mark.parametrize("cut", range(0, len(LINE) - 20, 3))
def test_a_truncated_stat_is_none(cut: int) -> None:
    assert tasks.parse_stat(LINE[:cut]) is None


@given(
    st.binary() | st.builds(lambda a, b: LINE[:a] + b + LINE[a:], st.integers(0, 90), st.binary())
)
def test_no_bytes_raise(data: bytes) -> None:
    tasks.parse_stat(data)
    tasks.parse_status(data)
    tasks.parse_group(data)


@given(st.integers(0, 200), st.binary())
def test_no_status_raises(at: int, data: bytes) -> None:
    tasks.parse_status(STATUS[:at] + data + STATUS[at:])


def test_parse_status() -> None:
    assert tasks.parse_status(STATUS) == tasks.Status(
        "sh\\nUid:\t9", 1000, 1234 << 10, 100 << 10, 5 << 10, 3, 8, 9
    )
    assert tasks.parse_status(b"Name:\tkthread\nUid:\t0\t0\n") == tasks.Status(
        "kthread", 0, None, None, None, 0, 0, 0
    )
    assert tasks.parse_status(b"Name:\tcut\nUid:\t") is None
    assert tasks.parse_status(b"") is None


@pytest.mark.parametrize("name", [b"x) R 1\n(", b"\x1b]0;x\x07", b"Uid:\t0", b"a\\b"])
def test_a_real_process_with_a_hostile_name(name: bytes) -> None:
    with child(name) as pid:
        stat, status = tasks.stat(pid), tasks.status(pid)
        assert stat is not None
        assert stat.name.encode("latin-1") == name
        assert stat.parent == os.getpid()
        assert status is not None
        assert status.uid == os.getuid()


def test_a_real_process_agrees_with_ps() -> None:
    if shutil.which("ps") is None:
        pytest.skip("there is no ps")
    with child() as pid:
        words = "ppid,state,nlwp,rss,uid,etimes,comm"
        told = subprocess.run(
            ["ps", "-o", words, "--no-headers", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        stat, status = tasks.stat(pid), tasks.status(pid)
        assert stat is not None
        assert status is not None
        assert status.rss is not None
        assert [str(stat.parent), stat.state, str(stat.threads)] == told[:3]
        assert status.rss >> 10 == pytest.approx(int(told[3]), rel=0.2)
        assert stat.rss == pytest.approx(status.rss, rel=0.5)  # counted per processor, in part
        assert status.uid == int(told[4]) == tasks.owner(pid)
        # What was started just now has in ps, which rounds, an age of less than nothing: 2**32 - n.
        age = int(told[5]) if int(told[5]) < 1 << 31 else 0
        assert tasks.age(stat.started) == pytest.approx(age, abs=2)
        assert stat.name == told[6] == "sleeper"
        assert not stat.kernel


def test_all_processes_agree_with_ps() -> None:
    if shutil.which("ps") is None:
        pytest.skip("there is no ps")
    before = set(tasks.pids()[0])
    told = subprocess.run(
        ["ps", "-eo", "pid=,comm="], capture_output=True, text=True, check=True
    ).stdout
    names = {int(line.split()[0]): line.split(None, 1)[1].strip() for line in told.splitlines()}
    after = tasks.pids()[0]
    lasting = before & set(after)
    assert lasting <= set(names)
    ours = {stat.pid: stat for stat in tasks.stats(sorted(lasting))}
    same = [pid for pid, stat in ours.items() if names[pid].split(" <")[0] == stat.name.strip()]
    assert len(same) >= 0.9 * len(ours)
    assert ours[os.getpid()].kernel is False


def test_pids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PIDS_MAX", 2)
    found, more = tasks.pids()
    assert len(found) == 2
    assert more > 0


def test_a_process_that_ends_is_not_there() -> None:
    with child() as pid:
        assert tasks.stat(pid)
    assert tasks.stat(pid) is None
    assert tasks.status(pid) is None
    assert tasks.owner(pid) == -1
    assert list(tasks.stats([pid])) == []
    assert tasks.threads(pid) == ([], False)
    assert tasks.waits_in(pid) == ""
    assert tasks.oom_score(pid) is None
    assert tasks.group(pid) == ""
    assert tasks.command_line(pid) is None
    assert tasks.program(pid) is None


def test_a_dead_process_that_nobody_collected() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    try:
        for _ in range(100):
            stat = tasks.stat(pid)
            if stat is not None and stat.state == "Z":
                break
            time.sleep(0.01)
        assert stat is not None
        assert stat.state == "Z"
        status = tasks.status(pid)
        assert status is not None
        assert status.rss is None
        assert tasks.command_line(pid) == ""
        assert tasks.program(pid) is None
    finally:
        os.waitpid(pid, 0)


def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "7" / "stat").mkdir(parents=True)  # reading a directory fails for root too
    (tmp_path / "7" / "status").mkdir()
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "stat").write_bytes(b"8 (cut) S 1")
    (tmp_path / "self").mkdir()
    found, more = tasks.pids(str(tmp_path))
    assert sorted(found) == [7, 8]
    assert more == 0
    assert list(tasks.stats(found, str(tmp_path))) == []
    assert tasks.status(7, str(tmp_path)) is None


def test_how_many_there_may_be(tmp_path: Path) -> None:
    assert tasks.limit(str(tmp_path)) == 0
    limits = tmp_path / "sys" / "kernel"
    limits.mkdir(parents=True)
    (limits / "pid_max").write_text("32768\n")
    assert tasks.limit(str(tmp_path)) == 32768
    (limits / "threads-max").write_text("1000\n")
    assert tasks.limit(str(tmp_path)) == 1000


def test_threads() -> None:
    found, more = tasks.threads(os.getpid())
    assert os.getpid() in [thread.pid for thread in found]
    assert not more


def test_threads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "THREADS_MAX", 0)
    assert tasks.threads(os.getpid()) == ([], True)


def test_command_line_and_program() -> None:
    line = tasks.command_line(os.getpid())
    assert line
    assert "python" in line or "pytest" in line
    program = tasks.program(os.getpid())
    assert program
    assert Path(program).name.startswith("python")


def test_a_long_command_line_is_cut() -> None:
    with subprocess.Popen(["sleep", "60", *["0" * 1000] * 20], stderr=subprocess.DEVNULL) as long:
        time.sleep(0.05)
        line = tasks.command_line(long.pid)
        long.kill()
    assert line is not None
    assert len(line) <= tasks.COMMAND_MAX


def test_scores_and_waits() -> None:
    with child() as pid:
        score = tasks.oom_score(pid)
        assert score is not None
        assert score >= 0
        assert "\n" not in tasks.waits_in(pid)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        (b"0::/system.slice/a.service\n", "/system.slice/a.service"),
        (b"9:name=systemd:/user.slice\n0::/\n", "/user.slice"),
        (b"4:memory:/a/b\n2:cpu:/\n0::/\n", "/a/b"),
        (b"0::/with:colon\n", "/with:colon"),
        (b"", ""),
        (b"junk\n", ""),
    ],
)
def test_parse_group(text: bytes, group: str) -> None:
    assert tasks.parse_group(text) == group


@pytest.mark.parametrize(
    ("tty", "name"),
    [
        (0, ""),
        (34816, "pts/0"),
        (34819, "pts/3"),
        (136 << 8 | 300 & 0xFF | (300 & ~0xFF) << 12, "pts/300"),
        (137 << 8 | 1, "pts/257"),
        (4 << 8 | 1, "tty1"),
        (4 << 8 | 64, "ttyS0"),
        (5 << 8 | 1, "5:1"),
    ],
)
def test_terminal(tty: int, name: str) -> None:
    assert tasks.terminal(tty) == name
