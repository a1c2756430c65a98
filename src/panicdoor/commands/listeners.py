"""The command `listeners`: who waits for connections and datagrams, and whether they keep up."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    findings,
    left_out,
    lines_as_parts,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, process, socket_table, tasks
from panicdoor.kernel.descriptors import Scan
from panicdoor.kernel.inet import LISTEN, TCP, UDP, UNCONNECTED, Socket, host
from panicdoor.kernel.netlink import NetlinkError

LISTENERS_MAX: Final = 5000  # sockets of a protocol that are read
ROWS_MAX: Final = 1000  # sockets that are shown
PIDS_MAX: Final = 20  # holders of one socket that are named in JSON
NAMED_MAX: Final = 5  # findings of a kind that have a sentence of their own

_UNITS: Final = (".service", ".scope", ".socket", ".mount", ".swap")
_SOCKET: Final = "socket:["  # how a link under /proc/PID/fd begins


class Listener(NamedTuple):
    """A socket, and who holds it: the pids in their order, none where nobody can be seen."""

    socket: Socket
    pids: tuple[int, ...]

    @property
    def full(self) -> bool:
        """Whether connections are being refused or dropped because nobody accepts them."""
        return 0 <= self.socket.send <= self.socket.receive and self.socket.state == LISTEN

    @property
    def queue(self) -> str:
        """Connections that wait, of how many; for datagrams the bytes that wait."""
        s = self.socket
        if s.protocol == UDP:
            return str(s.receive)
        return f"{s.receive}/{s.send if s.send >= 0 else '?'}"


class Report(NamedTuple):
    """What was seen, worst first. `unseen` processes were not ours to look into."""

    listeners: list[Listener]
    source: str
    unseen: int
    cut: bool
    left_out: bool


def look() -> Report:
    """Ask for sockets, then for who holds them. Raises CommandError."""
    sockets: list[Socket] = []
    more = False
    source = ""
    try:
        for protocol, state in ((TCP, LISTEN), (UDP, UNCONNECTED)):
            told = socket_table.read(protocol, (state,))
            source = told.source
            bound = (one for one in told.sockets if one.port)
            sockets += islice(bound, LISTENERS_MAX)
            more = more or next(bound, None) is not None
    except (OSError, NetlinkError) as error:
        raise CommandError(f"the kernel does not tell its sockets: {error}") from error
    scan = Scan()
    holders = _holders(scan, {one.inode for one in sockets if one.inode})
    found = [Listener(one, tuple(sorted(holders.get(one.inode, ())))) for one in sockets]
    return Report(sorted(found, key=_rank), source, scan.unseen, scan.cut, more)


def _holders(scan: Scan, inodes: set[int]) -> Mapping[int, set[int]]:
    """Return the pids that hold each of these sockets."""
    wanted = {f"{_SOCKET}{inode}]": inode for inode in inodes}
    found: defaultdict[int, set[int]] = defaultdict(set)
    try:
        for link in scan:
            inode = wanted.get(link.target)
            if inode is not None:
                found[inode].add(link.pid)
    except OSError:
        scan.cut = True
    return found


def _rank(one: Listener) -> tuple[bool, bool, int, int, bytes]:
    return not one.full, bool(one.pids), one.socket.protocol, one.socket.port, one.socket.local


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    full = [one for one in report.listeners if one.full]
    for one in full[:NAMED_MAX]:
        s = one.socket
        yield (
            f"{s.name} port {s.port}: {s.receive} connections wait where {s.send} may, so new ones "
            f"are dropped; {holder(one)} does not accept them"
        )
    if len(full) > NAMED_MAX:
        yield f"{len(full) - NAMED_MAX} more have a full queue"


def holder(one: Listener) -> str:
    """Return "sshd (pid 411)" for whoever holds a socket first."""
    return f"{process.name(one.pids[0])} (pid {one.pids[0]})" if one.pids else "nobody visible"


def unit(group: str) -> str:
    """Return the unit of a control group's path, the innermost there is; "" where there is none."""
    names = (name for name in reversed(group.split("/")) if name.endswith(_UNITS))
    return next(names, "")


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .listeners[].protocol text: tcp or udp
    .listeners[].address text: where it listens
    .listeners[].port int: likewise
    .listeners[].waiting int: connections that wait to be accepted; of udp, bytes
    .listeners[].most int?: how many may wait; null for udp
    .listeners[].drops int?: datagrams lost, the queue being full; null where not counted
    .listeners[].pids[] int: who holds it, up to 20
    .listeners[].name text?: of the first of them; null where nobody can be seen
    .listeners[].uid int: the owner of the socket
    .listeners[].user text?: his name in /etc/passwd
    .listeners[].unit text?: systemd's, of the first process
    .source text: sock_diag, or the text that was read instead
    .unseen_processes int: processes that are not ours to look into
    .left_out int: sockets that are not shown
    .cut bool: whether there were too many descriptors or sockets to look at all
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def listeners(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show who listens on which port.

    QUEUE is, for tcp, how many connections wait to be accepted, of how many may; for udp the bytes
    that wait. Normal is 0, or near it. Full queues come first: new connections are dropped there.
    Then come sockets whose holder cannot be seen (-): the kernel itself, another user's process
    where this door is not root, or a process in a container of containers. A + stands where several
    processes hold the socket. USER is the socket's owner. udp shows everything that takes
    datagrams from anybody, clients too. Seen is the network namespace of this door, and no other.

    Arguments:
        json: print one JSON object, with up to 1000 sockets

    Examples:
        > listeners
        ...
        PROTO...PORT  ADDRESS...QUEUE...PID  NAME...USER...UNIT
        ...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Every queue has room.")
    users = accounts.names("user")
    yield from table(
        [
            Column("PROTO"),
            Column("PORT", right=True),
            Column("ADDRESS", least=9),
            Column("QUEUE", right=True),
            Column("PID", right=True),
            Column("NAME", least=10),
            Column("USER", least=8),
            Column("UNIT", least=8),
        ],
        (
            (
                one.socket.name,
                str(one.socket.port),
                host(one.socket.local),
                one.queue,
                f"{one.pids[0]}{'+' * (len(one.pids) > 1)}" if one.pids else "-",
                process.name(one.pids[0]) if one.pids else "-",
                users.get(one.socket.uid, str(one.socket.uid)),
                unit(tasks.group(one.pids[0])) if one.pids else "",
            )
            for one in report.listeners[:ROWS_MAX]
        ),
    )
    yield from left_out(len(report.listeners) - ROWS_MAX, "sockets")
    if report.unseen:
        yield f"({report.unseen} processes are not ours to look into)\n"
    if report.cut:
        yield "(too many descriptors: holders may be missing)\n"
    if report.left_out:
        yield f"(only {LISTENERS_MAX} sockets of a protocol were read)\n"


def _document(report: Report) -> Json:
    users = accounts.names("user")
    rows: list[Json] = []
    for one in report.listeners[:ROWS_MAX]:
        s = one.socket
        first = one.pids[0] if one.pids else None
        rows.append(
            {
                "protocol": s.name,
                "address": host(s.local),
                "port": s.port,
                "waiting": s.receive,
                "most": s.send if s.protocol == TCP and s.send >= 0 else None,
                "drops": s.drops if s.drops >= 0 else None,
                "pids": list(one.pids[:PIDS_MAX]),
                "name": None if first is None else process.name(first),
                "uid": s.uid,
                "user": users.get(s.uid),
                "unit": (unit(tasks.group(first)) or None) if first is not None else None,
            }
        )
    return {
        "findings": list(wrong(report)),
        "listeners": rows,
        "source": report.source,
        "unseen_processes": report.unseen,
        "left_out": len(report.listeners) - len(rows),
        "cut": report.cut or report.left_out,
    }
