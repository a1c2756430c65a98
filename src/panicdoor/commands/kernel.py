"""The command `kernel`: what the kernel has complained of, classed, worst first."""

import errno
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from panicdoor.commands.clock import moment
from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Seconds, Where, command
from panicdoor.commands.table import (
    WIDTH,
    Column,
    Json,
    cut,
    document,
    duration,
    findings,
    left_out,
    lines_as_parts,
    table,
)
from panicdoor.errors import CommandError
from panicdoor.kernel import complaints, kmsg
from panicdoor.printable import escape_line

RECORDS_MAX: Final = 5000  # complaints that are kept: some 2 MiB
LINES_SHOWN: Final = 8  # of the newest, on a screen
LINES_MAX: Final = 200  # in JSON
TEXT_MAX: Final = 400  # characters of a message that are told

EVER: Final = Seconds(0)  # all messages that the kernel still has
RECENT_S: Final = 3600.0  # what a finding is made of: older ones have been seen to
SEVERE: Final = 2  # ranks up to this are findings by themselves
STORM_S: Final = 600.0
STORM: Final = 10  # crashes of one program in that time: whoever starts it again does no good


class Class(NamedTuple):
    """Messages of one class: how many, how many seconds ago the first and the last, and it."""

    complaint: complaints.Complaint
    total: int
    recent: int
    first: float
    last: float
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen: classes, worst first; the newest messages, newest first."""

    classes: tuple[Class, ...]
    newest: tuple[tuple[kmsg.Record, complaints.Complaint], ...]
    storms: dict[str, int]
    more: int
    lost: int
    whole: bool


def look(since: float = inf) -> Report:
    """Read the kernel's messages of the last `since` seconds."""
    return report(_read(lambda record: kmsg.ago(record) <= since, RECORDS_MAX))


def _read(wanted: Callable[[kmsg.Record], bool], most: int) -> kmsg.Log:
    """Read what the kernel has complained of: 2 ms for a usual buffer, a second at most."""
    try:
        return kmsg.records(lambda r: wanted(r) and complaints.classify(r) is not None, most)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise CommandError("only root may read the kernel's messages here") from error
        raise CommandError(f"no kernel messages: {kmsg.DEVICE}: {error.strerror}") from error


def report(log: kmsg.Log) -> Report:
    """Class what was read."""
    found = [
        (record, complaint)
        for record in log.records
        if (complaint := complaints.classify(record)) is not None
    ]
    by_class: dict[str, list[tuple[kmsg.Record, complaints.Complaint]]] = {}
    for record, complaint in found:
        by_class.setdefault(complaint.name, []).append((record, complaint))
    newest = tuple(reversed(found[-LINES_MAX:]))
    return Report(
        tuple(sorted(map(_class, by_class.values()), key=_worst)),
        newest,
        _storms(found),
        len(found) - len(newest),
        log.lost,
        log.whole,
    )


def _class(found: Sequence[tuple[kmsg.Record, complaints.Complaint]]) -> Class:
    (first, complaint), (last, _) = found[0], found[-1]
    recent = sum(kmsg.ago(record) < RECENT_S for record, _ in found)
    return Class(complaint, len(found), recent, kmsg.ago(first), kmsg.ago(last), last.text)


def _worst(found: Class) -> tuple[bool, int, float]:
    return not found.recent, found.complaint.rank, found.last


