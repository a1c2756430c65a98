"""Rules about memory, tasks and processors: each just below its threshold, and just above."""

import os
from dataclasses import replace
from typing import Any

import pytest
from tests.commands.hosts import GIB, HOSTILE, found, limit, psi, quiet, shown, stat

from panicdoor.commands.findings import Severity
from panicdoor.commands.sections import Group, Tasks
from panicdoor.kernel import pressure as kernel_pressure

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN


def memory(**changed: float) -> Any:
    report: Any = quiet()["memory"]
    rates = {name: changed.pop(name) for name in ("swapped_in", "swapped_out") if name in changed}
    return replace(report, memory=report.memory._replace(**changed), **rates)


def processes(**changed: object) -> Any:
    report: Any = quiet()["processes"]
    return replace(report, **changed)


def pressure(resource: str = "cpu", share: float = 0.0, **changed: object) -> Any:
    report: Any = quiet()["pressure"]
    return replace(report, resources={**report.resources, resource: psi(share)}, **changed)


TOTAL = 16 * GIB


@pytest.mark.parametrize(
    ("share", "severity"), [(10.0, None), (9.9, WARN), (4.1, WARN), (3.9, CRITICAL)]
)
def test_memory_low(share: float, severity: Severity | None) -> None:
    said = found("memory_low", memory=memory(available=int(TOTAL * share / 100) + 1))
    assert [one.severity for one in said] == ([] if severity is None else [severity])


