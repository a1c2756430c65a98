"""Real trouble, made as root: triage names it before everything else that is new.

Machines that run tests have troubles of their own, and other tests make some; so each test compares
with what triage said before. Rules about processors are left out: tests keep them busy.
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

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trouble needs root")


def new(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return the findings that were not there before, in their order."""
    known = {(one["rule"], one["text"][:12]) for one in before["findings"]}
    rules = {one["rule"] for one in before["findings"]} & {"login_fails", "kernel_says"}
    return [
        one
        for one in after["findings"]
        if one["rule"] not in NOISE | rules and (one["rule"], one["text"][:12]) not in known
    ]


def here(setup: str) -> Any:
    """Return what triage says in namespaces of its own, after a shell's `setup`."""
    return json.loads(in_namespaces(setup, "triage --json")[0])


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


def test_a_full_file_system() -> None:
    before = here("mount -t tmpfs -o size=8m t /mnt")
    after = here("mount -t tmpfs -o size=8m t /mnt; head -c 8m /dev/zero >/mnt/x")
    first, *_ = new(before, after)
    assert (first["rule"], first["severity"]) == ("file_system_full", "BROKEN")
    assert first["text"] == "/mnt is 100 % full, 0 B left"
    assert [one for one in new(before, before) if one["area"] == "DISK"] == []


def test_a_mount_with_a_hostile_name() -> None:
    setup = 'mkdir "$(printf "/mnt/x\\033[2J\\n y")" 2>/dev/null || true\n'
    setup += 'mount -t tmpfs -o size=4m t "$(printf "/mnt/x\\033[2J\\n y")"\n'
    setup += 'head -c 4m /dev/zero >"$(printf "/mnt/x\\033[2J\\n y")/x"'
    first, *_ = new(here("true"), here(f"mount -t tmpfs t /mnt\n{setup}"))
    assert first["text"].startswith("/mnt/x\\x1b[2J\\x0a y is 100 % full")


def test_inodes_that_are_gone() -> None:
    mount = "mount -t tmpfs -o nr_inodes=20 t /mnt"
    first, *_ = new(here(mount), here(f"{mount}; cd /mnt; touch $(seq 19)"))
    assert first["rule"] == "inodes_gone"
    assert "/mnt has 0 of 20 inodes left" in first["text"]


def test_deleted_files_that_are_open() -> None:
    mount = "mount -t tmpfs -o size=8m t /mnt"
    holder = "sh -c 'exec 9>/mnt/x; head -c 8m /dev/zero >&9; rm /mnt/x; echo >/run/ready;"
    setup = f"{mount}; mount -t tmpfs t /run; {holder} exec timeout 9 sleep 9' >/dev/null 2>&1 &\n"
    setup += "while ! test -e /run/ready; do sleep 0.05; done"
    first, second, *_ = new(here(mount), here(setup))
    assert (first["rule"], second["rule"]) == ("deleted_open", "file_system_full")
    assert first["text"].startswith("8.0 MiB of /mnt are of deleted files that ")
    assert second["because"] == first["number"]
    assert first["severity"] == second["severity"] == "BROKEN"


def test_a_file_system_that_was_made_read_only() -> None:
    mount = "mount -t tmpfs t /mnt; mkdir /mnt/a; mount --bind /mnt/a /opt"
    first, *_ = new(here(mount), here(f"{mount}; mount -o remount,ro /mnt"))
    assert (first["rule"], first["severity"]) == ("read_only", "BROKEN")
    assert first["text"].startswith("/opt (tmpfs) was made read-only")


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


def test_a_process_without_descriptors() -> None:
    before = document("triage")
    code = (
        "import os, resource, time; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "try:\n  while True: os.open('/dev/null', os.O_RDONLY)\nexcept OSError: pass\n"
        "os.write(1, b'ready\\n'); time.sleep(60)"
    )
    with python(code) as child:
        first, *_ = new(before, document("triage"))
    assert (first["rule"], first["severity"]) == ("process_descriptors", "BROKEN")
    assert f"(pid {child.pid}) has 256 of its 256 descriptors" in first["text"]


def test_a_listener_that_is_gone(tmp_path: Path) -> None:
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    start = (
        "ip link set lo up 2>/dev/null || true; mount -t tmpfs t /run; mkdir -m 755 /run/sshd; "
        f"/usr/sbin/sshd -f /dev/null -h {key} -p 22 -o PidFile=/run/pid; "
        "while ! test -e /run/pid; do sleep 0.05; done"
    )
    before = here(f"{start}; (sleep 4; kill $(cat /run/pid)) >/dev/null 2>&1 &")
    after = here(f"{start}; kill $(cat /run/pid); sleep 0.3")
    logins = [one for one in before["findings"] if one["rule"] == "login_fails"]
    assert [one for one in logins if "listener" in one["text"] or "banner" in one["text"]] == []
    (first,) = [one for one in after["findings"] if one["rule"] == "login_fails"]
    assert first["text"] == "ssh fails at stage listener: sshd does not run: nobody listens"
    assert first["severity"] == "BROKEN"


def test_a_certificate_that_has_ended(tmp_path: Path) -> None:
    openssl = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=web1"]
    made = subprocess.run(
        [*openssl, "-keyout", "/dev/null", "-out", tmp_path / "c.pem", "-days", "5"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl makes no such certificate here")
    setup = f"mount -t tmpfs t /etc/ssl; cp {tmp_path}/c.pem /etc/ssl/"
    after = here(setup)
    if "certs" in {one["what"] for one in after["unknown"]}:
        pytest.skip("this machine's own trouble keeps triage from reading certificates")
    (first,) = [one for one in after["findings"] if one["rule"] == "certificate_ends"]
    assert first["text"].startswith("the certificate of web1 ends in 5 d (/etc/ssl/c.pem)")


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
            seconds = min(document("triage")["seconds"] for _ in range(5))
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert seconds < 0.6  # 0.3 on a machine that does nothing else
