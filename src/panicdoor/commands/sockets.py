"""The command `sockets`: how many connections in which state, what is full, what was lost."""

import heapq
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Final

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    WIDTH,
    Column,
    Json,
    document,
    findings,
    lines_as_parts,
    percent,
    size,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import counters, socket_table
from panicdoor.kernel.inet import CLOSE_WAIT, LISTEN, TCP, UDP, Socket, endpoint, state_name
from panicdoor.kernel.netlink import NetlinkError

SOCKETS_MAX: Final = 200_000  # sockets that are counted: some 0.6 s
SOCKETS_S: Final = 3.0  # seconds of counting, on a host that is slow to answer
SAMPLE_S: Final = 0.5  # seconds between two looks at the counters
BUSIEST_SHOWN: Final = 8  # rows on a screen
BUSIEST_MAX: Final = 100  # sockets in JSON

# Where normal ends. Limits: monitoring's usual alarm, with room to act. Retransmissions: above one
# in a hundred segments TCP slows down visibly (Gregg, Systems Performance, 10.5.4).
LIMIT_HIGH: Final = 80.0  # percent
RETRANSMITS_HIGH: Final = 1.0  # percent of segments sent in the sample
SEGMENTS_MIN: Final = 100  # segments sent in the sample; fewer say nothing about percents
WAITING_HIGH: Final = 1000  # connections that the peer closed and our program did not

# What is counted, what it means, and whether any growth at all is a finding.
COUNTED: Final = (
    ("TcpExt.ListenOverflows", "queues of listeners were full", True),
    ("TcpExt.ListenDrops", "connections not taken in", False),
    ("TcpExt.TCPReqQFullDrop", "first packets dropped, queue full", True),
    ("TcpExt.SyncookiesSent", "syn cookies sent (a flood)", True),
    ("TcpExt.TCPAbortOnMemory", "connections cut for lack of memory", True),
    ("TcpExt.PruneCalled", "receive memory was short", False),
    ("Tcp.RetransSegs", "segments sent again", False),
    ("Tcp.OutSegs", "segments sent", False),
    ("Tcp.AttemptFails", "connections that failed", False),
    ("Tcp.EstabResets", "connections that were reset", False),
    ("Udp.RcvbufErrors", "datagrams lost, receiver's queue full", True),
    ("Udp.SndbufErrors", "datagrams lost, sender's queue full", True),
    ("Udp6.RcvbufErrors", "the same, IPv6, receiver", True),
    ("Udp6.SndbufErrors", "the same, IPv6, sender", True),
)


@dataclass(slots=True)
class Report:
    """What was seen. `states` counts by (protocol, state); `busiest` is worst first."""

    states: Counter[tuple[int, int]] = field(default_factory=Counter)
    busiest: list[Socket] = field(default_factory=list)
    limits: list[counters.Limit] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    source: str = ""
    cut: str = ""

    def grown(self, name: str) -> int:
        """Return by how much a counter grew between the two looks."""
        return counters.grown(self.before, self.after, name) or 0


def look() -> Report:
    """Count for as long as it takes, but at least SAMPLE_S. Raises CommandError."""
    report = Report(before=counters.network())
    began = time.monotonic()
    report.busiest = heapq.nlargest(BUSIEST_MAX, _counted(report, began), key=_weight)
    limits = [counters.descriptors(), counters.conntrack(), *counters.tcp()]
    report.limits = sorted(
        (limit for limit in limits if limit is not None), key=lambda limit: -limit.percent
    )
    time.sleep(max(0.0, began + SAMPLE_S - time.monotonic()))
    report.after = counters.network()
    report.seconds = time.monotonic() - began
    return report


def _counted(report: Report, began: float) -> Iterator[Socket]:
    """Yield the sockets in which something waits, and count them all."""
    number = 0
    try:
        for protocol in (TCP, UDP):
            told = socket_table.read(protocol)
            report.source = told.source
            for one in told.sockets:
                if number >= SOCKETS_MAX or time.monotonic() > began + SOCKETS_S:
                    report.cut = f"only the first {number} sockets were counted"
                    return
                number += 1
                report.states[protocol, one.state] += 1
                if one.state != LISTEN and (one.receive or one.send or one.retransmits):
                    yield one
    except (OSError, NetlinkError) as error:
        if not number:
            raise CommandError(f"the kernel does not tell its sockets: {error}") from error
        report.cut = f"the kernel broke off after {number} sockets: {error}"


def _weight(one: Socket) -> tuple[int, int]:
    return one.retransmits, one.receive + one.send


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    for limit in report.limits:
        if limit.percent >= LIMIT_HIGH:
            yield (
                f"{limit.name}: {limit.used} of {limit.most} in use ({percent(limit.percent)}, "
                f"normal below {LIMIT_HIGH:.0f} %)"
            )
    for name, meaning, alarming in COUNTED:
        if alarming and (grown := report.grown(name)):
            yield f"{meaning}: {grown} in the last {report.seconds:.1f} s (normal 0)"
    again = retransmitted(report)
    if again is not None and again > RETRANSMITS_HIGH:
        yield f"{percent(again)} of the segments are sent again (normal below 1 %)"
    waiting = report.states[TCP, CLOSE_WAIT]
    if waiting > WAITING_HIGH:
        yield (
            f"{waiting} connections are in close-wait: their peers have closed, and a program "
            "here never does"
        )


