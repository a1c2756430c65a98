"""The stages of a login by ssh: of each whether it can work, in the order they are gone through.

A stage is a function from what was seen to what to say of it. WRONG is what keeps people out; what
cannot be known without the disk is UNKNOWN, and what this host does without is ABSENT.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from panicdoor.commands.table import duration
from panicdoor.kernel import cgroups, dbus, elf, faillock, inet, reading, systemd, tasks
from panicdoor.kernel import pressure as kernel_pressure
from panicdoor.kernel.banner import Said
from panicdoor.kernel.cached import Files, NotInMemoryError

BUS_S: Final = 0.3  # seconds that the bus may take to greet us
TASKS_HIGH: Final = 95.0  # percent of all tasks; a login needs some 5
FAILURES: Final = 3  # faillock.conf(5): deny
STARTUPS: Final = 10  # sshd_config(5), MaxStartups: from here on connections are refused at random
LINKS_MAX: Final = 8  # groups around sshd's own that are looked at

CONFIG: Final = "/etc/ssh/sshd_config"
PROGRAMS: Final = ("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd")
SEPARATION: Final = "/run/sshd"  # Debian's sshd does not start without
NOLOGIN: Final = ("/run/nologin", "/etc/nologin", "/var/run/nologin")
BUS: Final = "/run/dbus/system_bus_socket"
SUDO: Final = ("/usr/bin/sudo", "/etc/sudoers")

_MAX_STARTUPS: Final = re.compile(rb"^[ \t]*MaxStartups[ \t=]+([0-9]{1,6})", re.I | re.M)
_PAM_YES: Final = re.compile(rb"^[ \t]*UsePAM[ \t=]+yes", re.I | re.M)
_DENY: Final = re.compile(rb"^[ \t]*deny[ \t]*=[ \t]*([0-9]{1,4})", re.M)
_PASSWD_BY: Final = re.compile(rb"^passwd:[ \t]*([^\n]*)", re.M)
_SSSD: Final = ("sss", "sssd")  # the word in nsswitch.conf(5), and who must run for it


class State(Enum):
    """What is known of a stage."""

    FINE = "fine"
    WRONG = "WRONG"
    UNKNOWN = "unknown"
    ABSENT = "absent"


class Stage(NamedTuple):
    """One stage, and the sentence about it."""

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stages look at: files, processes, who listens, and what sshd said by port.

    `servers` are sshd's own processes that wait for connections, `unproven` counts connections
    before a login, and `group` is the control group of sshd.
    """

    files: Files
    stats: Sequence[tasks.Stat]
    listening: Sequence[inet.Socket]
    silent: str
    servers: Sequence[tasks.Stat]
    ports: tuple[int, ...]
    said: Mapping[int, Said]
    unproven: int
    group: str

    def runs(self, name: str) -> bool:
        """Return whether a process of that name runs."""
        return any(stat.name == name for stat in self.stats)


Told = tuple[State, str]
Look = Callable[[Seen], Told]
STAGES: Final[list[tuple[str, Look]]] = []


def stage(name: str) -> Callable[[Look], Look]:
    """Put the decorated function into STAGES, in their order."""

    def register(function: Look) -> Look:
        STAGES.append((name, function))
        return function

    return register


def all_of(seen: Seen) -> Iterator[Stage]:
    """Yield every stage."""
    for name, function in STAGES:
        try:
            yield Stage(name, *function(seen))
        except NotInMemoryError:
            yield Stage(name, State.UNKNOWN, "not in memory: only the disk knows")
        except OSError as error:
            yield Stage(name, State.UNKNOWN, error.strerror or "cannot be read")


@stage("listener")
def listener(seen: Seen) -> Told:
    """Does anybody listen?"""
    if seen.ports:
        who = f"sshd (pid {seen.servers[0].pid})" if seen.servers else "somebody"
        return State.FINE, f"{who} listens on port {', '.join(map(str, seen.ports))}"
    if seen.silent:
        return State.UNKNOWN, seen.silent
    if seen.servers:
        return State.WRONG, f"sshd runs (pid {seen.servers[0].pid}) and listens on no port"
    if not any(seen.files.stat(path) for path in PROGRAMS):
        return State.ABSENT, "this host has no sshd"
    if seen.files.stat(SEPARATION) is None and os.path.exists("/etc/debian_version"):
        return State.WRONG, f"sshd does not run, nor can it: {SEPARATION} is missing"
    return State.WRONG, "sshd does not run: nobody listens"


