"""The sections, on this host as it is, and on hosts that hide something."""

import os
import re
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.commands.hosts import asked, disk, mount, psi, quiet
from tests.commands.test_rules_services import log

from panicdoor.commands import (
    certificates,
    disks,
    login,
    memory,
    processes,
    sections,
    services,
    snapshot,
)
from panicdoor.commands.sections import Held, Room, Tasks, disks_answer, soft_limit
from panicdoor.commands.snapshot import SECTIONS, WAIT_S, Kept, Snapshot, look
from panicdoor.errors import CommandError
from panicdoor.kernel import cgroups, counters, deleted, kmsg, meminfo, rtnetlink, tasks
from panicdoor.kernel import mounts as mount_table
from panicdoor.kernel import pressure as kernel_pressure
from panicdoor.kernel.descriptors import Link


def quiet_processes() -> processes.Report:
    report: Any = quiet()["processes"]
    assert isinstance(report, processes.Report)
    return report


def run(name: str, **reports: object) -> Any:
    """Run one section to its end."""
    return finish(Snapshot(dict(reports)), name)


def finish(seen: Snapshot, name: str) -> Any:
    half = SECTIONS[name][0](seen)
    for _ in range(2):
        try:
            next(half)
        except StopIteration as done:
            return done.value
    raise AssertionError(f"{name} has more than two halves")


@pytest.fixture(scope="module")
def seen() -> Snapshot:
    return look()


def test_all_of_them_are_there_or_say_why(seen: Snapshot) -> None:
    assert set(seen.reports) | set(seen.missing) == set(SECTIONS)
    assert all(seen.missing.values())
    assert "bug" not in " ".join(seen.missing.values())
    assert set(seen.missing) <= {"services", "kernel", "network", "certificates"}


def test_they_agree_with_the_kernel(seen: Snapshot) -> None:
    has, counted, running = (seen.reports[n] for n in ("memory", "tasks", "processes"))
    assert isinstance(has, memory.Report)
    assert has.memory.total == meminfo.memory().total
    assert isinstance(counted, Tasks)
    assert isinstance(running, processes.Report)
    assert counted.used == pytest.approx(running.threads, rel=0.5, abs=100)
    assert counted.most == running.limit
    assert os.getppid() in [process.stat.pid for process in running.shown]


