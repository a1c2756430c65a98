"""The command `who`: who is logged in, by three sources that fail apart from each other."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    duration,
    findings,
    left_out,
    lines_as_parts,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, inet, sessions, socket_table, tasks
from panicdoor.kernel.netlink import NetlinkError

ROWS_SHOWN: Final = 18
ROWS_MAX: Final = 500  # logins that are kept
PEERS_MAX: Final = 50  # connections whose other side is looked up
SOCKETS_MAX: Final = 50_000  # sockets that are looked through for them
UNPROVEN: Final = ("sshd", "_sshd", "_ssh", "nobody")  # whom sshd runs as before a login
UNPROVEN_HIGH: Final = 10  # MaxStartups 10:30:100, sshd_config(5): from here on it may refuse


class Login(NamedTuple):
    """One login. `where` is an address or a host name, as the source has it; `sources` say who
    tells of it. `seconds` is how long it lasts."""

    user: str
    terminal: str
    where: str
    pid: int
    seconds: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen; `unproven` are connections of whoever has not logged in to sshd (yet).

    `silent` are sources that are not there.
    """

    logins: tuple[Login, ...]
    unproven: tuple[Login, ...]
    silent: tuple[str, ...]
    more: int


def look() -> Report:
    """Look into utmp, logind's files and the processes. Raises CommandError."""
    try:
        pids, unseen = tasks.pids()
    except OSError as error:
        raise CommandError(f"/proc does not answer: {error.strerror}") from error
    alive: set[int] = set()
    connections = list(sessions.connections(_watched(pids, alive)))
    utmp, logind = sessions.utmp(), sessions.logind()
    logins: dict[int, Login] = {}
    same = {connection.parent: connection.pid for connection in connections}
    for login in (
        *_connected(connections),
        *_managed(logind or ()),
        *_entered(utmp or (), alive),
    ):
        pid = same.get(login.pid, login.pid)
        logins[pid] = _merged(logins[pid], login) if pid in logins else login
    idle = {c.pid for c in connections if c.uid == 0 and not c.shells}
    found = sorted(logins.values(), key=lambda login: login.seconds)
    unproven = [login for login in found if _is_unproven(login, idle)]
    proven = [login for login in found if not _is_unproven(login, idle)]
    return Report(
        tuple(proven[:ROWS_MAX]),
        tuple(unproven[:ROWS_MAX]),
        tuple(name for name, there in (("utmp", utmp), ("logind", logind)) if there is None),
        unseen + max(0, len(proven) - ROWS_MAX) + max(0, len(unproven) - ROWS_MAX),
    )


def _is_unproven(login: Login, idle: set[int]) -> bool:
    """Return whether nothing speaks for it: it is sshd's own, or root's and has started nothing."""
    return login.sources == ("ssh",) and (login.user in UNPROVEN or login.pid in idle)


def _watched(pids: list[int], alive: set[int]) -> Iterator[tasks.Stat]:
    for stat in tasks.stats(pids):
        alive.add(stat.pid)
        yield stat


def _merged(one: Login, other: Login) -> Login:
    """Return one login of two: what the first, the surer one, knows is not changed."""
    return one._replace(
        terminal=one.terminal or other.terminal,
        where=one.where or other.where,
        sources=one.sources + tuple(s for s in other.sources if s not in one.sources),
    )


def _connected(connections: list[sessions.Connection]) -> Iterator[Login]:
    users = accounts.names("user")
    peers = _peers([connection.pid for connection in connections[:PEERS_MAX]])
    for connection in connections:
        yield Login(
            users.get(connection.uid, str(connection.uid)),
            tasks.terminal(connection.tty),
            peers.get(connection.pid, ""),
            connection.pid,
            tasks.age(connection.started),
            ("ssh",),
        )