@stage("queue")
def queue(seen: Seen) -> Told:
    """Does it take connections in?"""
    ours = [one for one in seen.listening if one.port in seen.ports]
    if not ours:
        return State.ABSENT, "nobody listens"
    worst = max(ours, key=lambda one: one.receive)
    if 0 <= worst.send <= worst.receive:
        return State.WRONG, (
            f"{worst.receive} connections wait at port {worst.port}, where {worst.send} may: "
            "nobody accepts them"
        )
    return State.FINE, f"{worst.receive} wait to be accepted"


@stage("banner")
def banner(seen: Seen) -> Told:
    """Does sshd say its name?"""
    if not seen.ports:
        return State.ABSENT, "nobody listens"
    texts = []
    for port in seen.ports:
        said = seen.said.get(port)
        if said is None:
            return State.UNKNOWN, f"port {port} could not be tried"
        if said.error:
            return State.WRONG, f"port {port} {said.error} (within {said.seconds:.1f} s)"
        if not said.text.startswith("SSH-"):
            return State.WRONG, f"port {port} says: {said.text[:60]}"
        texts.append(f"{said.text[:40]} after {said.seconds * 1000:.0f} ms")
    return State.FINE, ", ".join(texts)


@stage("waiting")
def waiting(seen: Seen) -> Told:
    """Is there room for one more that has not proved who it is?"""
    try:
        found = _MAX_STARTUPS.search(seen.files.read(CONFIG) or b"")
    except (NotInMemoryError, OSError):
        found = None
    most = int(found[1]) if found else STARTUPS
    text = f"{seen.unproven} have not logged in yet, of {most} (MaxStartups)"
    if seen.unproven >= most:
        return State.WRONG, f"{text}: sshd refuses others at random"
    return State.FINE, text


@stage("tasks")
def room_for_tasks(seen: Seen) -> Told:
    """Can sshd start processes?"""
    load = kernel_pressure.load()
    most = tasks.limit()
    if load and most and 100 * load.tasks / most >= TASKS_HIGH:
        return State.WRONG, f"the host has {load.tasks} tasks of {most}: sshd cannot start one"
    full = _full_group(seen.group)
    if full:
        return State.WRONG, f"sshd's group {full}: it cannot start a process"
    return State.FINE, f"{load.tasks if load else '?'} of {most or '?'} on the host"


def _full_group(group: str) -> str:
    """Return the group around sshd that has all the tasks it may have, with its numbers."""
    hierarchy = cgroups.hierarchy("pids") if group else None
    if hierarchy is None:
        return ""
    at = group.rstrip("/")
    for _ in range(LINKS_MAX):
        if not at:
            break
        folder = f"{hierarchy.root}{at}"
        used = reading.number(reading.value(f"{folder}/pids.current"))
        most = cgroups.parse_limit(reading.value(f"{folder}/pids.max").encode("latin-1"))
        if used is not None and most is not None and used >= most:
            return f"{at} has {used} of {most} tasks"
        at = at.rpartition("/")[0]
    return ""


@stage("accounts")
def account(seen: Seen) -> Told:
    """Is there a root, and can its shell start?"""
    passwd = seen.files.read("/etc/passwd", 1 << 20)
    if passwd is None:
        return State.WRONG, "/etc/passwd is missing: nobody has an account"
    fields = _root(passwd)
    if fields is None:
        return State.WRONG, "/etc/passwd has no root with the number 0"
    if seen.files.stat("/etc/shadow") is None:
        return State.WRONG, "/etc/shadow is missing: PAM lets nobody in"
    return State.FINE, f"/etc/passwd and /etc/shadow are there; root's home is {fields[5]}"


def _root(passwd: bytes) -> list[str] | None:
    for line in passwd.split(b"\n"):
        fields = line.decode("latin-1").split(":")
        if len(fields) == 7 and fields[0] == "root" and fields[2] == "0":  # noqa: PLR2004 - passwd(5)
            return fields
    return None


@stage("shell")
def shell(seen: Seen) -> Told:
    """Can root's shell start?"""
    fields = _root(seen.files.read("/etc/passwd", 1 << 20) or b"")
    path = (fields[6] if fields else "") or "/bin/sh"
    found = seen.files.stat(path)
    if found is None:
        return State.WRONG, f"root's shell {path} is missing"
    if not found.st_mode & 0o111 or not stat.S_ISREG(found.st_mode):
        return State.WRONG, f"root's shell {path} cannot be run (mode {found.st_mode & 0o7777:o})"
    loader = elf.interpreter(seen.files.read(path, 4096) or b"")
    if loader and seen.files.stat(loader) is None:
        return State.WRONG, f"{loader}, which {path} and all programs need, is missing"
    return State.FINE, f"{path} and its loader are there" if loader else f"{path} is there"