@pytest.mark.parametrize(
    ("states", "share", "looks"),
    [
        ({"S": 3}, 0.0, 1),
        ({"S": 3, "D": 1}, 0.0, 2),
        ({"S": 3, "Z": processes.DEAD_HIGH - 1}, 0.0, 1),
        ({"S": 3, "Z": processes.DEAD_HIGH}, 0.0, 2),
        ({"S": 3}, 31.0, 2),
    ],
)
def test_processes_are_looked_at_twice_where_once_does_not_tell(
    states: dict[str, int], share: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (replace(quiet_processes(), forks=n, states=Counter(states)) for n in (0, 1))
    before = processes.Before({}, 0, 0.0)
    monkeypatch.setattr(processes, "once", lambda most: (first, before))
    monkeypatch.setattr(processes, "look", lambda was, most: second if was is before else None)
    monkeypatch.setattr(kernel_pressure, "system", lambda resource: psi(share))
    half = SECTIONS["processes"][0](Snapshot())
    assert next(half) == (WAIT_S if looks == 2 else 0)
    with pytest.raises(StopIteration) as done:
        next(half)
    assert done.value.value is (second if looks == 2 else first)


def test_the_counters_are_of_the_time_since_they_were_kept() -> None:
    forks = re.search(rb"processes (\d+)", Path(kernel_pressure.STAT).read_bytes())
    assert forks
    seen = Snapshot(before=Kept(time.monotonic() - 10, {kernel_pressure.STAT: b"processes 0\n"}))
    half = SECTIONS["tasks"][0](seen)
    next(half)
    with pytest.raises(StopIteration) as done:
        next(half)
    assert done.value.value.forks == pytest.approx(int(forks[1]) / 10, rel=0.1)


def test_errors_of_interfaces_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    (lo,) = [one for one in rtnetlink.links() if one.name == "lo"]
    monkeypatch.setattr(rtnetlink, "links", lambda: [lo._replace(errors=7)])
    dev = b" face |bytes\n    lo: 1 1 2 0 0 0 0 0 1 1 3 0 0 0 0 0\n"
    kept = Kept(time.monotonic() - 10, {counters.INTERFACES: dev})
    half = SECTIONS["network"][0](Snapshot(before=kept))
    next(half)
    with pytest.raises(StopIteration) as done:
        next(half)
    assert done.value.value.rate(lo._replace(errors=7), "errors") == pytest.approx(0.2, rel=0.1)


def test_root_is_asked_for_its_room(seen: Snapshot) -> None:
    room = seen.reports["room"]
    assert isinstance(room, Room)
    root = [one for one in room.asked if one.mount.point == b"/"]
    told = os.statvfs("/")
    if root:
        assert root[0].usage is not None
        assert root[0].usage.size == told.f_blocks * told.f_frsize


def test_a_deleted_file_and_many_descriptors(tmp_path: Path) -> None:
    file = tmp_path / "file"
    opened = []
    try:
        with file.open("wb") as written:
            written.write(b"x" * 1_000_000)
            written.flush()
            os.fsync(written.fileno())
            file.unlink()
            opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(sections.HOLDERS_MIN)]
            held: Held = run("held")
        taken, largest = held.devices[os.stat(tmp_path).st_dev]
        assert taken >= 1_000_000
        assert largest.size <= taken
        assert os.getpid() in [holder.pid for holder in held.holders]
    finally:
        for fd in opened:
            os.close(fd)


@pytest.mark.parametrize(
    ("name", "where", "what", "value"),
    [
        ("held", sections, "LINKS_MAX", 1),
        ("processes", sections, "PROCESSES_MAX", 1),
        ("certificates", certificates, "FILES_MAX", 0),
        ("listeners", sections, "LISTENERS_MAX", 0),
        ("groups", cgroups, "GROUPS_MAX", 0),
        ("mounts", mount_table, "READ_MAX", 500),
        ("kernel", kmsg, "RECORDS_MAX", 1),
    ],
)
def test_who_has_not_seen_all_says_so(
    name: str, where: object, what: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = Snapshot(dict(quiet())), Snapshot(dict(quiet()))
    finish(whole, name)
    assert name not in whole.partial
    monkeypatch.setattr(where, what, value)
    finish(cut, name)
    assert "not" in cut.partial[name] or "only" in cut.partial[name] or "left" in cut.partial[name]


def test_one_that_closes_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = deleted.Deleted(5, Link(2**22 + 1, 0, "/x (deleted)"), 1)
    monkeypatch.setattr(deleted, "find", lambda scan: deleted.Found([gone]))
    assert run("held") == Held(5, {}, (), False)
    assert list(sections._holders(Counter({2**22 + 1: 9999}))) == []


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (
            "Limit\nMax open files            1024                 4096         files\n",
            1024,
        ),
        ("Max open files            unlimited            unlimited            files\n", 0),
        ("Max open files \n", 0),
        ("", 0),
    ],
)
def test_soft_limit(text: str, most: int) -> None:
    assert soft_limit(text) == most


def test_groups_are_measured_without_file_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "memory.max": "1000", "memory.current": "990", "memory.events": "max 5\noom_kill 1\n",
        "memory.stat": "anon 90\nactive_file 300\ninactive_file 600\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cgroups, "hierarchy", lambda _: cgroups.Hierarchy(str(tmp_path), 2))
    (group,) = run("groups")
    assert (group.needed, group.share) == (90, 9.0)
    (tmp_path / "memory.stat").write_text(
        "active_file 1\ninactive_file 1\ntotal_active_file 40\ntotal_inactive_file 50\n"
    )
    assert run("groups")[0].needed == 900
    (tmp_path / "memory.stat").unlink()
    assert run("groups")[0].needed == 990
    monkeypatch.setattr(cgroups, "hierarchy", lambda _: None)
    assert run("groups") == ()


