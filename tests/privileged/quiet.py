"""A host with nothing wrong, on whatever machine: what `triage` says there after some trouble.

Its mounts, network and processes are namespaces of its own, its sshd is a real one. What there is
only once on a machine, and others disturb (pressure, load, disks, the kernel's messages, groups),
stands still, as a file put over it. The clock is the machine's: nobody else has another.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from typing import Any

import pytest
from tests.commands.observed import ROOT

from panicdoor.kernel import clock

QUIET = """
wait_for() { for _ in $(seq 200); do test ! -e $1 || return 0; sleep 0.05; done; return 1; }
ip link set lo up
mount -t tmpfs t /run
mkdir -m 755 /run/sshd
printf 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\\n' >/run/psi
printf 'full avg10=0.00 avg60=0.00 avg300=0.00 total=0\\n' >>/run/psi
for file in /proc/pressure/*; do test ! -e $file || mount --bind /run/psi $file; done
printf '0.10 0.10 0.10 1/100 9\\n' >/run/load
mount --bind /run/load /proc/loadavg
for name in stat diskstats vmstat; do
    cat /proc/$name >/run/$name
    mount --bind /run/$name /proc/$name
done
mount --bind /dev/null /dev/kmsg
mount -t tmpfs t /sys/fs/cgroup
mount -t tmpfs t /etc/ssl
if test -x /usr/sbin/sshd; then
    ssh-keygen -q -t ed25519 -N '' -f /run/key
    /usr/sbin/sshd -f /dev/null -h /run/key -p 22 -o PidFile=/run/pid
    wait_for /run/pid
fi
"""
UNSHARE = "--mount --net --pid --fork --mount-proc --kill-child --propagation private"


def told(trouble: str) -> Any:
    """Return what triage says on a quiet host after a shell's `trouble`; skips if it cannot be."""
    if not all(map(shutil.which, ("unshare", "ip"))) or os.geteuid():
        pytest.skip("a quiet host needs root, unshare(1) and ip(8)")
    command = shlex.join([sys.executable, "-m", "tests.commands.observed", "triage --json"])
    run = subprocess.run(
        ["unshare", *UNSHARE.split(), "sh", "-euc", f"{QUIET}\n{trouble}\n{command}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.partition("\0")[0])


def first(trouble: str) -> dict[str, Any]:
    """Return the finding that triage names first."""
    findings: list[dict[str, Any]] = told(trouble)["findings"]
    assert findings, "triage names nothing"
    assert findings[0]["number"] == 1
    return findings[0]


def truths() -> list[str]:
    """Return the rules that find something here however quiet it is: the clock's, if it is so."""
    kept = clock.discipline()
    return [] if kept is None or (kept.synchronised and kept.max_error <= 1) else ["clock_doubtful"]
