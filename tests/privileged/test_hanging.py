"""A real door on a host where a mount does not answer, and a process hangs in it.

The mount is a file system in the hands of a process that never reads what it is asked (FUSE), in a
mount namespace of the door's own. Whoever touches it waits until he is killed.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.looking import document, told
from tests.clients.programs import need, run
from tests.logins import People, inhabited
from tests.running import wait_for

from panicdoor.processes.errands import ERRAND_S

NAME = "stuck\\x1b[2J"  # of the process that hangs, as it is shown
AT_ONCE = 5.0  # seconds, on a machine that is busy: much less than a deadline
# Mounts, leaves two children behind (who holds the mount, and who hangs in it), and becomes another
# program. A signal that is caught turns the wait into one that no signal but SIGKILL ends.
DEAD = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/fuse", os.O_RDWR)
data = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"dead", sys.argv[1].encode(), b"fuse.dead", 0, data):
    sys.exit(77)
def hold():
    time.sleep(600)
def hang():
    libc.prctl(15, b"stuck\\x1b[2J", 0, 0, 0)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    os.stat(sys.argv[1])
for work in (hold, hang):
    reader, writer = os.pipe()
    if not os.fork():
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        os.write(writer, b".")
        work()
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
os.close(fd)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[People, str]]:
    """A door, and the mount point that does not answer."""
    if os.geteuid() or shutil.which("unshare") is None or not Path("/dev/fuse").exists():
        pytest.skip("needs root, unshare(1) and FUSE")
    need("ssh", "ssh-keygen")
    folder = tmp_path_factory.mktemp("dead")
    point = folder / "a place\x1b[2J"
    point.mkdir()
    script = folder / "dead.py"
    script.write_text(DEAD)
    own = ("unshare", "--mount", "--propagation", "private")
    probe = run(*own, sys.executable, str(script), str(point), "true")
    if probe.returncode:
        pytest.skip("nothing can be mounted here")
    prefix = (*own, sys.executable, str(script), str(point))
    with inhabited(folder / "house", extra=False, prefix=prefix) as people:
        yield people, str(point).replace("\x1b", "\\x1b")


def test_a_process_that_hangs_is_a_finding(dead: tuple[People, str]) -> None:
    people, _ = dead
    began = time.monotonic()
    wait_for(lambda: any(NAME in said for said in document(people, "processes")["findings"]))
    text = told(people, "processes")
    assert time.monotonic() - began < 2 * AT_ONCE
    first, table = text.split("\n", 1)
    assert first.startswith("! ")
    assert "cannot be killed (D)" in first
    assert NAME in text
    (row,) = [line for line in table.split("\n") if NAME in line and " D " in line]
    assert "  WAITS IN\n" in table
    assert row.split()[0].isdecimal()


def test_one_in_detail(dead: tuple[People, str]) -> None:
    people, _ = dead
    (pid,) = [one["pid"] for one in document(people, "processes")["processes"] if one["stuck"]]
    said = document(people, f"processes {pid}")["process"]
    assert (said["name"], said["state"]) == (NAME, "D")
    assert "waits in fuse" in said["facts"]["state"] or "answer" in said["facts"]["state"]


@pytest.mark.parametrize("line", ["mounts", "disks", "triage", "certificates", "changes"])
def test_what_does_not_answer_is_named_and_not_touched(dead: tuple[People, str], line: str) -> None:
    people, point = dead
    began = time.monotonic()
    told(people, line)
    said = document(people, line)
    assert time.monotonic() - began < 2 * AT_ONCE
    if line == "mounts":
        (mine,) = [one for one in said["mounts"] if one["point"] == point]
        assert (mine["state"], mine["type"]) == ("waiting", "fuse.dead")
        assert "not asked" in told(people, line)
    if line == "disks":
        assert said["not_asked"] == [point]
        assert "(not asked: " in told(people, line)
    if line == "triage":
        assert [one["why"] for one in said["unknown"] if one["what"] == point] == [
            "fuse.dead: not asked"
        ]


def test_whoever_asks_it_all_the_same_costs_one_worker(dead: tuple[People, str]) -> None:
    people, point = dead
    before = people.door.places()
    began = time.monotonic()
    done = run(*people.ssh("alice"), "disks --all", seconds=60)
    assert time.monotonic() - began < ERRAND_S + AT_ONCE
    assert done.returncode == 1
    assert done.stdout.decode().endswith(f"asking {point} (fuse.dead) ...\n")
    assert b"did not answer in 10 seconds" in done.stderr
    began = time.monotonic()
    document(people, "disks")
    assert time.monotonic() - began < AT_ONCE
    now = people.door.places()
    changed = [place for place in before if now[place] != before[place]]
    assert [place[:-1] for place in changed if "spare" not in place] == ["worker"]
