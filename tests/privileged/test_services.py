"""A real systemd, in namespaces of its own: which units it says have failed, and that it hangs."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands.observed import ROOT

SYSTEMD = "/usr/lib/systemd/systemd"
# What systemd wants to find: a /run, its own hierarchy of groups, and units, of which one fails.
BOOT = """
mount -t tmpfs t /run
mkdir /run/systemd
if test "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs; then
    mount -t tmpfs t /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified 2>/dev/null || true
    mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd
fi
mount -t tmpfs t /etc/systemd/system
cd /etc/systemd/system
printf '[Unit]\\nDefaultDependencies=no\\nWants=bad.service good.service\\n' >tiny.target
printf '[Unit]\\nDescription=Bad \\033[2J one\\nDefaultDependencies=no\\n' >bad.service
printf '[Service]\\nExecStart=/bin/false\\n' >>bad.service
printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=/bin/sleep 99\\n' >good.service
mount -t tmpfs -o size=1m,mode=700 t /mnt
"""
EXEC = f"exec {SYSTEMD} --system --unit=tiny.target --log-target=null --show-status=no"


class Host:
    """The namespaces that a systemd runs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def says(self, line: str) -> Any:
        """Return a command's answer in there, from JSON."""
        inside = shlex.join([sys.executable, "-m", "tests.commands.observed", f"{line} --json"])
        run = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-p", "-m", "sh", "-c", f"cd {ROOT} && {inside}"],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            timeout=30,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
        return json.loads(run.stdout.partition(b"\0")[0])


def wait(until: Callable[[], object]) -> bool:
    for _ in range(200):
        if until():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    if os.geteuid() or not all(map(shutil.which, (SYSTEMD, "unshare", "nsenter"))):
        pytest.skip("needs root, systemd, unshare and nsenter")
    unshare = "unshare -p -f -m -u -i --mount-proc --propagation private --kill-child sh -euc"
    run = subprocess.Popen(
        [*unshare.split(), BOOT + EXEC],
        env={"container": "other", "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")

    def socket() -> bool:
        try:
            pid = children.read_text().split()[0]
        except (OSError, IndexError):
            return False
        return Path("/proc", pid, "root", "run", "systemd", "private").exists()

    try:
        if not wait(lambda: socket() or run.poll() is not None) or run.poll() is not None:
            pytest.skip("systemd does not start in namespaces here")
        yield Host(int(children.read_text().split()[0]))
    finally:
        run.kill()
        run.wait()


def failed(host: Host) -> list[str]:
    return [unit["name"] for unit in host.says("services")["units"]]


def test_what_systemd_says_has_failed(host: Host) -> None:
    assert wait(lambda: failed(host) == ["bad.service"])
    said = host.says("services")
    assert said["absent"] is said["silent"] is None
    systemctl = subprocess.run(
        ["nsenter", "-t", str(host.pid), "-p", "-m", "systemctl", "--failed", "--plain", "-q"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line.split()[0] for line in systemctl.splitlines() if line] == ["bad.service"]


def test_triage_names_it(host: Host) -> None:
    assert wait(lambda: failed(host) == ["bad.service"])
    (said,) = [one for one in host.says("triage")["findings"] if one["area"] == "SERVICES"]
    assert (said["rule"], said["severity"]) == ("unit_failed", "WARN")
    assert said["text"].startswith("bad.service (Bad ")
    assert "\x1b" not in said["text"]
    assert said["next"] == ["services"]


def test_a_disk_that_is_full_explains_it(host: Host) -> None:
    inside = ["nsenter", "-t", str(host.pid), "-p", "-m", "sh", "-c"]
    subprocess.run([*inside, "head -c 1m /dev/zero >/mnt/x"], check=True, capture_output=True)
    try:
        found = host.says("triage")["findings"]
    finally:
        subprocess.run([*inside, "rm /mnt/x"], check=True)
    (full,) = [one for one in found if one["text"] == "/mnt is 100 % full, 0 B left"]
    (unit,) = [one for one in found if one["rule"] == "unit_failed"]
    assert full["number"] < unit["number"]
    assert unit["because"] == full["number"]


def test_what_was_started_is_a_change(host: Host) -> None:
    assert "good.service" in [unit["name"] for unit in host.says("changes --since 1h")["units"]]


def test_a_systemd_that_hangs(host: Host) -> None:
    os.kill(host.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        said = host.says("services")
        assert time.monotonic() - began < 5
        assert said["silent"] == "it does not answer in 1.0 s"
        triage = host.says("triage")
        (first,) = [one for one in triage["findings"] if one["area"] == "SERVICES"]
        assert (first["rule"], first["severity"]) == ("systemd_silent", "BROKEN")
        assert triage["seconds"] < 2
    finally:
        os.kill(host.pid, signal.SIGCONT)
