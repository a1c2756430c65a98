"""Made-up hosts: one with nothing wrong, of which tests change what they want to be wrong."""

import time
from datetime import UTC, datetime

from panicdoor.commands import (
    certificates,
    clock,
    disk_tables,
    kernel,
    listeners,
    login,
    login_stages,
    memory,
    mounts,
    network,
    pressure,
    processes,
    sections,
    services,
    sockets,
)
from panicdoor.commands.findings import RULES, Finding, Rule
from panicdoor.kernel import cgroups, diskstats, filesystems, meminfo, tasks
from panicdoor.kernel import clock as kernel_clock
from panicdoor.kernel import mounts as mount_table
from panicdoor.kernel import pressure as kernel_pressure
from panicdoor.kernel.counters import Limit

GIB = 1 << 30
HOSTILE = "x) R 1\n(\x1b[2J"  # a name that a process, a group or a mount may have


def rule(name: str) -> Rule:
    """Return a rule of the table."""
    return next(one for one in RULES if one.name == name)


def found(name: str, *, missing: tuple[str, ...] = (), **changed: object) -> list[Finding]:
    """Return what one rule finds on a quiet host of which some reports are changed."""
    one = rule(name)
    reports = {**quiet(), **changed}
    given = {key: reports[key] for key in (*one.needs, *one.takes) if key not in missing}
    return list(one.find(**given))


def waiting(share: float) -> kernel_pressure.Waiting:
    return kernel_pressure.Waiting(share, share, share, 0)


def psi(share: float = 0.0) -> kernel_pressure.Pressure:
    return kernel_pressure.Pressure(waiting(share), waiting(share))


def stat(pid: int = 2**22 + 1, name: str = "sleeper", state: str = "S", rss: int = 0) -> tasks.Stat:
    return tasks.Stat(pid, name, state, 1, 0, False, 0, 1, 0, rss)


def shown(one: tasks.Stat, cpu: float = 0.0) -> processes.Process:
    return processes.Process(one, cpu, False)


def mount(point: str = "/data", kind: str = "ext4", device: str = "8:1") -> mount_table.Mount:
    return mount_table.Mount(
        30, 1, device, b"/", point.encode("latin-1"), ("rw",), kind, b"/dev/x", ("rw",)
    )


def usage(percent: float = 40.0, inodes: float = 10.0, size: int = 100 * GIB) -> filesystems.Usage:
    used = round(size * percent / 100)
    return filesystems.Usage(size, used, size - used, 1000, round(inodes * 10))


def asked(point: str = "/data", device: str = "8:1", **of: float) -> disk_tables.Asked:
    return disk_tables.Asked(mount(point, device=device), usage(**of))  # type: ignore[arg-type]


def limit(
    used: int, most: int, hits: int = 0, kills: int = 0, name: str = HOSTILE
) -> cgroups.Limit:
    return cgroups.Limit(f"/a.slice/{name}", used, most, hits, kills)


def limits(**used: int) -> sockets.Report:
    """What is limited, each to 100: `descriptors`, `conntrack`, ..."""
    return sockets.Report(
        limits=[Limit(name.replace("_", " "), count, 100) for name, count in used.items()],
        seconds=0.2,
    )


def disk(
    busy: float = 0.0, in_flight: int = 0, await_ms: float | None = None
) -> diskstats.Activity:
    return diskstats.Activity("sda", busy, in_flight, await_ms, 0.0, 0.0)


def quiet() -> dict[str, object]:
    """Return the reports of a host with nothing wrong."""
    blank = meminfo.Memory(*[0] * len(meminfo.Memory._fields))
    full = blank._replace(total=16 * GIB, available=8 * GIB, swap_total=GIB, swap_free=GIB)
    now = time.time()
    kept = kernel_clock.Discipline(True, "ok", 0.0, 0.01, 0.0, 0.0)
    shares = {"user": 1.0, "system": 1.0, "interrupts": 0.0, "waiting": 0.0, "stolen": 0.0}
    return {
        "memory": memory.Report(
            full, (), meminfo.Activity(0, 0, 0, 0, 0, 0), 0, 0, 0, (), 0, (), (), False
        ),
        "groups": (),
        "processes": processes.Report(
            {"S": 3}, 3, 4, 32768, 1.0, (shown(stat()),), 0, (), 0, {}, {0: 4}, ()
        ),
        "tasks": sections.Tasks(400, 32768, 1.0),
        "pressure": pressure.Report(
            {"cpu": psi(), "memory": psi(), "io": psi()},
            kernel_pressure.Load(0.5, 0.5, 0.5, 1, 400),
            4,
            {**shares, "idle": 98.0},
            1,
            0,
            (),
            False,
        ),
        "kernel": kernel.Report((), (), {}, 0, 0, True),
        "clock": clock.Report(now, kept, int(now) - 1000, 1000.0, 0.0, "tsc", ()),
        "mounts": mounts.Report([mounts.Seen("writable", mount())], False),
        "disks": (disk(),),
        "sockets": limits(descriptors=1, conntrack=1),
        "network": network.Report([], {}, [], [], 0.2),
        "listeners": listeners.Report([], "sock_diag", 0, False, False),
        "services": services.Report(()),
        "login": login.Report((login_stages.Stage("listener", login_stages.State.FINE, "ok"),)),
        "held": sections.Held(0, {}, (), False),
        "room": sections.Room((asked(),), ()),
        "certificates": certificates.Report(datetime.fromtimestamp(now, UTC)),
    }