def _peers(pids: list[int]) -> Mapping[int, str]:
    """Return the other side of each process's connection, as far as the kernel tells."""
    wanted = {inode: pid for pid in pids for inode in sessions.socket_inodes(pid)}
    found: dict[int, str] = {}
    if not wanted:
        return found
    with suppress(OSError, NetlinkError):
        table = socket_table.read(inet.TCP, (inet.ESTABLISHED,))
        for _, socket in zip(range(SOCKETS_MAX), table.sockets, strict=False):
            if socket.inode in wanted:
                found[wanted[socket.inode]] = inet.endpoint(socket.remote, socket.remote_port)
    return found


def _managed(found: tuple[sessions.Session, ...]) -> Iterator[Login]:
    for session in found:
        if session.state != "closing":
            seconds = max(0.0, time.time() - session.at) if session.at else 0.0
            where = session.host or (f"({session.service})" if session.service else "")
            yield Login(
                session.user or str(session.uid),
                session.terminal,
                where,
                session.leader,
                seconds,
                ("logind",),
            )


def _entered(found: tuple[sessions.Entry, ...], alive: set[int]) -> Iterator[Login]:
    for entry in found:
        if entry.kind == sessions.USER_PROCESS and entry.user:
            source = "utmp" if entry.pid in alive else "utmp, ended"
            seconds = max(0.0, time.time() - entry.at)
            where = entry.address or entry.host
            yield Login(entry.user, entry.line, where, entry.pid, seconds, (source,))


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal."""
    if len(report.unproven) >= UNPROVEN_HIGH:
        yield (
            f"{len(report.unproven)} connections to sshd have not logged in (normal below "
            f"{UNPROVEN_HIGH}): sshd may refuse new ones"
        )


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .logins[].user text: who is logged in
    .logins[].terminal text: such as pts/0, or empty
    .logins[].where text: an address or a name, or empty
    .logins[].pid int: of who holds it
    .logins[].seconds seconds: since it began
    .logins[].sources[] text: who tells of it: ssh, logind or utmp
    .unproven[].user text: as whom sshd runs for one who is not
    .unproven[].terminal text: such as pts/0, or empty
    .unproven[].where text: an address or a name, or empty
    .unproven[].pid int: of who holds it
    .unproven[].seconds seconds: since it began
    .unproven[].sources[] text: who tells of it: ssh, logind or utmp
    .silent[] text: a source that is not there
    .left_out int: logins that are not shown
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def who(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show who is logged in to this host.

    Seen in three places that fail apart from each other: ssh are the processes of sshd, and FROM is
    then the other end of the connection; logind and utmp are what login programs wrote down, and
    FROM is what they were told. One that stands in utmp alone, and has ended, was never taken out.
    A connection to sshd counts as not logged in while sshd's own user, or root without a program,
    holds it. A user who works without a login (a cron job, a web shell) is not here: see processes.

    Arguments:
        json: print one JSON object, with up to 500 logins

    Examples:
        > who
        ...logged in...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), f"{len(report.logins) or 'Nobody'} logged in.")
    yield from table(
        [
            Column("USER", least=8),
            Column("TERMINAL", least=8),
            Column("FROM", least=15),
            Column("FOR", right=True),
            Column("PID", right=True),
            Column("SEEN IN", least=8),
        ],
        [
            (user, terminal or "-", where or "-", duration(seconds), str(pid), " ".join(sources))
            for user, terminal, where, pid, seconds, sources in report.logins[:ROWS_SHOWN]
        ],
    )
    yield from left_out(report.more + max(0, len(report.logins) - ROWS_SHOWN), "logins")
    if report.unproven:
        where = ", ".join(login.where or "?" for login in report.unproven[:3])
        yield from findings((), f"{len(report.unproven)} at sshd have not logged in: {where}")
    if report.silent:
        yield f"not there to be asked: {', '.join(report.silent)}\n"


def _document(report: Report) -> Json:
    def logins(found: tuple[Login, ...]) -> list[Json]:
        return [
            {**login._asdict(), "seconds": round(login.seconds), "sources": list(login.sources)}
            for login in found
        ]

    return {
        "findings": list(wrong(report)),
        "logins": logins(report.logins),
        "unproven": logins(report.unproven),
        "silent": list(report.silent),
        "left_out": report.more,
    }