def test_memory_low_names_who_has_most() -> None:
    large = tuple(shown(stat(n, f"{HOSTILE}{n}", rss=n * GIB)) for n in range(1, 5))
    (said,) = found(
        "memory_low",
        memory=memory(available=GIB // 4, swap_free=0),
        processes=processes(shown=large),
    )
    assert said.text.startswith("256 MiB of 16.0 GiB available, swap 100 % full; ")
    assert "4 (pid 4) has 4.0 GiB; " in said.text
    assert "(pid 2)" not in said.text
    assert [action.line for action in said.actions] == ["freeze 4", "oom --dry-run"]
    (said,) = found("memory_low", memory=memory(available=1, swap_total=0), missing=("processes",))
    assert said.text.endswith("available, no swap")


@pytest.mark.parametrize(("needed", "severity"), [(89, None), (90, WARN), (98, BROKEN)])
def test_group_memory(needed: int, severity: Severity | None) -> None:
    group = Group(limit(100, 100, hits=7, kills=2), needed)
    said = found("group_memory", groups=(group,))
    assert [one.severity for one in said] == ([] if severity is None else [severity])
    if said:
        assert HOSTILE in said[0].text
        assert "hit that limit 7 times; 2 of its processes were killed" in said[0].text


def test_file_cache_is_no_need() -> None:
    assert found("group_memory", groups=(Group(limit(100, 100, hits=9), 10),)) == []


@pytest.mark.parametrize(("share", "severity"), [(1.0, None), (1.1, WARN), (10.0, CRITICAL)])
def test_memory_stalled(share: float, severity: Severity | None) -> None:
    said = found("memory_stalled", pressure=pressure("memory", share))
    assert [one.severity for one in said] == ([] if severity is None else [severity])


def test_a_kernel_without_pressure() -> None:
    silent = replace(pressure(), resources={"cpu": None, "memory": None, "io": None}, load=None)
    for name in ("memory_stalled", "cpu_waits", "load_high", "io_waits"):
        assert found(name, pressure=silent) == []


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("swapping", {"swapped_in": 1 << 19, "swapped_out": 1 << 19}, {"swapped_in": 2 << 20}),
        ("swap_full", {"swap_free": 0}, {"swap_free": 0, "available": int(TOTAL * 0.19)}),
        ("swap_full", {"swap_free": GIB // 4, "available": 0}, {"swap_free": 0, "available": 0}),
        ("kernel_memory", {"unreclaimable": 4 * GIB}, {"unreclaimable": 4 * GIB, "page_tables": 9}),
        ("written_late", {"dirty": 3 * GIB}, {"dirty": 3 * GIB, "writeback": GIB}),
    ],
)
def test_the_host(name: str, below: dict[str, float], above: dict[str, float]) -> None:
    assert found(name, memory=memory(**below)) == []
    (said,) = found(name, memory=memory(**above))
    assert said.severity is WARN


@pytest.mark.parametrize(("used", "severity"), [(79, None), (80, WARN), (95, CRITICAL)])
def test_tasks_full(used: int, severity: Severity | None) -> None:
    running = processes(users={0: 10, 4_000_000_000: 70})
    said = found("tasks_full", tasks=Tasks(used, 100, 1.0), processes=running)
    assert [one.severity for one in said] == ([] if severity is None else [severity])
    if said:
        assert said[0].text.endswith("; 70 tasks are of 4000000000")
    assert len(found("tasks_full", tasks=Tasks(used, 100, 1.0), missing=("processes",))) == len(
        said
    )
    assert found("tasks_full", tasks=Tasks(used, 0, 1.0)) == []


@pytest.mark.parametrize(("used", "severity"), [(80, WARN), (99, WARN), (100, BROKEN)])
def test_group_tasks(used: int, severity: Severity) -> None:
    (said,) = found("group_tasks", processes=processes(groups=(limit(used, 100, hits=3),)))
    assert said.severity is severity
    assert HOSTILE in said.text
    assert ("3 forks were refused" in said.text) == (used == 100)


def test_stuck() -> None:
    waits = stat(2**22 + 5, HOSTILE, "D")
    (said,) = found("stuck", processes=processes(stuck=(waits,), stuck_count=12))
    assert said.text.startswith("12 hang in the kernel and cannot be killed (D): x) R 1\n(")
    assert said.next == (f"processes {waits.pid}",)
    assert "disk_stuck" in said.causes


def test_a_single_one_that_is_stuck_hangs() -> None:
    (said,) = found("stuck", processes=processes(stuck=(stat(7, "x", "D"),), stuck_count=1))
    assert said.text.startswith("1 hangs in the kernel and cannot be killed (D): x (pid 7)")


def test_uncollected() -> None:
    assert found("uncollected", processes=processes(uncollected={5: 9})) == []
    (said,) = found("uncollected", processes=processes(uncollected={2**22 + 5: 9, 6: 1}))
    assert said.text.startswith("10 dead processes (Z) are not collected, most by ? (pid 4194309)")


@pytest.mark.parametrize(("forks", "count"), [(500.0, 0), (501.0, 1)])
def test_forks_many(forks: float, count: int) -> None:
    assert len(found("forks_many", tasks=Tasks(400, 32768, forks))) == count


@pytest.mark.parametrize(("share", "count"), [(30.0, 0), (30.1, 1)])
def test_cpu_waits(share: float, count: int) -> None:
    busy = processes(shown=(shown(stat(7, HOSTILE), 395.0), shown(stat(8), 5.0)))
    said = found("cpu_waits", pressure=pressure("cpu", share), processes=busy)
    assert len(said) == count
    if said:
        assert said[0].text.endswith(f"{HOSTILE} (pid 7) takes 395 %")


def test_who_waits_for_a_processor_is_told_of_no_process_of_this_door() -> None:
    ours = shown(stat(7)._replace(parent=os.getppid()), 395.0)
    busy = processes(shown=(ours, shown(stat(8, HOSTILE), 5.0)))
    (said,) = found("cpu_waits", pressure=pressure("cpu", 50.0), processes=busy)
    assert said.text.endswith(f"{HOSTILE} (pid 8) takes 5.0 %")
    (said,) = found("cpu_waits", pressure=pressure("cpu", 50.0), processes=processes(shown=(ours,)))
    assert said.text.endswith("of the last 10 s")


@pytest.mark.parametrize(("load", "count"), [(8.0, 0), (8.1, 1)])
def test_load_high(load: float, count: int) -> None:
    now = kernel_pressure.Load(load, 0, 0, 1, 1)
    assert len(found("load_high", pressure=pressure(load=now))) == count


@pytest.mark.parametrize(("share", "count"), [(10.0, 0), (10.1, 1)])
def test_stolen(share: float, count: int) -> None:
    assert len(found("stolen", pressure=pressure(shares={"stolen": share, "idle": 0.0}))) == count
