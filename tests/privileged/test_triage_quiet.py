"""A quiet host has nothing wrong; one trouble on it is the first thing that triage names."""

import os
import sys
import time
from pathlib import Path

import pytest
from tests.commands.test_certificates import pem
from tests.privileged.quiet import first, told, truths

from panicdoor.kernel import complaints

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trouble needs root")

SSHD = Path("/usr/sbin/sshd")


def test_nothing_is_wrong() -> None:
    said = told("")
    assert [one["rule"] for one in said["findings"]] == truths()
    cleared = {"memory", "tasks", "disk", "files", "login", "network", "kernel", "cpu", "certs"}
    assert cleared - set(said["cleared"]) <= {one["what"] for one in said["unknown"]}
    assert {"memory", "tasks", "disk", "files", "kernel", "cpu", "certs"} <= set(said["cleared"])
    assert ("clock" in said["cleared"]) == (not truths())


def test_a_clock_that_nobody_keeps() -> None:
    if not truths():
        pytest.skip("this machine's clock is kept, and adjtimex(2) would change it for everybody")
    assert first("")["text"].startswith(("not synchronised: ", "the clock may be wrong by "))


def test_a_full_file_system() -> None:
    one = first("mount -t tmpfs -o size=8m t /mnt; head -c 8m /dev/zero >/mnt/x")
    assert (one["rule"], one["severity"]) == ("file_system_full", "BROKEN")
    assert one["text"] == "/mnt is 100 % full, 0 B left"


def test_a_mount_with_a_hostile_name() -> None:
    name = '"$(printf "/mnt/x\\033[2J\\n y")"'
    make = f"mount -t tmpfs t /mnt; mkdir {name}; mount -t tmpfs -o size=4m t {name}"
    one = first(f"{make}; head -c 4m /dev/zero >{name}/x")
    assert one["text"].startswith("/mnt/x\\x1b[2J\\x0a y is 100 % full")


def test_inodes_that_are_gone() -> None:
    one = first("mount -t tmpfs -o nr_inodes=20 t /mnt; cd /mnt; touch $(seq 19); cd - >/dev/null")
    assert (one["rule"], one["severity"]) == ("inodes_gone", "BROKEN")
    assert one["text"].startswith("/mnt has 0 of 20 inodes left: no new files")


def test_deleted_files_that_are_open() -> None:
    holder = "exec 9>/mnt/x; head -c 8m /dev/zero >&9; rm /mnt/x; echo >/run/ready; exec sleep 9"
    found = told(
        f"mount -t tmpfs -o size=8m t /mnt; sh -c '{holder}' >/dev/null 2>&1 &\nwait_for /run/ready"
    )["findings"]
    assert [one["rule"] for one in found][:2] == ["deleted_open", "file_system_full"]
    assert found[0]["text"].startswith("8.0 MiB of /mnt are of deleted files that sleep (pid ")
    assert found[1]["because"] == 1
    assert found[0]["severity"] == found[1]["severity"] == "BROKEN"


def test_a_file_system_that_was_made_read_only() -> None:
    mount = "mount -t tmpfs t /mnt; mkdir /mnt/a; mount --bind /mnt/a /opt"
    one = first(f"{mount}; mount -o remount,ro /mnt")
    assert (one["rule"], one["severity"]) == ("read_only", "BROKEN")
    assert one["text"].startswith("/opt (tmpfs) was made read-only")


def test_a_process_without_descriptors() -> None:
    code = (
        "import os, resource, time; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
        "try:\n  while True: os.open('/dev/null', os.O_RDONLY)\nexcept OSError: pass\n"
        "os.mknod('/run/ready'); time.sleep(60)"
    )
    one = first(f'{sys.executable} -c "{code}" >/dev/null 2>&1 &\nwait_for /run/ready')
    assert (one["rule"], one["severity"]) == ("process_descriptors", "BROKEN")
    assert " has 256 of its 256 descriptors" in one["text"]


def test_a_host_without_descriptors() -> None:
    """Recorded: a real limit would be the whole machine's."""
    one = first("printf '990\\t0\\t1000\\n' >/run/nr; mount --bind /run/nr /proc/sys/fs/file-nr")
    assert (one["rule"], one["severity"]) == ("descriptors_full", "CRITICAL")
    assert one["text"] == "990 descriptors of 1000 are open (99 %)"


@pytest.mark.parametrize(
    ("resource", "rule", "severity"),
    [
        ("memory", "memory_stalled", "CRITICAL"),
        ("io", "io_waits", "BROKEN"),
        ("cpu", "cpu_waits", "WARN"),
    ],
)
def test_pressure(resource: str, rule: str, severity: str) -> None:
    """Recorded; that of memory is made for real in test_triage."""
    if not Path("/proc/pressure", resource).exists():
        pytest.skip("this kernel does not tell pressure")
    line = "avg10=71.00 avg60=60.00 avg300=9.00 total=5\\n"
    one = first(
        f"printf 'some {line}full {line}' >/run/high; "
        f"mount --bind /run/high /proc/pressure/{resource}"
    )
    assert (one["rule"], one["severity"]) == (rule, severity)
    assert "71 % of the last 10 s" in one["text"]


def test_a_listener_that_is_gone() -> None:
    if not SSHD.exists():
        pytest.skip("sshd is not installed")
    one = first(
        "kill $(cat /run/pid); for _ in $(seq 99); do test ! -e /run/pid || sleep 0.05; done"
    )
    assert (one["rule"], one["severity"]) == ("login_fails", "BROKEN")
    assert one["text"] == "ssh fails at stage listener: sshd does not run: nobody listens"


