"""The command processes: real ones, stuck ones, dead ones, and names meant to deceive."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.commands.asking import document, is_an_observer, parts, screen
from tests.kernel.test_tasks import child

from panicdoor.commands import processes
from panicdoor.commands.processes import Process, Report, look, wrong
from panicdoor.commands.registry import COMMANDS
from panicdoor.errors import CommandError
from panicdoor.kernel import cgroups, tasks

QUIET = Report({"S": 3}, 3, 4, 32768, 1.0, (), 0, (), 0, {}, {0: 4}, ())
STUCK = tasks.Stat(2**22 + 1, "nfsd\x1b[2J", "D", 1, 0, False, 5, 1, 100, 0)


def test_it_only_looks() -> None:
    is_an_observer("processes")


def test_the_screen_fits() -> None:
    text = screen("processes")
    assert text.count("\n") <= 24
    assert re.search(r"^ *PID  USER +S  THR  +CPU  +RSS  +AGE  NAME", text, re.MULTILINE)


def test_numbers_agree_with_the_kernel() -> None:
    before = len(tasks.pids()[0])
    said = document("processes")
    after = len(tasks.pids()[0])
    assert sum(said["states"].values()) == pytest.approx((before + after) / 2, abs=100)
    assert said["threads"] >= sum(said["states"].values())
    with open("/proc/sys/kernel/pid_max") as file:
        assert said["limit"] <= int(file.read())
    assert len(said["processes"]) <= processes.ROWS_MAX
    assert os.getpid() not in [process["pid"] for process in said["processes"]]
    assert set(said["processes"][0]) == {
        "pid", "name", "state", "parent", "uid", "threads", "cpu", "rss", "age", "stuck",
        "waits_in",
    }  # fmt: skip


def test_a_busy_process_is_found_with_its_share() -> None:
    pid = os.fork()
    if not pid:
        while True:
            pass
    try:
        time.sleep(0.05)
        before = tasks.stat(pid), time.monotonic()
        (busy,) = [process for process in look().shown if process.stat.pid == pid]
        after = tasks.stat(pid), time.monotonic()
        assert before[0] is not None
        assert after[0] is not None
        used = (after[0].ticks - before[0].ticks) / tasks.HZ / (after[1] - before[1])
        assert busy.cpu == pytest.approx(100 * used, abs=35)  # ticks, and a machine that is shared
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("name", [b"x) R 1\n(", b"\x1b]0;x\x07\xff", b"a\\x41"])
def test_hostile_names_are_harmless_and_can_be_asked_for(name: bytes) -> None:
    with child(name) as pid:
        (said,) = [one for one in document("processes")["processes"] if one["pid"] == pid]
        assert (said["state"], said["parent"]) == ("S", os.getpid())
        text = screen(f"processes '{said['name']}'", wide=True)
        assert f"asking {pid} ({said['name']}) ...\n" in text


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("nosuchprocess", "no process is called nosuchprocess now"),
        ("4194399", "no process has the pid 4194399 now"),
        ("9" * 300, "no process has the pid"),
        ("'" + "x" * 200 + "'", "no process is called xxx"),
    ],
)
def test_who_is_not_there(which: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        parts(f"processes {which}")


def test_one_look_knows_who_is_there_and_not_who_is_busy() -> None:
    report, before = processes.once(9999)
    assert {one.cpu for one in report.shown} == {0.0}
    assert (report.forks, report.stuck_count, report.uncollected) == (0.0, 0, {})
    assert os.getppid() in {one.stat.pid for one in report.shown}
    assert os.getpid() in before.processes
    assert report.processes == len(before.processes) == sum(report.states.values())
    largest = max(report.shown, key=lambda one: one.stat.rss)
    assert report.shown[0].stat.rss == largest.stat.rss


def test_the_second_look_waits_only_for_what_is_left() -> None:
    _, before = processes.once()
    time.sleep(processes.INTERVAL_S)
    began = time.monotonic()
    assert look(before).processes > 1
    assert time.monotonic() - began < processes.INTERVAL_S


def test_nothing_is_wrong_on_a_quiet_host() -> None:
    assert list(wrong(QUIET)) == []


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (replace(QUIET, threads=30000), "30000 tasks of 32768 that the kernel allows (92 %"),
        (
            replace(QUIET, groups=(cgroups.Limit("/x", 10, 10, 5, 0),)),
            "group /x has 10 of its 10 tasks; 5 forks were refused",
        ),
        (
            replace(QUIET, stuck=(STUCK,), stuck_count=9),
            "9 wait in the kernel and cannot be killed (D): "
            f"{STUCK.pid} (nfsd\x1b[2J) in ? and 8 more",
        ),
        (
            replace(QUIET, stuck=(STUCK,), stuck_count=1),
            f"1 waits in the kernel and cannot be killed (D): {STUCK.pid} (",
        ),
        (
            replace(QUIET, uncollected={2**22 + 1: 12}),
            f"dead processes (Z) that nobody collects: 12 of {2**22 + 1} (?)",
        ),
        (replace(QUIET, forks=900.0), "900 new processes per second (normal below 500)"),
    ],
)
def test_what_is_wrong(report: Report, said: str) -> None:
    (found,) = wrong(report)
    assert found.startswith(said)
    text = "".join(processes._lines(report))
    assert text.isascii()
    assert text.startswith("! ")
    assert max(map(len, text.split("\n"))) <= 80


def test_a_process_that_is_really_stuck(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pid = os.fork()
    if not pid:
        # posix_spawn(3) waits in state D until its child has a program, and that waits for us.
        actions = [(os.POSIX_SPAWN_OPEN, 0, str(pipe), os.O_RDONLY, 0)]
        os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions)
        os._exit(0)
    try:
        for _ in range(200):
            stat = tasks.stat(pid)
            if stat is not None and stat.state == "D":
                break
            time.sleep(0.01)
        else:
            pytest.skip("this C library does not let posix_spawn wait in state D")
        report = look()
        assert report.shown[0].stat.pid == pid
        (said,) = [said for said in wrong(report) if "(D)" in said]
        assert f"{pid} (" in said
        assert document("processes")["processes"][0]["stuck"]
        assert f"stuck     {pid} in " in screen(f"processes {pid}", wide=True)
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # wakes the reader
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_all_states_at_once_are_wrapped() -> None:
    states = dict.fromkeys("SDIRZTtX\x1b", 10000)
    lines = "".join(processes._lines(replace(QUIET, states=states))).split("\n")
    assert "by state: 10000 S, 10000 D, " in lines[2]
    assert max(map(len, lines)) <= 80


def test_a_few_dead_ones_are_told_but_no_finding() -> None:
    pids = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            os._exit(0)
        pids.append(pid)
    try:
        time.sleep(0.05)
        report = look()
        assert report.uncollected[os.getpid()] >= 3
        assert report.states["Z"] >= 3
        few = replace(report, uncollected={os.getpid(): 3})
        assert not [said for said in wrong(few) if "Z" in said]
        assert f"not collected (Z): 3 of {os.getpid()}" in "".join(processes._lines(few))
    finally:
        for pid in pids:
            os.waitpid(pid, 0)


def test_stuck_is_who_waits_and_does_nothing() -> None:
    first = {7: (100, 5, "D", time.monotonic() - 0.2)}
    tally = processes._Tally(first, "")
    still = STUCK._replace(pid=7)
    assert tally._compare(still).stuck
    for other in (
        still._replace(state="S"),
        still._replace(ticks=6),
        still._replace(started=101),
        still._replace(pid=8),
    ):
        assert not tally._compare(other).stuck
    assert tally._compare(still._replace(ticks=15)).cpu == pytest.approx(50, rel=0.1)


def test_the_worst_come_first_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    report = look(most=3)
    assert len(report.shown) == 3
    assert report.more == report.processes - 3 - 1  # this one looks
    order = [(p.stuck, p.cpu, p.stat.rss) for p in report.shown]
    assert order == sorted(order, reverse=True)
    rows = tuple(Process(STUCK._replace(pid=n), 0.0, True) for n in range(20))
    text = "".join(processes._lines(replace(QUIET, shown=rows, more=100)))
    assert "  WAITS IN\n" in text
    assert "(105 more processes left out)\n" in text


def test_what_comes_first_is_what_was_asked_for() -> None:
    for by, value in (("memory", "rss"), ("threads", "threads")):
        shown = [p.stat for p in look(by=by).shown if not p.stuck]
        assert [getattr(stat, value) for stat in shown] == sorted(
            (getattr(stat, value) for stat in shown), reverse=True
        )
    assert document("processes --by memory")["processes"]
    with pytest.raises(CommandError, match="--by is cpu or memory or threads, not 'name'"):
        document("processes --by name")


def test_every_order_that_is_offered_is_there() -> None:
    (by,) = [a for a in COMMANDS["processes"].arguments if a.name == "by"]
    assert by.choices == tuple(processes._ORDERS)
