"""Rules about what a host says and does: the kernel's messages, networks, logins, services, time.

See commands.findings, and commands.rules_memory and rules_disks for what a host can run out of.
"""

from collections.abc import Iterator
from typing import Final

from panicdoor.commands.certificates import SOON_DAYS
from panicdoor.commands.certificates import Report as Certificates
from panicdoor.commands.clock import EARLIEST, LATEST, moment
from panicdoor.commands.clock import Report as Clock
from panicdoor.commands.clock import wrong as wrong_clock
from panicdoor.commands.findings import Finding, Severity, rule
from panicdoor.commands.kernel import SEVERE, STORM, STORM_S
from panicdoor.commands.kernel import Report as Kernel
from panicdoor.commands.listeners import Report as Listeners
from panicdoor.commands.listeners import wrong as full_queues
from panicdoor.commands.login import Report as Login
from panicdoor.commands.network import Report as Network
from panicdoor.commands.network import wrong as wrong_network
from panicdoor.commands.rules_disks import NO_ROOM
from panicdoor.commands.services import Report as Services
from panicdoor.commands.services import sentence as unit_sentence
from panicdoor.commands.sockets import COUNTED, LIMIT_HIGH, RETRANSMITS_HIGH, retransmitted
from panicdoor.commands.sockets import Report as Sockets
from panicdoor.commands.table import cut, duration, percent

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN

NAMED_MAX: Final = 4  # findings of one rule
CONNTRACK_BROKEN: Final = 95.0  # percent: new connections are dropped at 100
TEXT_MAX: Final = 90  # characters of a message that a finding repeats

# What keeps sshd from answering, the likeliest first.
STARVES: Final = (
    "tasks_full", "group_tasks", "memory_stalled", "memory_low", "disk_stuck", "read_only",
    "io_waits", "descriptors_full", "stuck", "cpu_waits", "load_high",
)  # fmt: skip
# Stages of a login that are a nuisance, and no end of it.
NUISANCE: Final = ("sudo", "home", "locked out", "names")
# What else explains a stage that fails; units are called by their keys.
STAGES: Final = {
    "queue": STARVES,
    "banner": STARVES,
    "waiting": STARVES,
    "tasks": ("group_tasks", "tasks_full"),
    "listener": ("unit ssh.service", "unit sshd.service", "unit ssh.socket", "unit sshd.socket"),
    "bus": (
        "unit dbus.service", "unit dbus-broker.service", "unit systemd-logind.service",
        "systemd_silent",
    ),
}  # fmt: skip
# What a service that ends for lack of something most often lacked, beside its own group's limits.
LACKED: Final = (
    NO_ROOM, "read_only", "kernel out of memory", "kernel fork refused", "kernel descriptors",
    "clock_impossible",
)  # fmt: skip
# What explains each class of the kernel's messages.
BEHIND: Final = {
    "out of memory": ("group_memory", "memory_low"),
    "hung task": ("stuck", "disk_stuck", "kernel disk error", "kernel remote disk"),
    "fork refused": ("group_tasks", "tasks_full"),
    "connections dropped": ("conntrack",),
    "descriptors": ("descriptors_full",),
    "read-only": ("kernel filesystem error", "kernel disk error"),
    "filesystem error": ("kernel disk error", "disk_stuck"),
    "disk error": ("disk_stuck",),
}
# Which area each speaks of: that is not fine, though it may look so at this moment.
ABOUT: Final = {
    "out of memory": "MEMORY",
    "hung task": "TASKS",
    "fork refused": "TASKS",
    "connections dropped": "NETWORK",
    "descriptors": "FILES",
    "read-only": "DISK",
    "filesystem error": "DISK",
    "disk error": "DISK",
    "remote disk": "DISK",
}


@rule("LOGIN", normal="every stage of a login works", source="sshd(8), pam_nologin(8), faillock(8)")
def login_fails(login: Login) -> Iterator[Finding]:
    """Nobody can log in by ssh, or not as they should."""
    for stage in login.broken[:NAMED_MAX]:
        yield Finding(
            WARN if stage.name in NUISANCE else BROKEN,
            f"ssh fails at stage {stage.name}: {stage.text}"
            if stage.name not in NUISANCE
            else f"{stage.name}: {stage.text}",
            ("login",),
            STAGES.get(stage.name, ()),
            key=f"login {stage.name}",
        )


@rule(
    "KERNEL",
    normal="nothing severe in the last hour",
    source="messages of the kernel's sources: kernel.complaints; Gregg, 60 seconds: dmesg",
)
def kernel_says(kernel: Kernel) -> Iterator[Finding]:
    """The kernel has complained of something severe."""
    severe = [one for one in kernel.classes if one.recent and one.complaint.rank <= SEVERE]
    for found in severe[:NAMED_MAX]:
        name = found.complaint.name
        yield Finding(
            BROKEN if found.complaint.rank == 1 else WARN,
            f"{name}, {found.recent} in the last hour, {duration(found.last)} ago: "
            f"{cut(found.text, TEXT_MAX)}",
            ("kernel",),
            BEHIND.get(name, ()),
            key=f"kernel {name}",
            about=ABOUT.get(name, ""),
        )


