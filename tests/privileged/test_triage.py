"""Real trouble, made as root: triage names it before everything else that is new.

Machines that run tests have troubles of their own, and other tests make some; so each test compares
with what triage said before. Rules about processors are left out: tests keep them busy. What fits
into namespaces is in test_triage_quiet.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.commands.asking import document
from tests.commands.observed import in_namespaces
from tests.privileged.groups import group

from panicdoor.commands import kernel

NOISE = {"cpu_waits", "load_high", "forks_many", "stolen", "losses", "disk_slow", "io_waits"}

STALLED = 1.5  # percent of the last 10 s, clearly above what is normal

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trouble needs root")


def new(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return the findings that were not there before, in their order.

    What could not be looked at before, on a machine that hardly moves, may have been there.
    """
    known = {(one["rule"], one["text"][:12]) for one in before["findings"]}
    unknown = {one["what"].upper() for one in before["unknown"]}
    rules = {one["rule"] for one in before["findings"]} & {"login_fails", "kernel_says"}
    return [
        one
        for one in after["findings"]
        if one["area"] not in unknown
        and one["rule"] not in NOISE | rules
        and (one["rule"], one["text"][:12]) not in known
    ]


def full(pressure: Path) -> float:
    """Return how much of the last 10 s all tasks waited."""
    return float(pressure.read_text().partition("full avg10=")[2].split()[0])


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that prints a line when it has done its damage."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()
        child.stdout.close()  # whatever it has started may hold the other end


def test_a_host_that_does_not_change_is_told_the_same() -> None:
    before = document("triage")
    assert new(before, document("triage")) == []


def test_a_group_that_needs_all_its_memory() -> None:
    before = document("triage")
    with group("memory") as made:
        made.limit("memory", 64 << 20)
        # Into the group before it takes anything, or another group pays for it.
        code = f"open({made.procs!r}, 'w').write('0'); x = bytearray(b'x') * (60 << 20)\n"
        with python(f"{code}print('ready', flush=True); import time; time.sleep(60)"):
            first, *_ = new(before, document("triage"))
    assert (first["rule"], first["area"]) == ("group_memory", "MEMORY")
    assert made.name in first["text"]
    assert "of its 64.0 MiB" in first["text"]


def test_a_group_full_of_file_cache_is_no_trouble(tmp_path: Path) -> None:
    before = document("triage")
    with group("memory") as made:
        made.limit("memory", 32 << 20)
        code = (
            f"open({made.procs!r}, 'w').write('0'); f = open({str(tmp_path / 'f')!r}, 'wb')\n"
            "for _ in range(40): f.write(bytes(1 << 20)); f.flush(); import os; os.fsync(f)\n"
        )
        with python(f"{code}print('ready', flush=True); import time; time.sleep(60)"):
            assert [one for one in new(before, document("triage")) if one["area"] == "MEMORY"] == []


def test_a_group_with_all_its_tasks() -> None:
    before = document("triage")
    with group("pids") as made:
        made.limit("pids", 2)
        code = (
            f"import os, time; open({made.procs!r}, 'w').write('0')\n"
            "pid = os.fork()\nif not pid: time.sleep(60)\n"
            "try: os.fork()\nexcept BlockingIOError: print('ready', flush=True)\n"
            "try: time.sleep(60)\nfinally: os.kill(pid, 9)\n"
        )
        try:
            with python(code):
                said = document("triage")
        finally:
            made.kill()
    first, *_ = new(before, said)
    assert (first["rule"], first["severity"]) == ("group_tasks", "BROKEN")
    assert f"group /{made.name} has all the 2 tasks" in first["text"]
    told = [one for one in said["findings"] if one["text"].startswith("fork refused")]
    assert all(one["because"] is not None for one in told)


def test_a_process_that_hangs(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = document("triage")
    pid = os.fork()
    if not pid:
        # posix_spawn(3) waits in state D until its child has a program, and that waits for us.
        actions = [(os.POSIX_SPAWN_OPEN, 0, str(pipe), os.O_RDONLY, 0)]
        os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions)
        os._exit(0)
    try:
        for _ in range(200):
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
            if state == b"D":
                break
            time.sleep(0.01)
        else:
            pytest.skip("this C library does not let posix_spawn wait in state D")
        after = document("triage")
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # wakes the reader
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    first, *_ = new(before, after)
    assert first["rule"] == "stuck"
    assert f"(pid {pid})" in first["text"]
    assert first["next"] == [f"processes {pid}"]
    reasons = {one["what"]: one["why"] for one in after["unknown"]}
    assert reasons["certs"] == "not read, as a process hangs"


def test_what_programs_write_among_the_kernels_messages_is_no_finding() -> None:
    before = document("triage")
    try:
        with open("/dev/kmsg", "wb", buffering=0) as log:
            log.write(b"<3>EXT4-fs error (device sda1): ext4_lookup:1: deleted inode\n")
            log.write(b"<0>Kernel panic - not syncing: \x1b[2J\n")
    except OSError as error:
        pytest.skip(f"/dev/kmsg cannot be written: {error.strerror}")
    assert [one for one in new(before, document("triage")) if one["area"] == "KERNEL"] == []


