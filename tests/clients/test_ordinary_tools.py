"""A real door says what the ordinary tools say, on the same machine at the same moment.

What stands still is compared exactly. What moves is asked before and after, or compared on things
of the test's own; where a tolerance is left, it is said why.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.clients.looking import SECONDS, document
from tests.clients.programs import need, run
from tests.logins import People
from tests.running import LOOPBACK, ROOT, wait_for

MIB = 1 << 20
OWN = 96 * MIB  # bytes of the process that is looked for: more than others have, less than hurts
# While it lives, other processes of this machine come and go.
NEAR = 0.05
SHORT_LIVED = 100


def lines(*command: str) -> list[str]:
    """Return what a tool prints; skips where there is none, or where it may not look."""
    done = run(*command, seconds=30)
    if done.returncode:
        pytest.skip(f"{command[0]} does not look here: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()


@contextmanager
def large_process() -> Iterator[int]:
    """A process with OWN bytes that nobody else has, which sleeps."""
    code = f"import sys; b = bytearray(b'x' * {OWN}); print('.', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of the test's own, a quarter full, seen by everybody."""
    if not ROOT:
        pytest.skip("only root may mount")
    need("mount", "umount")
    point = tmp_path / "a place"
    point.mkdir()
    options = "size=16m,nr_inodes=1000,noexec"
    done = run("mount", "-t", "tmpfs", "-o", options, "a source", str(point))
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
    try:
        (point / "file").write_bytes(bytes(4 * MIB))
        yield point
    finally:
        run("umount", str(point))


# ps


def test_a_process_as_ps_has_it(observed: People) -> None:
    with large_process() as pid:
        mine = document(observed, f"processes {pid}")["process"]
        (row,) = lines("ps", "-o", "ppid=,uid=,nlwp=,state=,rss=,comm=", "-p", str(pid))
        parent, uid, threads, state, rss, name = row.split(None, 5)
        assert (mine["parent"], mine["status"]["uid"]) == (int(parent), int(uid))
        assert (mine["threads"], mine["state"], mine["name"]) == (int(threads), state, name)
        # The kernel counts resident pages for each processor, and adds them up now and then.
        assert mine["rss"] == pytest.approx(1024 * int(rss), abs=MIB)
        assert mine["status"]["anonymous"] >= OWN
        (cgroup,) = lines("ps", "-o", "cgroup:2000=", "-p", str(pid))
        assert mine["facts"]["group"] in cgroup


def named(name: str) -> str:
    """Return what stays of a name: a worker of the kernel is called after what it works on."""
    return re.split("[-+]", name)[0] if name.startswith("kworker/") else name.rstrip()


def test_all_processes_as_ps_has_them(observed: People) -> None:
    def asked() -> dict[int, tuple[str, int, int]]:
        rows = (row.split(None, 3) for row in lines("ps", "-eo", "pid=,ppid=,ruid=,comm="))
        return {int(pid): (named(name), int(ppid), int(uid)) for pid, ppid, uid, name in rows}

    before = asked()
    said = document(observed, "processes")
    after = asked()
    stayed = {pid: row for pid, row in before.items() if after.get(pid) == row}
    mine = {p["pid"]: (named(p["name"]), p["parent"], p["uid"]) for p in said["processes"]}
    looking = observed.door.place("observer")
    if not said["left_out"]:
        assert stayed.keys() - mine.keys() == {looking}
    for pid in stayed.keys() & mine.keys():
        if "\\" not in mine[pid][0]:  # of what is not printable ps makes question marks
            assert mine[pid] == stayed[pid]
    # Those that lived only between the two are in neither of them.
    all_of_them = before.keys() | after.keys()
    assert len(stayed) <= sum(said["states"].values()) <= len(all_of_them) + SHORT_LIVED


# free