def retransmitted(report: Report) -> float | None:
    """Return percent of segments sent again during the sample; None where too few were sent."""
    sent = report.grown("Tcp.OutSegs")
    if sent < SEGMENTS_MIN:
        return None
    return 100 * report.grown("Tcp.RetransSegs") / sent


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .states[].protocol text: tcp or udp
    .states[].state text: such as established
    .states[].count int: sockets in it
    .limits[].name text: what there is only so much of
    .limits[].used int: how many; of memory, pages
    .limits[].most int: how many there may be
    .limits[].percent percent: how many of them
    .counters[].name text: of a counter, as the kernel has it
    .counters[].total int: since boot
    .counters[].grown int: within `seconds`
    .seconds seconds: between two looks
    .busiest[].protocol text: of a socket in which something waits, worst first
    .busiest[].state text: such as established
    .busiest[].local text: address and port
    .busiest[].remote text: address and port
    .busiest[].receive bytes: that the program did not read
    .busiest[].send bytes: that the peer did not confirm
    .busiest[].retransmits int: how often they were sent again
    .busiest[].drops int?: datagrams lost; null where not counted
    .source text: sock_diag, or the text that was read instead
    .cut text?: why not all sockets were counted
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def sockets(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show connections by state, and what gets lost.

    First what is not normal, if anything is; then how many sockets are in which state; what may
    run out, for the whole host, with its limit; what the network stack counted since boot and in
    the last half second; and the sockets in which most waits: RECV bytes that the program here did
    not read, SEND bytes that the peer did not confirm, TRIES how often they were sent again.
    Normal: limits below 80 %, nothing lost, below 1 % of the segments sent again.
    Seen is the network namespace of this door, and no other.

    Arguments:
        json: print one JSON object, with up to 100 sockets

    Examples:
        > sockets
        ...
        tcp  ...
        ...
        LIMIT...USED...MOST...SHARE  NORMAL
        ...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing unusual about sockets.")
    for protocol, name in ((TCP, "tcp"), (UDP, "udp")):
        told = wrap(f"{name}  {_states(report, protocol)}", WIDTH, subsequent_indent=" " * 5)
        yield from (f"{line}\n" for line in told)
    if report.cut:
        yield from findings((), f"({report.cut})")
    yield "\n"
    yield from table(
        [
            Column("LIMIT"),
            Column("USED", right=True),
            Column("MOST", right=True),
            Column("SHARE", right=True),
            Column("NORMAL"),
        ],
        (
            (
                limit.name,
                str(limit.used),
                str(limit.most) if limit.most < 1 << 62 else "no limit",
                percent(limit.percent),
                f"below {LIMIT_HIGH:.0f} %",
            )
            for limit in report.limits
        ),
    )
    yield "\n"
    yield from table(
        [
            Column("COUNTED"),
            Column("SINCE BOOT", right=True),
            Column(f"LAST {report.seconds:.1f} S", right=True),
        ],
        (
            (meaning, str(report.after[name]), str(report.grown(name)))
            for name, meaning, _ in COUNTED
            if report.after.get(name)
        ),
    )
    if report.busiest:
        yield "\n"
        yield from _busiest_lines(report)


def _busiest_lines(report: Report) -> Iterator[str]:
    yield from table(
        [
            Column("PROTO"),
            Column("LOCAL", least=16),
            Column("REMOTE", least=16),
            Column("STATE"),
            Column("RECV", right=True),
            Column("SEND", right=True),
            Column("TRIES", right=True),
        ],
        (
            (
                one.name,
                endpoint(one.local, one.port),
                endpoint(one.remote, one.remote_port),
                state_name(one.state),
                size(one.receive),
                size(one.send),
                str(one.retransmits),
            )
            for one in report.busiest[:BUSIEST_SHOWN]
        ),
    )


def _states(report: Report, protocol: int) -> str:
    """Return `412: 388 established, 12 time-wait`."""
    counted = [(n, state) for (kind, state), n in report.states.items() if kind == protocol]
    told = ", ".join(f"{n} {state_name(state)}" for n, state in sorted(counted, reverse=True))
    return f"{sum(n for n, _ in counted)}{': ' if told else ''}{told}"


def _document(report: Report) -> Json:
    busiest: list[Json] = [
        {
            "protocol": one.name,
            "state": state_name(one.state),
            "local": endpoint(one.local, one.port),
            "remote": endpoint(one.remote, one.remote_port),
            "receive": one.receive,
            "send": one.send,
            "retransmits": one.retransmits,
            "drops": one.drops if one.drops >= 0 else None,
        }
        for one in report.busiest
    ]
    states: list[Json] = [
        {
            "protocol": "tcp" if protocol == TCP else "udp",
            "state": state_name(state),
            "count": count,
        }
        for (protocol, state), count in report.states.most_common()
    ]
    return {
        "findings": list(wrong(report)),
        "states": states,
        "limits": [
            {**limit._asdict(), "percent": round(limit.percent, 1)} for limit in report.limits
        ],
        "counters": [
            {"name": name, "total": report.after[name], "grown": report.grown(name)}
            for name, _, _ in COUNTED
            if name in report.after
        ],
        "seconds": round(report.seconds, 3),
        "busiest": busiest,
        "source": report.source,
        "cut": report.cut or None,
    }