def test_a_sshd_that_hangs() -> None:
    if not SSHD.exists():
        pytest.skip("sshd is not installed")
    one = first("kill -STOP $(cat /run/pid)")
    assert one["text"].startswith("ssh fails at stage banner: port 22 ")


TRACKS = """
import socket
with open("/proc/sys/net/netfilter/nf_conntrack_max") as file:
    most = int(file.read())
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(most * 85 // 100):
    try:
        sender.sendto(b"", (f"127.0.{number // 60000}.1", 1 + number % 60000))
    except OSError:
        pass  # nobody is there, and says so
"""


def test_a_table_of_connections_that_is_nearly_full() -> None:
    most = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    if not most.exists():
        pytest.skip("this kernel tracks no connections")
    if int(most.read_text()) > 1 << 19:
        pytest.skip("a table of the whole machine, too large to be filled here")
    rules = "table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }"
    one = first(f"nft '{rules}'\n{sys.executable} -c '{TRACKS}'")
    assert (one["rule"], one["severity"]) == ("conntrack", "WARN")
    assert "connections are tracked (8" in one["text"]


def test_a_certificate_that_has_ended(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_bytes(pem(-3, "web1.example"))
    one = first(f"cp {tmp_path}/c.pem /etc/ssl/")
    assert (one["rule"], one["severity"]) == ("certificate_ends", "BROKEN")
    assert one["text"] == "the certificate of web1.example ended 3.0 d ago (/etc/ssl/c.pem)"


def test_a_process_that_hangs_keeps_certificates_from_being_read() -> None:
    """Its parent waits in vfork(2), state D, until its child has a program; that waits for us."""
    code = (
        "import os; os.mkfifo('/run/pipe'); os.mknod('/run/ready')\n"
        "opened = [(os.POSIX_SPAWN_OPEN, 0, '/run/pipe', os.O_RDONLY, 0)]\n"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=opened)\n"
    )
    said = told(
        f'{sys.executable} -c "{code}" >/dev/null 2>&1 &\n'
        "for _ in $(seq 100); do grep -q '^State:.D' /proc/$!/status && break; sleep 0.05; done"
    )
    if "stuck" not in [one["rule"] for one in said["findings"]]:
        pytest.skip("this C library does not let posix_spawn wait in state D")
    assert said["findings"][0]["rule"] == "stuck"
    assert said["findings"][0]["text"].startswith(
        "1 hangs in the kernel and cannot be killed (D): "
    )
    assert {"what": "certs", "why": "not read, as a process hangs"} in said["unknown"]


KERNEL = {
    "filesystem error": "EXT4-fs error (device sda1): ext4_lookup:1: deleted inode referenced: 5",
    "disk error": "blk_update_request: I/O error, dev sda, sector 5",
    "out of memory": "Out of memory: Killed process 5 (x) total-vm:1kB",
    "hung task": "INFO: task mysqld:77 blocked for more than 120 seconds.",
    "lockup": "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:5]",
    "machine check": "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 1: b2",
}


@pytest.mark.parametrize("name", list(KERNEL))
def test_what_the_kernel_says(name: str) -> None:
    """Recorded: a file stands for /dev/kmsg, where only the kernel can write as the kernel."""
    micro = round((time.monotonic() - 600) * 1e6)
    record = f"3,1,{micro},-;{KERNEL[name]}"
    one = first(f"echo '{record}' >/run/kmsg; mount --bind /run/kmsg /dev/kmsg")
    assert one["rule"] == "kernel_says"
    assert one["text"] == f"{name}, 1 in the last hour, 10 min ago: {KERNEL[name]}"
    rank = next(c.rank for c in complaints.COMPLAINTS if c.name == name)
    assert one["severity"] == ("BROKEN" if rank == 1 else "WARN")


STANDS_STILL = """
import os, sys, time
fd = os.open("/run/diskstats", os.O_WRONLY)
os.ftruncate(fd, 0)
until = time.monotonic() + 20
while time.monotonic() < until:  # busy all the time, as the kernel counts it, and a bit more
    busy = round(time.monotonic() * 1100)
    os.pwrite(fd, f"8 0 {sys.argv[1]} 9 0 9 9 9 0 9 9 5 {busy:015} 9\\n".encode(), 0)
    if not os.path.exists("/run/ready"):
        os.mknod("/run/ready")
    time.sleep(0.001)
"""


def test_a_disk_that_does_not_answer() -> None:
    """Recorded: requests wait, and of all that is counted only the time goes on."""
    disks = sorted(os.listdir("/sys/block"))
    if not disks:
        pytest.skip("this machine has no disk")
    one = first(
        f"{sys.executable} -c '{STANDS_STILL}' {disks[0]} >/dev/null 2>&1 &\nwait_for /run/ready"
    )
    assert (one["rule"], one["severity"]) == ("disk_stuck", "BROKEN")
    assert one["text"].startswith(f"{disks[0]} does not answer: 5 requests wait")


def test_a_default_route_that_is_missing() -> None:
    one = first(
        "ip link add dev v0 type veth peer name v1; ip link set v0 up; ip link set v1 up\n"
        "ip address add 203.0.113.9/24 dev v0"
    )
    assert one["rule"] == "network_broken"
    assert one["text"] == "there is no default route for IPv4, though there are addresses"