def test_memory_as_free_has_it(observed: People) -> None:
    said = document(observed, "memory")["memory"]
    rows = {row.split()[0]: [int(n) for n in row.split()[1:]] for row in lines("free", "-b")[1:]}
    total, _, free, shared, cache, available = rows["Mem:"]
    assert said["total"] == total
    assert said["swap_total"] == rows["Swap:"][0]
    assert said["swap_total"] - said["swap_free"] == pytest.approx(rows["Swap:"][1], abs=MIB)
    assert said["free"] == pytest.approx(free, abs=NEAR * total)
    assert said["available"] == pytest.approx(available, abs=NEAR * total)
    assert said["shared"] == pytest.approx(shared, abs=NEAR * total)
    cached = said["buffers"] + said["cached"] + said["slab"] - said["unreclaimable"]
    assert cached == pytest.approx(cache, abs=NEAR * total)


def test_a_large_process_as_ps_has_it(observed: People) -> None:
    with large_process() as pid:
        said = {one["pid"]: one for one in document(observed, "memory")["processes"]}
        (rss,) = lines("ps", "-o", "rss=", "-p", str(pid))
        assert said[pid]["rss"] == pytest.approx(1024 * int(rss), abs=MIB)
        assert OWN <= said[pid]["anonymous"] <= said[pid]["rss"]


# df, mount, findmnt


def test_file_systems_as_df_has_them(observed: People, mounted: Path) -> None:
    said = document(observed, "disks")["filesystems"]
    (mine,) = [one for one in said if one["point"] == str(mounted)]
    _, row = lines("df", "-B1", "--output=size,used,avail,itotal,iused", str(mounted))
    numbers = [mine[name] for name in ("bytes", "used", "left", "inodes", "inodes_used")]
    assert numbers == [int(word) for word in row.split()]
    assert (mine["type"], mine["source"]) == ("tmpfs", "a source")
    assert (mine["used"], mine["percent"]) == (4 * MIB, 25.0)


def test_mounts_as_findmnt_and_mount_have_them(observed: People, mounted: Path) -> None:
    columns = "TARGET,SOURCE,FSTYPE,OPTIONS"
    (row,) = json.loads("".join(lines("findmnt", "-J", "-o", columns, str(mounted))))["filesystems"]
    said = document(observed, "mounts --all")["mounts"]
    (mine,) = [one for one in said if one["point"] == str(mounted)]
    assert (mine["source"], mine["type"]) == (row["source"], row["fstype"])
    assert {*mine["options"], *mine["super_options"]} == set(row["options"].split(","))
    assert f"a source on {mounted} type tmpfs (rw," in "\n".join(lines("mount"))
    theirs = json.loads("".join(lines("findmnt", "-J", "-l", "-o", "TARGET,FSTYPE")))
    listed = {(one["target"], one["fstype"]) for one in theirs["filesystems"]}
    # Other tests mount things too, for a moment.
    odd = {(one["point"], one["type"]) for one in said} ^ listed
    assert {one for one in odd if not one[0].startswith("/tmp/")} == set()


# ss


@contextmanager
def waiting_sockets() -> Iterator[tuple[int, int]]:
    """A listener that does not accept, and a client that sends; their ports."""
    with socket.create_server((LOOPBACK, 0), backlog=7) as listener:
        port = listener.getsockname()[1]
        with (
            socket.create_connection((LOOPBACK, port)) as client,
            socket.create_connection((LOOPBACK, port)),
        ):
            listener.settimeout(SECONDS)
            there, _ = listener.accept()
            with there:
                there.settimeout(SECONDS)
                client.sendall(bytes(5000))
                wait_for(lambda: len(there.recv(9999, socket.MSG_PEEK)) == 5000)
                yield port, client.getsockname()[1]


def test_a_listener_as_ss_has_it(observed: People) -> None:
    with waiting_sockets() as (port, _):
        (row,) = lines("ss", "-tlnpH", f"sport = :{port}")
        _, queue, most, address, *_, who = row.split()
        said = document(observed, "listeners")["listeners"]
        (mine,) = [one for one in said if (one["protocol"], one["port"]) == ("tcp", port)]
        assert (mine["waiting"], mine["most"]) == (int(queue), int(most)) == (1, 7)
        assert f"{mine['address']}:{port}" == address
        assert mine["pids"] == [os.getpid()]
        assert f"pid={os.getpid()}," in who