def test_where_systemd_does_not_run_services_are_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "look", lambda _: services.Report((), absent="runit does"))
    with pytest.raises(CommandError, match="runit does"):
        run("services")


def test_login_needs_the_processes() -> None:
    with pytest.raises(CommandError, match="processes could not be looked at"):
        run("login")
    assert isinstance(run("login", processes=quiet()["processes"]), login.Report)


def test_what_grows_with_processes_comes_after_what_does_not() -> None:
    order = list(SECTIONS)
    cheap = {"pressure", "memory", "tasks", "kernel", "clock", "mounts", "disks", "sockets"}
    assert cheap <= set(order[: order.index("processes")])
    assert {"login", "held", "room", "certificates"} <= set(order[order.index("processes") :])
    # Twice its time, as where it does not answer, leaves something for those behind it.
    assert 2 * SECTIONS["processes"][1] + snapshot.LEAST_S < snapshot.BUDGET_S


def test_tasks_that_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "limit", lambda: 0)
    with pytest.raises(CommandError, match="does not tell"):
        run("tasks")


def trouble() -> dict[str, dict[str, Any]]:
    quiet_host: Any = quiet()
    return {
        "a process hangs": {"processes": replace(quiet_host["processes"], stuck_count=1)},
        "nobody knows": {"processes": None},
        "all wait for a disk": {
            "pressure": replace(
                quiet_host["pressure"],
                resources={**quiet_host["pressure"].resources, "io": psi(21.0)},
            )
        },
        "the kernel complains": {"kernel": log("blk_update_request: I/O error, dev sda, sector 5")},
        "a disk does not answer": {"disks": (disk(100, 1),)},
    }


@pytest.mark.parametrize("why", list(trouble()))
def test_what_speaks_against_asking_a_disk(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = {**quiet(), **trouble()[why]}
    assert disks_answer(reports).startswith(why)
    with pytest.raises(CommandError, match="not read, as "):
        run("certificates", **reports)


def test_nothing_speaks_against_it_on_a_quiet_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert disks_answer(quiet()) == ""
    report = certificates.Report(quiet()["certificates"].now)  # type: ignore[attr-defined]
    monkeypatch.setattr(certificates, "look", lambda: iter(["/etc/ssl", report]))
    assert run("certificates", **quiet()) is report


def test_only_file_systems_that_can_be_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        mount("/", "ext4", "8:1"), mount("/efi", "vfat", "8:2"), mount("/nfs", "nfs4", "0:9"),
        mount("/var/lib/x", "overlay", "0:5"), mount("/snap", "squashfs", "7:1"),
        mount("/ro", "xfs", "8:3")._replace(options=("ro",)),
    ]  # fmt: skip
    table = [one._replace(id=n + 1, parent=0) for n, one in enumerate(table)]
    monkeypatch.setattr(mount_table, "read", lambda: (table, False))
    points: list[bytes] = []

    def ask(one: mount_table.Mount) -> object:
        points.append(one.point)
        return asked()

    monkeypatch.setattr(disks, "ask", ask)
    room: Room = run("room", **quiet())
    assert points == [b"/", b"/efi"]
    assert [one.point for one in room.not_asked] == [b"/nfs"]
    points.clear()
    room = run("room", **{**quiet(), "disks": (disk(100, 1),)})
    assert points == [b"/"]
    assert [one.point for one in room.not_asked] == [b"/efi", b"/nfs"]


def test_it_is_quick() -> None:
    began = time.monotonic()
    look()
    assert time.monotonic() - began < 2