def _storms(found: Sequence[tuple[kmsg.Record, complaints.Complaint]]) -> dict[str, int]:
    programs = Counter(
        complaints.crashed(record)
        for record, complaint in found
        if complaint.name == "crash" and kmsg.ago(record) < STORM_S
    )
    return {name: count for name, count in programs.most_common() if count >= STORM}


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first: severe ones of the last hour, and storms."""
    for found in report.classes:
        if found.recent and found.complaint.rank <= SEVERE:
            yield (
                f"{found.complaint.name}, {found.recent} in the last hour: "
                f"{found.complaint.meaning}; {duration(found.last)} ago: {found.text[:TEXT_MAX]}"
            )
    for program, count in report.storms.items():
        yield f"{program} crashed {count} times in the last {duration(STORM_S)}"


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .classes[].name text: of a class of messages
    .classes[].rank int: how bad it is, 1 is the worst
    .classes[].meaning text: in words
    .classes[].count int: messages of it that are still there
    .classes[].recent int: those of the last hour
    .classes[].first seconds: since the first
    .classes[].last seconds: since the last
    .messages[].class text: its class
    .messages[].ago seconds: since it was said, not counting time asleep
    .messages[].level int: as in syslog, 0 is the worst and 7 for debugging
    .messages[].text text: the message, cut after 400 characters
    .storms.* int: by program, crashes in ten minutes where there were many
    .lost int: messages that were overwritten while they were read
    .whole bool: false where there were too many to read all
    .left_out int: messages that are not shown
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def kernel(
    context: Context, *, since: Seconds = EVER, follow: bool = False, json: bool = False
) -> Generator[str, None, str]:
    """Show what the kernel has complained of.

    First the severe ones of the last hour, if there are any: processes killed for memory, tasks
    that hang, errors of disks and file systems, file systems made read-only, machine checks,
    lockups, forks refused, connections dropped; and programs that crash again and again. Then each
    class with its count, and the newest messages. Normal is none. Programs can write among the
    kernel's messages; what they wrote is not shown. Ages do not count time asleep.

    With --follow and --json each message is an object on a line of its own.

    Arguments:
        since AGO: messages of that time only, as 90s, 15m, 6h or 2d; else all that are still there
        follow: the newest messages, then each one that comes, until Ctrl-C
        json: print one JSON object, with the newest 200 messages

    Examples:
        > kernel
        ... in the last hour...
        > kernel --since 1h
        ... in the last hour...
    """
    if follow:
        return (yield from _follow(context.cursor, since or inf, json))
    seen = look(since or inf)
    if json:
        yield from document(_document(seen))
    else:
        yield from lines_as_parts(_lines(seen))
    return ""


def _follow(cursor: str, since: float, json: bool) -> Generator[str, None, str]:
    """Yield the messages after the one with the number `cursor`, and return the last one's."""
    last = int(cursor or -1)
    log = _read(lambda r: r.number > last and kmsg.ago(r) <= since, RECORDS_MAX)
    shown = log.records[-(LINES_MAX if cursor else LINES_SHOWN) :]
    now = time.time()
    lines = (
        "".join(document(_message(record)))
        if json
        else f"{moment(now - kmsg.ago(record))}  {escape_line(record.text[:TEXT_MAX])}\n"
        for record in shown
    )
    yield from lines_as_parts(lines)
    if cursor and not json:
        yield from left_out(len(log.records) - len(shown), "messages, older than these,")
    return str(log.records[-1].number if log.records else last)


def _lines(report: Report) -> Iterator[str]:
    yield from findings(wrong(report), "Nothing severe from the kernel in the last hour.")
    yield from table(
        [
            Column("CLASS"),
            Column("COUNT", right=True),
            Column("LAST HOUR", right=True),
            Column("LAST", right=True),
            Column("MEANS", least=20),
        ],
        [
            (
                found.complaint.name,
                str(found.total),
                str(found.recent),
                duration(found.last),
                found.complaint.meaning,
            )
            for found in report.classes
        ],
    )
    shown = report.newest[:LINES_SHOWN]
    if shown:
        yield "newest first:\n"
    for record, _ in shown:
        text = escape_line(f"{duration(kmsg.ago(record)):>8} ago  {record.text[:TEXT_MAX]}")
        yield cut(text, WIDTH) + "\n"
    yield from left_out(report.more + len(report.newest) - len(shown), "messages")
    if not report.whole:
        yield "(there are too many messages: the newest were not read)\n"
    if report.lost:
        yield "(some messages were overwritten while they were read)\n"


def _document(report: Report) -> Json:
    classes: list[Json] = [
        {
            "name": found.complaint.name,
            "rank": found.complaint.rank,
            "meaning": found.complaint.meaning,
            "count": found.total,
            "recent": found.recent,
            "first": round(found.first, 1),
            "last": round(found.last, 1),
        }
        for found in report.classes
    ]
    messages: list[Json] = [_message(record) for record, _ in report.newest]
    return {
        "findings": list(wrong(report)),
        "classes": classes,
        "messages": messages,
        "storms": dict(report.storms),
        "lost": report.lost,
        "whole": report.whole,
        "left_out": report.more,
    }


def _message(record: kmsg.Record) -> Json:
    complaint = complaints.classify(record)
    return {
        "class": complaint.name if complaint else "",
        "ago": round(kmsg.ago(record), 1),
        "level": record.level,
        "text": record.text[:TEXT_MAX],
    }
