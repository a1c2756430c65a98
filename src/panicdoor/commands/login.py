"""The command `login`: why nobody can log in.

A login by ssh goes through stages, and each fails in its own way. Whatever a stage needs is looked
at without taking part in it: no process is started, no name service, PAM or bus is asked for
anybody, and files are taken from memory (kernel.cached). What is not in memory is asked of the
disk at the very end, when everything else has been said.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from socket import AF_INET, AF_INET6
from typing import Final

from panicdoor.commands import login_stages
from panicdoor.commands.fields import fields
from panicdoor.commands.login_stages import Seen, Stage, State
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    findings,
    lines_as_parts,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, inet, mounts, sessions, socket_table, tasks
from panicdoor.kernel.banner import Connection
from panicdoor.kernel.cached import Files
from panicdoor.kernel.netlink import NetlinkError

BANNER_S: Final = 1.0  # seconds until sshd must have said its name; it takes some 30 ms
SSH: Final = 22  # the port that is tried where no process called sshd listens
LISTENERS_MAX: Final = 2000  # listening sockets that are looked through
UNPROVEN: Final = ("sshd", "_sshd", "_ssh", "nobody")  # whom sshd runs as before a login

_ANY: Final = (bytes(4), bytes(16))  # 0.0.0.0 and ::
_DEAD: Final = ("Z", "X")  # proc_pid_stat(5): not collected yet


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen: the stages in the order in which a login goes through them."""

    stages: tuple[Stage, ...]

    @property
    def broken(self) -> tuple[Stage, ...]:
        """The stages at which it fails."""
        return tuple(stage for stage in self.stages if stage.state is State.WRONG)


@dataclass(slots=True)
class Before:
    """The first half: who listens, and a connection to sshd that is being made."""

    listening: list[inet.Socket] = field(default_factory=list)
    silent: str = ""
    connections: dict[int, Connection] = field(default_factory=dict)  # by port


def begin() -> Before:
    """Look who listens, and knock at port 22 if anybody does. Never raises."""
    before = Before()
    try:
        told = socket_table.read(inet.TCP, (inet.LISTEN,)).sockets
        before.listening = list(islice(told, LISTENERS_MAX))
    except (OSError, NetlinkError) as error:
        before.silent = f"the kernel does not tell who listens: {error}"
    _knock(before, SSH)
    return before


def _knock(before: Before, port: int) -> None:
    """Begin a connection to whoever listens on a port, once."""
    found = [one for one in before.listening if one.port == port]
    if not found or port in before.connections:
        return
    best = max(found, key=lambda one: (one.local in _ANY, one.family == AF_INET))
    host = inet.host(best.local)
    if best.local in _ANY:
        host = "127.0.0.1" if best.family == AF_INET else "::1"
    family = AF_INET6 if ":" in host else AF_INET
    before.connections[port] = Connection(family, host, port)


def look(
    before: Before, stats: Sequence[tasks.Stat], mounted: Sequence[mounts.Mount], wait: bool = False
) -> Report:
    """Go through the stages; `stats` are all processes. Takes BANNER_S at most, plus the bus's.

    With `wait` the disk is asked too, and may never answer.
    """
    stats = [one for one in stats if one.name not in sessions.SSHD or _is_here(one)]
    servers = [s for s in stats if s.name == "sshd" and not _is_connection(s, stats)]
    ports = _ports(before, servers)
    for port in ports:
        _knock(before, port)
    said = {port: made.finish(BANNER_S) for port, made in before.connections.items()}
    seen = Seen(
        Files(mounted, wait),
        stats,
        before.listening,
        before.silent,
        servers,
        ports,
        said,
        _unproven(stats),
        tasks.group(servers[0].pid) if servers else "",
    )
    return Report(tuple(login_stages.all_of(seen)))


def _is_here(server: tasks.Stat) -> bool:
    """Return whether it runs in our network namespace: a container's sshd is not this host's."""
    if server.state in _DEAD:
        return False
    try:
        return os.readlink(f"/proc/{server.pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return True  # it is not ours to know


def _is_connection(server: tasks.Stat, stats: Sequence[tasks.Stat]) -> bool:
    return any(server.parent == other.pid for other in stats if other.name == "sshd")


def _ports(before: Before, servers: Sequence[tasks.Stat]) -> tuple[int, ...]:
    """Return where sshd listens: by its own sockets, or port 22 where somebody listens there."""
    inodes = {inode for server in servers[:8] for inode in sessions.socket_inodes(server.pid)}
    ours = {one.port for one in before.listening if one.inode in inodes and one.inode}
    if not ours and any(one.port == SSH for one in before.listening):
        ours = {SSH}
    return tuple(sorted(ours)[:4])


def _unproven(stats: Sequence[tasks.Stat]) -> int:
    users = accounts.names("user")
    return sum(
        users.get(one.uid, "") in UNPROVEN or (not one.uid and not one.shells)
        for one in sessions.connections(stats)
    )


def wrong(report: Report) -> Iterator[str]:
    """Yield why logins fail, the first stage first: what comes later may follow from it."""
    for stage in report.broken:
        yield f"login fails at stage {stage.name}: {stage.text}"


_FIELDS: Final = fields(
    """
    .findings[] text: why logins fail, the first stage first
    .stages[].name text: a stage of a login
    .stages[].state text: fine, WRONG, unknown or absent
    .stages[].text text: what was seen
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def login(context: Context, *, json: bool = False) -> Iterator[str]:
    """Find out why nobody can log in by ssh.

    Each stage of a login is looked at, in its order: who listens, whether its queue has room,
    whether sshd says its name within a second (it is connected to on this host, and nothing is
    sent), how many wait before a login, nologin files, tasks, the accounts' files, root's shell
    and what that needs to start, PAM's files, name services, users locked out after wrong
    passwords, the bus that sessions are announced on, sudo, and root's home. Firewalls, keys and
    passwords are not looked at, and what works on this host's own address may fail from outside.

    What lies on a disk and is not in memory is `unknown` at first; at the very end the disk is
    asked for it. If nothing comes then, the disk is what hangs. With --json it is not asked.

    Arguments:
        json: print one JSON object

    Examples:
        > login
        ...
        STAGE...STATE...WHAT
        listener...
        ...
    """
    report = _now(begin())
    if json:
        yield from document(_document(report))
        return
    yield from lines_as_parts(_lines(report))
    late = [stage.name for stage in report.stages if stage.state is State.UNKNOWN]
    if late:
        yield from lines_as_parts(findings((), f"asking the disk for: {', '.join(late)} ..."))
        asked = _now(begin(), wait=True)
        later = Report(tuple(stage for stage in asked.stages if stage.name in late))
        yield from lines_as_parts(_lines(later))


def _now(before: Before, wait: bool = False) -> Report:
    try:
        pids, _ = tasks.pids()
        mounted, _ = mounts.read()
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    return look(before, list(tasks.stats(pids)), mounted, wait)


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "No stage of a login fails that could be looked at.")
    yield from table(
        [Column("STAGE"), Column("STATE"), Column("WHAT", least=30)],
        [(stage.name, stage.state.value, stage.text) for stage in report.stages],
    )


def _document(report: Report) -> Json:
    return {
        "findings": list(wrong(report)),
        "stages": [
            {"name": stage.name, "state": stage.state.value, "text": stage.text}
            for stage in report.stages
        ],
    }