def test_what_the_kernel_itself_says_is() -> None:
    with group("pids") as made:
        made.limit("pids", 1)
        code = (
            f"import os; open({made.procs!r}, 'w').write('0')\n"
            "try: os.fork()\nexcept BlockingIOError: pass\nprint('ready', flush=True); input()"
        )
        with python(code):
            pass
    if not any(one.complaint.name == "fork refused" for one in kernel.look().classes):
        pytest.skip("this kernel does not write of refused forks here")
    said = [one for one in document("triage")["findings"] if one["rule"] == "kernel_says"]
    assert any(one["text"].startswith("fork refused, ") for one in said)


@pytest.mark.parametrize("number", [500])
def test_many_processes_are_no_reason_to_be_slow(number: int) -> None:
    code = (
        f"import os, time\nfor _ in range({number}):\n"
        "  if not os.fork(): time.sleep(60); os._exit(0)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with python(f"import os; os.setpgid(0, 0)\n{code}") as child:
        try:
            document("triage")
            began = time.process_time()
            seconds = min(document("triage")["seconds"] for _ in range(5))
            spent = (time.process_time() - began) / 5
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert spent < 0.3
    assert seconds < 0.6  # 0.1 on a machine that does nothing else


def test_memory_that_all_wait_for(tmp_path: Path) -> None:
    """A file that does not fit into the group of those who read it is read again and again."""
    waits = Path("/proc/pressure/memory")
    if not waits.exists():
        pytest.skip("this kernel does not tell pressure")
    before = document("triage")
    file = tmp_path / "file"
    with group("memory") as made, file.open("wb") as written:
        for _ in range(64):
            written.write(os.urandom(1 << 20))
        written.flush()
        os.fsync(written.fileno())
        made.limit("memory", 24 << 20)
        code = (
            f"import mmap, os, time; open({made.procs!r}, 'w').write('0')\n"
            f"file = open({str(file)!r}, 'rb'); fd = file.fileno()\n"
            "os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
            "seen = mmap.mmap(fd, 0, prot=mmap.PROT_READ)\nprint('ready', flush=True)\n"
            "until = time.monotonic() + 30\n"
            "while time.monotonic() < until:\n"
            "  for at in range(0, len(seen), 4096): seen[at]\n"
        )
        with python(code), python(code), python(code):
            until = time.monotonic() + 12
            while time.monotonic() < until and full(waits) <= STALLED:
                time.sleep(0.2)
            said = document("triage")
            share = full(waits)
    if share <= STALLED:
        pytest.skip(f"others are so busy that all tasks waited only {share} % of the time")
    first = next(one for one in new(before, said) if one["area"] == "MEMORY")
    assert first["rule"] == "memory_stalled"
    assert first["text"].startswith("all tasks waited for memory ")


def test_a_process_that_is_killed_for_memory_is_explained_by_its_group() -> None:
    with group("memory") as made:
        made.limit("memory", 64 << 20)
        join = f"open({made.procs!r}, 'w').write('0')\n"
        chosen = "open('/proc/self/oom_score_adj', 'w').write('1000')\n"
        holds = "x = bytearray(b'x') * (60 << 20); print('ready', flush=True)\n"
        with python(f"{join}{holds}import time; time.sleep(60)"):
            grows = subprocess.run(
                [sys.executable, "-c", f"{join}{chosen}x = bytearray(b'x') * (40 << 20)"],
                check=False,
            )
            said = document("triage")["findings"]
    assert grows.returncode == -signal.SIGKILL
    (cause,) = [one for one in said if made.name in one["text"] and one["area"] == "MEMORY"]
    assert "of its processes were killed for it" in cause["text"]
    killed = [one for one in said if one["text"].startswith("out of memory, ")]
    if not killed:
        pytest.skip("this kernel does not write of killed processes here")
    assert killed[0]["because"] == cause["number"]
    assert killed[0]["number"] > cause["number"]


def test_a_sshd_that_cannot_fork_is_explained_by_its_group(tmp_path: Path) -> None:
    """pids at their limit -> fork fails -> nobody can log in: all of it real."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with group("pids") as made:
        made.limit("pids", 1)
        sshd = f"/usr/sbin/sshd -D -f /dev/null -h {key} -p 22 -o PidFile=/run/pid"
        (answer,) = in_namespaces(
            "ip link set lo up; mount -t tmpfs t /run; mkdir -m 755 /run/sshd\n"
            f"sh -c 'echo 0 >{made.procs}; exec {sshd}' >/dev/null 2>&1 &\n"
            "for _ in $(seq 200); do test ! -e /run/pid || break; sleep 0.05; done",
            "triage --json",
        )
    found = json.loads(answer)["findings"]
    (cause,) = [one for one in found if f"group /{made.name} has all" in one["text"]]
    logins = [one for one in found if one["rule"] == "login_fails"]
    assert logins
    assert {one["because"] for one in logins} == {cause["number"]}
    assert cause["severity"] == "BROKEN"
    refused = [one for one in found if one["text"].startswith("fork refused, ")]
    assert {one["because"] for one in refused} <= {cause["number"]}