@rule(
    "KERNEL",
    normal=f"below {STORM} in {duration(STORM_S)}",
    source="segfault messages, arch/x86/mm/fault.c",
)
def crashes(kernel: Kernel) -> Iterator[Finding]:
    """A program crashes again and again."""
    for program, count in list(kernel.storms.items())[:NAMED_MAX]:
        yield Finding(
            WARN, f"{program} crashed {count} times in the last {duration(STORM_S)}", ("kernel",)
        )


@rule("NETWORK", normal=f"below {LIMIT_HIGH:.0f} %", source="nf_conntrack-sysctl.rst")
def conntrack(sockets: Sockets) -> Iterator[Finding]:
    """The table of tracked connections is nearly full: then new ones are dropped."""
    for limit in sockets.limits:
        if limit.name == "conntrack" and limit.percent >= LIMIT_HIGH:
            yield Finding(
                BROKEN if limit.percent >= CONNTRACK_BROKEN else WARN,
                f"{limit.used} of {limit.most} connections are tracked ({percent(limit.percent)}): "
                "when that is full, new ones are dropped",
                ("sockets",),
            )


@rule("NETWORK", normal=f"below {LIMIT_HIGH:.0f} %", source="ip-sysctl.rst; sockstat")
def tcp_limits(sockets: Sockets) -> Iterator[Finding]:
    """TCP has nearly used up something of which there is a fixed amount."""
    for limit in sockets.limits:
        if limit.name not in ("conntrack", "descriptors") and limit.percent >= LIMIT_HIGH:
            yield Finding(
                WARN, f"{limit.name}: {limit.used} of {limit.most} are in use", ("sockets",)
            )


@rule("NETWORK", normal="0", source="Documentation/networking/snmp_counter.rst")
def losses(sockets: Sockets) -> Iterator[Finding]:
    """Something was lost while we looked."""
    for name, meaning, alarming in COUNTED:
        if alarming and (grown := sockets.grown(name)):
            yield Finding(
                WARN,
                f"{meaning}: {grown} in the last {sockets.seconds:.1f} s (normal 0)",
                ("sockets",),
                ("queue_full", "cpu_waits"),
            )
    again = retransmitted(sockets)
    if again is not None and again > RETRANSMITS_HIGH:
        yield Finding(
            WARN, f"{percent(again)} of segments are sent again (normal below 1 %)", ("sockets",)
        )


@rule("NETWORK", normal="every queue has room", source="listen(2); ListenOverflows")
def queue_full(listeners: Listeners) -> Iterator[Finding]:
    """A listener does not accept its connections."""
    for text in list(full_queues(listeners))[:NAMED_MAX]:
        yield Finding(BROKEN, text, ("listeners",), STARVES)


@rule("NETWORK", normal="links up, ways out, no broken packets", source="rtnetlink(7); Gregg, USE")
def network_broken(network: Network) -> Iterator[Finding]:
    """An interface, an address or a default route does not work."""
    for text in list(wrong_network(network))[:NAMED_MAX]:
        yield Finding(WARN, text, ("network",), ("kernel link",))


@rule("SERVICES", normal="systemd answers", source="org.freedesktop.systemd1(5)")
def systemd_silent(services: Services) -> Iterator[Finding]:
    """systemd itself does not answer: nothing can be started, stopped or asked."""
    if services.silent:
        yield Finding(
            BROKEN,
            f"systemd (pid 1) can do nothing: {services.silent}",
            ("services", "processes 1"),
            STARVES,
        )


@rule("SERVICES", normal="none has failed", source="systemctl --failed")
def unit_failed(services: Services) -> Iterator[Finding]:
    """A unit has failed, or starts again and again."""
    for unit in services.units[:NAMED_MAX]:
        yield Finding(
            WARN,
            unit_sentence(unit),
            ("services",),
            (f"group {unit.name}", *LACKED),
            key=f"unit {unit.name}",
        )
    if len(services.units) > NAMED_MAX:
        yield Finding(WARN, f"{len(services.units) - NAMED_MAX} more units failed", ("services",))


@rule("CLOCK", normal="a year in which this program is in use", source="failures: a wrong clock")
def clock_impossible(clock: Clock) -> Iterator[Finding]:
    """The clock is wrong for certain."""
    if not EARLIEST <= clock.now <= LATEST:
        yield Finding(BROKEN, f"the clock is wrong: it says {moment(clock.now)}", ("clock",))


@rule("CLOCK", normal="synchronised, within 1 s", source="adjtimex(2); RFC 6238, 5.2; RFC 4120")
def clock_doubtful(clock: Clock) -> Iterator[Finding]:
    """Nobody vouches for the time, or clocks differ."""
    if EARLIEST <= clock.now <= LATEST:
        for text in wrong_clock(clock):
            yield Finding(WARN, text, ("clock",))


@rule(
    "CERTS",
    normal=f"more than {SOON_DAYS} days left",
    source="RFC 5280, 4.1.2.5; ACME clients renew a month before",
)
def certificate_ends(certificates: Certificates) -> Iterator[Finding]:
    """A certificate that a service uses has ended, or soon will."""
    ending = [one for one in certificates.found if certificates.days(one) < SOON_DAYS]
    for one in ending[:NAMED_MAX]:
        days = certificates.days(one)
        when = f"ended {duration(-days * 86400)} ago" if days < 0 else f"ends in {days:.0f} d"
        yield Finding(
            BROKEN if days < 0 else WARN,
            f"the certificate of {one.name} {when} ({one.file})",
            ("certificates",),
            ("clock_impossible",),
        )
