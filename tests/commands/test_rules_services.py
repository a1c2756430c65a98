"""Rules about the kernel's messages, logins, networks, services and time: below and above."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from socket import AF_INET
from typing import Any

import pytest
from tests.commands.hosts import HOSTILE, asked, found, limit, limits, psi, quiet

from panicdoor.commands import certificates, kernel, listeners, sections, services, sockets
from panicdoor.commands.certificates import Dated
from panicdoor.commands.findings import AREAS, RULES, Severity, judge
from panicdoor.commands.login import Report as Login
from panicdoor.commands.login_stages import Stage, State
from panicdoor.commands.rules_disks import NO_ROOM
from panicdoor.commands.rules_services import ABOUT, BEHIND, LACKED, STAGES, STARVES
from panicdoor.kernel import complaints, inet, kmsg
from panicdoor.kernel.systemd import Unit
from panicdoor.kernel.x509 import Certificate

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN


def severities(said: list[Any]) -> list[Severity]:
    return [one.severity for one in said]


def log(*texts: str, ago: float = 10.0) -> kernel.Report:
    at = time.monotonic() - ago
    return kernel.report(
        kmsg.Log(tuple(kmsg.Record(n, at, 3, True, text) for n, text in enumerate(texts)), 0, True)
    )


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("EXT4-fs error (device sda1): ext4_lookup:1: deleted inode", BROKEN),
        ("blk_update_request: I/O error, dev sda, sector 5", WARN),
        (f"Out of memory: Killed process 5 ({HOSTILE[:5]}) total-vm:1kB", WARN),
        ("Memory cgroup out of memory: Killed process 5 (x)", WARN),
        ("nf_conntrack: nf_conntrack: table full, dropping packet", WARN),
        ("cgroup: fork rejected by pids controller in /x", WARN),
    ],
)
def test_kernel_says(text: str, severity: Severity) -> None:
    assert severities(found("kernel_says", kernel=log(text))) == [severity]
    assert found("kernel_says", kernel=log(text, ago=3700.0)) == []


def test_what_is_not_severe_is_no_finding() -> None:
    assert found("kernel_says", kernel=log("something: failed", "eth0: Link is Down")) == []


def test_messages_are_explained_by_what_they_are_about() -> None:
    disk = "blk_update_request: I/O error, dev sda, sector 5"
    broken = "EXT4-fs error (device sda1): ext4_lookup:1: deleted inode"
    verdict = judge({"kernel": log(broken, disk)}, {})
    assert [(one.finding.key, one.because) for one in verdict.findings] == [
        ("kernel disk error", None),
        ("kernel filesystem error", 1),
    ]
    assert {one.severity for one in verdict.findings} == {BROKEN}


def test_what_the_kernel_speaks_of_is_not_cleared() -> None:
    killed = log("Memory cgroup out of memory: Killed process 5 (x)")
    verdict = judge({**quiet(), "kernel": killed}, {})
    assert "memory" not in verdict.cleared
    assert "disk" in verdict.cleared
    assert set(ABOUT) <= {one.name for one in complaints.COMPLAINTS}
    assert set(ABOUT.values()) <= set(AREAS)


def test_causes_are_rules_or_classes_that_there_are() -> None:
    classes = {one.name for one in complaints.COMPLAINTS}
    names = {one.name for one in RULES} | {f"kernel {name}" for name in classes}
    assert set(BEHIND) <= classes
    assert {name for causes in BEHIND.values() for name in causes} <= names
    assert set(STARVES) <= names
    causes = {name for causes in STAGES.values() for name in causes} | set(LACKED)
    assert {name for name in causes if not name.startswith("unit ")} - {NO_ROOM} <= names


@pytest.mark.parametrize(("times", "count"), [(9, 0), (10, 1)])
def test_crashes(times: int, count: int) -> None:
    crash = "php-fpm[12]: segfault at 8 ip 00007f sp 00007f error 4 in libc.so.6"
    assert severities(found("crashes", kernel=log(*[crash] * times))) == [WARN] * count


@pytest.mark.parametrize(("used", "severity"), [(79, None), (80, WARN), (95, BROKEN)])
def test_conntrack(used: int, severity: Severity | None) -> None:
    said = found("conntrack", sockets=limits(conntrack=used, descriptors=100))
    assert severities(said) == ([] if severity is None else [severity])


@pytest.mark.parametrize(("used", "count"), [(79, 0), (80, 1)])
def test_tcp_limits(used: int, count: int) -> None:
    said = found("tcp_limits", sockets=limits(tcp_orphans=used, conntrack=100, descriptors=100))
    assert severities(said) == [WARN] * count


def counted(**grown: int) -> sockets.Report:
    after = {name.replace("_", "."): count for name, count in grown.items()}
    return sockets.Report(before=dict.fromkeys(after, 0), after=after, seconds=0.2)


@pytest.mark.parametrize(
    ("grown", "count"),
    [
        ({"TcpExt_ListenOverflows": 1}, 1),
        ({"TcpExt_ListenOverflows": 0}, 0),
        ({"TcpExt_ListenDrops": 5}, 0),
        ({"Tcp_OutSegs": 1000, "Tcp_RetransSegs": 10}, 0),
        ({"Tcp_OutSegs": 1000, "Tcp_RetransSegs": 11}, 1),
        ({"Tcp_OutSegs": 99, "Tcp_RetransSegs": 99}, 0),
    ],
)
def test_losses(grown: dict[str, int], count: int) -> None:
    assert severities(found("losses", sockets=counted(**grown))) == [WARN] * count


def listener(waiting: int, most: int) -> listeners.Report:
    one = inet.Socket(
        inet.TCP, AF_INET, inet.LISTEN, bytes(4), 22, bytes(4), 0, waiting, most, 0, 0, 1, 0
    )
    return listeners.Report([listeners.Listener(one, ())], "", 0, False, False)


@pytest.mark.parametrize(("waiting", "count"), [(127, 0), (128, 1)])
def test_queue_full(waiting: int, count: int) -> None:
    said = found("queue_full", listeners=listener(waiting, 128))
    assert severities(said) == [BROKEN] * count


def test_network_broken() -> None:
    report: Any = quiet()["network"]
    assert found("network_broken", network=report) == []


def test_login_fails() -> None:
    stages = [Stage("listener", State.FINE, "x"), Stage("home", State.UNKNOWN, "x")]
    assert found("login_fails", login=Login(tuple(stages))) == []
    stages += [Stage("banner", State.WRONG, HOSTILE), Stage("sudo", State.WRONG, "mode 777")]
    said = found("login_fails", login=Login(tuple(stages)))
    assert [(one.severity, one.text) for one in said] == [
        (BROKEN, f"ssh fails at stage banner: {HOSTILE}"),
        (WARN, "sudo: mode 777"),
    ]


def test_a_login_that_starves_is_explained() -> None:
    stages = (Stage("banner", State.WRONG, "port 22 accepts, then says nothing"),)
    report: Any = quiet()["pressure"]
    stalled = replace(report, resources={**report.resources, "memory": psi(50.0)})
    verdict = judge({**quiet(), "login": Login(stages), "pressure": stalled}, {})
    assert [(one.rule.name, one.because) for one in verdict.findings] == [
        ("memory_stalled", None),
        ("login_fails", 1),
    ]


def chain(**changed: object) -> list[tuple[str, int | None]]:
    """Return the rules that find something on a host that is else quiet, each with its cause."""
    verdict = judge({**quiet(), **changed}, {})
    return [(one.rule.name, one.because) for one in verdict.findings]


def failed(name: str) -> services.Report:
    return services.Report((Unit(name, "", "loaded", "failed", "failed"),))


def no_login(stage: str) -> Login:
    return Login((Stage(stage, State.WRONG, "x"),))


def test_a_full_disk_ends_a_service_and_that_the_logins() -> None:
    full = sections.Room((asked("/var", percent=100),), ())
    assert chain(room=full, services=failed("ssh.service"), login=no_login("listener")) == [
        ("file_system_full", None), ("unit_failed", 1), ("login_fails", 2),
    ]  # fmt: skip
    # Of what is nearly full nothing fails yet.
    assert chain(
        room=sections.Room((asked("/var", percent=95),), ()), services=failed("a.service")
    ) == [("file_system_full", None), ("unit_failed", None)]


def test_a_service_ends_for_lack_of_inodes() -> None:
    gone = sections.Room((asked("/var", inodes=100),), ())
    assert chain(room=gone, services=failed("a.service")) == [
        ("inodes_gone", None), ("unit_failed", 1),
    ]  # fmt: skip


def test_memory_ends_a_process_and_that_a_service() -> None:
    report: Any = quiet()["memory"]
    low = replace(report, memory=report.memory._replace(available=1))
    killed = log("Out of memory: Killed process 5 (x) total-vm:1kB")
    assert chain(memory=low, kernel=killed, services=failed("a.service")) == [
        ("memory_low", None), ("kernel_says", 1), ("unit_failed", 2),
    ]  # fmt: skip


def test_a_group_that_is_a_units_explains_only_that_unit() -> None:
    group = sections.Group(limit(100, 100, hits=1, name="a.service"), 99)
    assert chain(groups=(group,), services=failed("a.service")) == [
        ("group_memory", None), ("unit_failed", 1),
    ]  # fmt: skip
    assert chain(groups=(group,), services=failed("b.service"))[1] == ("unit_failed", None)


def test_a_limit_of_tasks_refuses_forks_and_so_logins() -> None:
    report: Any = quiet()["processes"]
    full = replace(report, groups=(limit(100, 100, hits=3, name="ssh.service"),))
    refused = log("cgroup: fork rejected by pids controller in /a.slice/ssh.service")
    assert chain(processes=full, kernel=refused, login=no_login("tasks")) == [
        ("group_tasks", None), ("login_fails", 1), ("kernel_says", 1),
    ]  # fmt: skip


def test_a_full_table_of_connections_explains_that_they_are_dropped() -> None:
    dropped = log("nf_conntrack: nf_conntrack: table full, dropping packet")
    assert chain(sockets=limits(conntrack=100), kernel=dropped) == [
        ("conntrack", None), ("kernel_says", 1),
    ]  # fmt: skip


def test_systemd_silent() -> None:
    (said,) = found("systemd_silent", services=services.Report((), "it does not answer in 0.4 s"))
    assert said.severity is BROKEN
    assert found("unit_failed", services=services.Report((), "it does not answer")) == []


@pytest.mark.parametrize(("number", "count"), [(0, 0), (1, 1), (4, 4), (9, 5)])
def test_unit_failed(number: int, count: int) -> None:
    unit = Unit("a.service", HOSTILE, "loaded", "failed", "failed")
    said = found("unit_failed", services=services.Report((unit,) * number))
    assert severities(said) == [WARN] * count
    if number:
        assert said[0].text == f"a.service ({HOSTILE}) has failed"


@pytest.mark.parametrize(
    ("now", "rule", "severity"),
    [
        (0.0, "clock_impossible", BROKEN),
        (5e9, "clock_impossible", BROKEN),
        (time.time(), "clock_impossible", None),
        (0.0, "clock_doubtful", None),
    ],
)
def test_clock(now: float, rule: str, severity: Severity | None) -> None:
    report: Any = quiet()["clock"]
    said = found(rule, clock=replace(report, now=now))
    assert severities(said) == ([] if severity is None else [severity])


@pytest.mark.parametrize(
    ("changed", "count"),
    [({"max_error": 1.0}, 0), ({"max_error": 1.1}, 1), ({"synchronised": False}, 1)],
)
def test_clock_doubtful(changed: dict[str, Any], count: int) -> None:
    report: Any = quiet()["clock"]
    kept = replace(report, discipline=report.discipline._replace(**changed))
    assert severities(found("clock_doubtful", clock=kept)) == [WARN] * count


@pytest.mark.parametrize(
    ("days", "severity"), [(14.01, None), (13.9, WARN), (0.01, WARN), (-0.01, BROKEN)]
)
def test_certificate_ends(days: float, severity: Severity | None) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days)
    one = Dated(Certificate(now - timedelta(days=90), ends, ("web1", HOSTILE)), "/etc/x.pem")
    said = found("certificate_ends", certificates=certificates.Report(now, [one]))
    assert severities(said) == ([] if severity is None else [severity])