def test_a_queue_as_ss_has_it(observed: People) -> None:
    with waiting_sockets() as (port, client):
        (row,) = lines("ss", "-tnH", f"sport = :{port} and dport = :{client}")
        state, queue, _, local, remote = row.split()[:5]
        said = document(observed, "sockets")["busiest"]
        (mine,) = [one for one in said if one["remote"].endswith(f":{client}")]
        assert (mine["receive"], mine["local"], mine["remote"]) == (int(queue), local, remote)
        assert (queue, state, mine["state"]) == ("5000", "ESTAB", "established")


# ip


def test_interfaces_as_ip_has_them(observed: People) -> None:
    theirs = json.loads("".join(lines("ip", "-j", "address")))
    said = {one["name"]: one for one in document(observed, "network")["interfaces"]}
    for one in theirs:
        mine = said.get(one["ifname"])
        if mine is None and one["ifname"].startswith("veth"):
            continue  # of another test, and gone
        assert mine is not None
        assert (mine["mtu"], mine["up"]) == (one["mtu"], "UP" in one["flags"])
        addresses = {f"{a['local']}/{a['prefixlen']}" for a in one["addr_info"]}
        assert set(mine["addresses"]) == addresses
    said = document(observed, "network")["default_routes"]
    for family in ("4", "6"):
        ways = json.loads("".join(lines("ip", "-j", f"-{family}", "route", "show", "default")))
        mine = [one for one in said if (one["family"], one["table"]) == (f"IPv{family}", 254)]
        assert {(way.get("gateway"), way.get("dev"), way.get("metric", 0)) for way in ways} == {
            (one["gateway"], one["interface"], one["metric"]) for one in mine
        }


# dmesg, journalctl, systemctl


@pytest.mark.parametrize(
    "command", [("dmesg", "--kernel"), ("journalctl", "-k", "-b", "-o", "cat", "-q")]
)
def test_messages_as_they_have_them(observed: People, command: tuple[str, ...]) -> None:
    if command[0] == "journalctl" and not Path("/run/systemd/journal/socket").exists():
        pytest.skip("journald does not run on this host")
    said = document(observed, "kernel")["messages"]
    theirs = "\n".join(lines(*command))
    kept = [one["text"].split("\\x0a")[0] for one in said if one["ago"] > 1]
    assert [text for text in kept[:50] if "\\" not in text and text not in theirs] == []


def test_units_as_systemctl_has_them(observed: People) -> None:
    if not Path("/run/systemd/system").exists():
        pytest.skip("systemd does not run this host; tests/privileged/test_services.py has one")
    rows = lines("systemctl", "list-units", "--failed", "--all", "--plain", "--no-legend", "-q")
    said = document(observed, "services")["units"]
    assert {row.split()[0] for row in rows} == {
        one["name"] for one in said if one["active"] == "failed"
    }


# date, uptime, dpkg


def test_the_clock_as_date_and_uptime_have_it(observed: People) -> None:
    began = time.time()
    said = document(observed, "clock")
    (now,) = lines("date", "+%s.%N")
    assert began - 1 <= said["now"] <= float(now) + 1
    (since,) = lines("date", "-d", lines("uptime", "-s")[0], "+%s")
    assert said["boot_time"] == pytest.approx(int(since), abs=2)


def test_load_as_uptime_has_it(observed: People) -> None:
    said = document(observed, "pressure")["load"]
    (row,) = lines("uptime")
    theirs = [float(word) for word in row.rpartition("load average: ")[2].split(", ")]
    mine = [said["last_1_min"], said["last_5_min"], said["last_15_min"]]
    assert mine == pytest.approx(theirs, abs=0.5)  # counted anew every five seconds


def test_what_was_installed_last_as_dpkg_has_it(observed: People) -> None:
    said = document(observed, "changes --since 2d")["packages"]
    last: dict[str, Any] = {}
    for one in said:  # the newest comes first
        if one["kind"] != "run":
            last.setdefault(one["package"].partition(":")[0], one)
    installed = [name for name, one in last.items() if one["kind"] in ("install", "upgrade")]
    if not installed:
        pytest.skip("nothing was installed on this host lately")
    for name in installed[:20]:
        (version,) = lines("dpkg-query", "-W", "-f", "${Version}\n", name)[:1]
        assert last[name]["detail"].split()[-1] == version
