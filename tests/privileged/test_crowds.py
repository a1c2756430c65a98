"""10,000 processes and 50,000 sockets: what is said stays a screen, and says what it left out.

The bounds are generous, and of processor time, which a busy machine does not make longer: they
tell a cost for each of them from a cost that grows with their square, not a fast machine from a
slow one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest
from tests.commands.fitting import check
from tests.commands.observed import ROOT
from tests.privileged.crowded import NO_ROOM

from panicdoor.commands import listeners, memory, processes

MANY_PROCESSES = 10_000
MANY_SOCKETS = 50_000
CPU_S = 8.0  # seconds for one answer: 0.1 ms for each process, and a machine ten times slower
GROWTH = 48 << 20  # bytes, of all answers together
LINES = {
    "processes": ("processes", "processes --json", "memory", "memory --json", "triage", "who"),
    "sockets": ("sockets", "sockets --json", "listeners", "listeners --json", "triage"),
}


@cache
def crowd(kind: str, number: int) -> dict[str, tuple[str, float, int]]:
    """Return what each line of LINES said in such a crowd, its seconds, and the growth so far."""
    if os.geteuid() or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("namespaces need root, unshare(1) and ip(8)")
    own = ["unshare", "-p", "-n", "-f", "--kill-child", "--mount-proc", "--propagation", "private"]
    run = subprocess.run(
        [*own, sys.executable, "-m", "tests.privileged.crowded", kind, str(number), *LINES[kind]],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=300,
        check=False,
    )
    if run.returncode == NO_ROOM:
        pytest.skip(f"this machine has no room for {number} {kind}: {run.stdout.strip()}")
    assert run.returncode == 0, run.stderr
    return dict(zip(LINES[kind], map(json.loads, run.stdout.splitlines()), strict=True))


CROWDS = [("processes", MANY_PROCESSES), ("sockets", MANY_SOCKETS)]


@pytest.mark.parametrize(("kind", "number"), CROWDS)
def test_the_cost_is_bounded(kind: str, number: int) -> None:
    for line, (text, seconds, grown) in crowd(kind, number).items():
        assert seconds < CPU_S, line
        assert grown < GROWTH, line
        if "--json" in line:
            check(line, json.loads(text))
        else:
            assert max(map(len, text.split("\n"))) <= 80


def test_processes_say_what_they_left_out() -> None:
    found = crowd("processes", MANY_PROCESSES)
    text = found["processes"][0]
    assert text.count("\n") <= 24
    (more,) = re.findall(r"^\((\d+) more processes left out\)$", text, re.MULTILINE)
    assert int(more) == MANY_PROCESSES - processes.ROWS_SHOWN
    said = json.loads(found["processes --json"][0])
    assert len(said["processes"]) == processes.ROWS_MAX
    assert said["left_out"] == MANY_PROCESSES - processes.ROWS_MAX
    assert sum(said["states"].values()) == MANY_PROCESSES + 1  # and the one that looks


def test_memory_says_what_it_left_out() -> None:
    found = crowd("processes", MANY_PROCESSES)
    more = MANY_PROCESSES + 1 - memory.OWNERS_SHOWN
    assert f"({more} more smaller processes left out)\n" in found["memory"][0]
    said = json.loads(found["memory --json"][0])
    assert said["left_out"]["processes"] == MANY_PROCESSES + 1 - memory.OWNERS_MAX
    assert said["together"][0]["number"] >= MANY_PROCESSES


def test_sockets_are_counted_or_it_is_said_that_they_are_not() -> None:
    found = crowd("sockets", MANY_SOCKETS)
    said = json.loads(found["sockets --json"][0])
    counted = sum(one["count"] for one in said["states"])
    assert (
        counted >= MANY_SOCKETS or said["cut"] == f"only the first {counted} sockets were counted"
    )
    assert "udp  " in found["sockets"][0]


def test_listeners_say_what_they_left_out() -> None:
    found = crowd("sockets", MANY_SOCKETS)
    said = json.loads(found["listeners --json"][0])
    assert len(said["listeners"]) == listeners.ROWS_MAX
    assert said["left_out"] > 0
    assert said["cut"]
    text = found["listeners"][0]
    assert f"({said['left_out']} more sockets left out)\n" in text
    assert f"(only {listeners.LISTENERS_MAX} sockets of a protocol were read)\n" in text