@stage("nologin")
def nologin(seen: Seen) -> Told:
    """Is everybody but root kept out on purpose?"""
    for path in NOLOGIN:
        if seen.files.stat(path) is not None:
            text = (seen.files.read(path, 200) or b"").decode("latin-1").strip()
            return State.WRONG, f"{path} lets only root in" + (f": {text}" if text else "")
    return State.FINE, "no nologin file"


@stage("PAM")
def pam(seen: Seen) -> Told:
    """Has PAM its files?"""
    if seen.files.stat("/etc/pam.d") is None:
        return State.ABSENT, "this host has no PAM"
    config = seen.files.read(CONFIG)
    if config is None or not _PAM_YES.search(config):
        return State.ABSENT, "sshd does not say that it uses PAM"
    if seen.files.stat("/etc/pam.d/sshd") is None:
        return State.WRONG, "/etc/pam.d/sshd is missing: PAM lets nobody in"
    return State.FINE, "/etc/pam.d/sshd is there"


@stage("names")
def names(seen: Seen) -> Told:
    """Are those there who are asked for names?"""
    config = seen.files.read("/etc/nsswitch.conf")
    found = _PASSWD_BY.search(config or b"")
    sources = found[1].decode("latin-1").split() if found else ["files"]
    word, daemon = _SSSD
    if word in sources and not seen.runs(daemon):
        return State.WRONG, f"names are asked of {daemon} too, which does not run"
    return State.FINE, f"names come from: {' '.join(sources)[:60]}"


@stage("locked out")
def locked_out(seen: Seen) -> Told:
    """Is anybody locked out after wrong passwords?"""
    found = faillock.look()
    if found is None:
        return State.ABSENT, "nobody counts wrong passwords here (faillock)"
    try:
        config = _DENY.search(seen.files.read("/etc/security/faillock.conf") or b"")
    except (NotInMemoryError, OSError):
        config = None
    deny = int(config[1]) if config else FAILURES
    locked = [one for one in found if one.failures >= max(1, deny)]
    if locked:
        named = ", ".join(
            f"{one.user} ({one.failures}, last {duration(one.seconds)} ago from "
            f"{one.source or '?'})"
            for one in locked[:3]
        )
        return State.WRONG, f"faillock counts too many wrong passwords: {named}"
    return State.FINE, f"faillock counts failures of {len(found)} users, none has {deny}"


@stage("bus")
def bus(seen: Seen) -> Told:
    """Can a session be announced? pam_systemd(8) waits 25 s for a bus that does not answer."""
    if not systemd.booted():
        return State.ABSENT, "no systemd: a login needs no bus here"
    try:
        with dbus.connect(BUS, BUS_S) as connection:
            connection.authenticate()
    except (OSError, dbus.DBusError) as error:
        why = "it hangs" if isinstance(error, TimeoutError) else str(error)[:60]
        return State.WRONG, f"the system bus does not answer, so each login waits 25 s: {why}"
    if not seen.runs("systemd-logind"):
        return State.WRONG, "systemd-logind does not run: each login waits for it"
    return State.FINE, "the system bus answers, and systemd-logind runs"


@stage("sudo")
def sudo(seen: Seen) -> Told:
    """Can whoever is in become root?"""
    program, sudoers = (seen.files.stat(path) for path in SUDO)
    if program is None:
        return State.ABSENT, "this host has no sudo"
    if program.st_uid or not program.st_mode & stat.S_ISUID:
        return State.WRONG, f"{SUDO[0]} is not root's and setuid: it can do nothing"
    if sudoers is None:
        return State.WRONG, f"{SUDO[1]} is missing: sudo refuses everybody"
    if sudoers.st_uid or sudoers.st_mode & 0o022:
        return State.WRONG, (
            f"{SUDO[1]} may be written by others (owner {sudoers.st_uid}, mode "
            f"{sudoers.st_mode & 0o7777:o}): sudo refuses everybody"
        )
    return State.FINE, f"{SUDO[1]} is root's; its text is not checked"


@stage("home")
def home(seen: Seen) -> Told:
    """Is root's home there?"""
    fields = _root(seen.files.read("/etc/passwd", 1 << 20) or b"")
    if fields is None:
        return State.UNKNOWN, "there is no root"
    found = seen.files.stat(fields[5] or "/")
    if found is None or not stat.S_ISDIR(found.st_mode):
        return State.WRONG, f"root's home {fields[5]} is missing: its keys are not found"
    return State.FINE, f"{fields[5]} is there"
