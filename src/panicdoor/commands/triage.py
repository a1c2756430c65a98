"""The command `triage`: the first sixty seconds on one screen, the verdict first.

The header goes out before anything is looked at, so that somebody who waits sees that the door
lives. Then come the findings, worst first, each with what explains it and with the command that
shows more; a few numbers beside their normal range; what was looked at and is fine; and what could
not be looked at. All of it fits on 24 lines of 80 columns, with a prompt.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final, NamedTuple, TypeVar

from panicdoor.commands import (
    kernel,
    memory,
    pressure,
    rules_disks,
    rules_memory,
    rules_services,
    snapshot,
    sockets,
)
from panicdoor.commands.disk_tables import AWAIT_MS, milliseconds
from panicdoor.commands.fields import fields
from panicdoor.commands.findings import Action, Judged, Verdict, can_run, judge
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.sections import Room, Tasks
from panicdoor.commands.snapshot import Snapshot
from panicdoor.commands.table import (
    WIDTH,
    Column,
    Json,
    cut,
    document,
    duration,
    lines_as_parts,
    percent,
    size,
    table,
)
from panicdoor.kernel import clock as kernel_clock
from panicdoor.kernel import kmsg
from panicdoor.kernel.filesystems import FULL_PERCENT
from panicdoor.kernel.pressure import Resource
from panicdoor.printable import escape_line

LINES: Final = 23  # of an answer: the 24th is for a prompt
FINDING_LINES: Final = 3  # of one finding
ACTIONS_MAX: Final = 4
NAME_MAX: Final = 30  # characters of the door's name
LIST_LINES: Final = 2  # of what is cleared, and of what is unknown
NOTHING: Final = "NOTHING WRONG HERE that I can see."
MOUNTS_SHOWN: Final = 3

_INDENT: Final = " " * 11  # where the text of a finding goes on
_BLANK: Final = "\xa0"  # escaped wherever it comes from outside
_TABLE: Final = (("", 8), ("now", 10), ("normal", 8))  # three times beside each other
RULES: Final = (rules_memory, rules_disks, rules_services)  # imported, and so in findings.RULES


class Vital(NamedTuple):
    """A number beside its normal range."""

    name: str
    now: str
    normal: str


_FIELDS: Final = fields(
    """
    .name text: the door's name
    .now text: the door's clock
    .up seconds: since the host was started
    .synchronised bool?: whether somebody keeps the clock; null where the kernel does not say
    .seconds seconds: that looking took
    .findings[].number int: counted from 1, worst first
    .findings[].severity text: CRITICAL, BROKEN or WARN
    .findings[].area text: such as memory
    .findings[].rule text: that found it
    .findings[].text text: what is wrong
    .findings[].because int?: the number of the finding that explains it
    .findings[].next[] text: a command that shows more
    .findings[].actions[].line text: a command that may help
    .findings[].actions[].effect text: what it does
    .findings[].actions[].undo text: what takes it back, or empty
    .findings[].normal text: what would be normal
    .findings[].source text: who says so
    .vitals[].name text: of a number that is always told
    .vitals[].now text: what it is, with its unit
    .vitals[].normal text: its normal range
    .cleared[] text: an area that was looked at and is fine
    .unknown[].what text: what could not be looked at
    .unknown[].why text: and why
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def triage(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show what is wrong with this host, on one screen.

    First what is wrong, worst first. CRITICAL: the host is about to stop working. BROKEN: something
    does not work now. WARN: it works, but not for long, or not as it should. `see 1` says that the
    first finding explains it; `type:` is the command that shows more. Then some numbers with their
    normal range. CLEARED was looked at and is fine. UNKNOWN could not be looked at, and why.

    It takes less than 0.3 seconds, and two at most on a host in trouble. It starts nothing, asks no
    network, and reads from memory: file systems over a network are not asked at all, and those that
    may need their disk, and certificates, only while no disk looks as if it might hang. Rates are
    of the last seconds, and of 0.2 where this door has just begun to look. It connects to this
    host's own ssh, to see whether that says its name.

    Arguments:
        json: print one JSON object

    Examples:
        > triage
        web1 ... UTC ... up ... read in ... s
        ...
        more: ...
    """
    now, kept = kernel_clock.up(), kernel_clock.discipline()
    if json:
        seen = snapshot.look()
        yield from document(_document(context, seen, _judge(seen), now, kept))
        return
    name = cut(escape_line(context.manual.name), NAME_MAX)
    header = f"{name}  {context.now}{_kept(kept)}  up {duration(now)}"
    yield header
    seen = snapshot.look()
    took = f"  read in {seen.seconds:.2f} s"
    yield f"{took if len(header + took) <= WIDTH else ''}\n"
    yield from lines_as_parts(lines(seen, _judge(seen)))


def _kept(kept: kernel_clock.Discipline | None) -> str:
    if kept is None:
        return ""
    return " (ntp ok)" if kept.synchronised else " (no ntp)"


def _judge(seen: Snapshot) -> Verdict:
    return judge(seen.reports, seen.missing, seen.partial)


def lines(seen: Snapshot, verdict: Verdict) -> Iterator[str]:
    """Yield everything after the header, LINES - 1 lines at most."""
    tail = [
        *_numbers(vitals(seen)),
        *_kernel_line(seen),
        *_listed("CLEARED", ", ".join(verdict.cleared)),
        *_listed("UNKNOWN", "; ".join(f"{what} ({why})" for what, why in unknown(seen, verdict))),
        _more(verdict),
    ]
    actions = list(table(_DO, _do(verdict)))
    room = LINES - 1 - len(tail) - len(actions)
    yield from _findings(verdict.findings, room)
    yield from actions
    yield from tail


def _findings(found: Sequence[Judged], room: int) -> Iterator[str]:
    if not found:
        yield f"{NOTHING}\n"
    for shown, judged in enumerate(found, 1):
        made = _finding(judged)
        if len(made) + (shown < len(found)) > room:
            yield f"({len(found) - shown + 1} more, less bad: triage --json)\n"
            return
        yield from made
        room -= len(made)


def _finding(judged: Judged) -> list[str]:
    text = judged.finding.text
    if judged.because is not None:
        text += f": see {judged.because}"
    shows = [line for line in judged.finding.next if can_run(line)][:1]
    tail = "".join(escape_line(f"; type: {line}") for line in shows)
    # What is to be typed stays on one line: only its first blank is one to wrap(3).
    whole = escape_line(text) + tail.replace(" ", _BLANK).replace(_BLANK, " ", 1)
    first = f"{judged.number} {judged.severity.name:<8} {judged.rule.area:<8} "
    made = wrap(whole, WIDTH, initial_indent=first, subsequent_indent=_INDENT) or [first]
    made = [line.replace(_BLANK, " ") for line in made]
    if len(made) > FINDING_LINES:
        last = cut(made[FINDING_LINES - 1], WIDTH - len(tail) - 1)
        made = [*made[: FINDING_LINES - 1], f"{last.rstrip()}~{tail}"[:WIDTH]]
    return [f"{line}\n" for line in made]


_DO: Final = (
    Column("DO"),
    Column("what", least=20),
    Column("effect", least=20),
    Column("undo", least=8),
)


def _do(verdict: Verdict) -> Iterator[tuple[str, str, str, str]]:
    actions = [action for judged in verdict.findings for action in possible(judged)]
    for letter, action in zip("abcdefgh", list(dict.fromkeys(actions))[:ACTIONS_MAX], strict=False):
        yield f"  {letter}", action.line, action.effect, action.undo


def possible(judged: Judged) -> list[Action]:
    """Return what can be done about a finding with the commands that this door has."""
    return [action for action in judged.finding.actions if can_run(action.line)]


T = TypeVar("T")


def _of(seen: Snapshot, name: str, kind: type[T]) -> T | None:
    found = seen.reports.get(name)
    return found if isinstance(found, kind) else None


def vitals(seen: Snapshot) -> list[Vital]:
    """Return the numbers of the small table, line by line."""
    waits = _of(seen, "pressure", pressure.Report)
    has = _of(seen, "memory", memory.Report)
    counted = _of(seen, "tasks", Tasks)
    limits = _of(seen, "sockets", sockets.Report)
    room = _of(seen, "room", Room)
    slowest = max(
        (one for one in _of(seen, "disks", tuple) or () if one.await_ms is not None),
        key=lambda one: one.await_ms,
        default=None,
    )
    fullest = room.asked[0] if room and room.asked and room.asked[0].usage else None

    def limit(name: str) -> str:
        found = [one for one in (limits.limits if limits else ()) if one.name == name]
        return percent(found[0].percent) if found else "-"

    return [
        Vital("cpu", percent(100 - waits.shares["idle"]) if waits else "?", "<90 %"),
        _psi(waits, "cpu", "some"),
        Vital(
            "tasks",
            str(counted.used) if counted else "?",
            f"<{counted.most * 4 // 5}" if counted else "",
        ),
        Vital("mem av", percent(has.available) if has else "?", ">10 %"),
        _psi(waits, "memory", "full"),
        Vital("files", limit("descriptors"), "<80 %"),
        _swap(has),
        _psi(waits, "io", "full"),
        Vital("conntr", limit("conntrack"), "<80 %"),
        Vital(
            "io",
            milliseconds(slowest.await_ms) if slowest else "idle",
            f"<{AWAIT_MS} ms",
        ),
        Vital(
            "load",
            f"{waits.load.last_1_min:.1f}" if waits and waits.load else "?",
            f"<{pressure.LOAD_HIGH * waits.processors:.0f}" if waits else "",
        ),
        Vital(
            "fullest",
            percent(fullest.usage.worst) if fullest and fullest.usage else "?",
            f"<{FULL_PERCENT:.0f} %",
        ),
    ]


def _psi(waits: pressure.Report | None, resource: Resource, kind: str) -> Vital:
    found = waits.resources[resource] if waits else None
    now = getattr(found, kind) if found else None
    normal = f"<{pressure.NORMAL[resource, kind]:.0f} %"
    return Vital(f"psi {resource[:3]}", percent(now.last_10) if now else "-", normal)


def _swap(has: memory.Report | None) -> Vital:
    if has is None or not has.memory.swap_total:
        return Vital("swap", "none" if has else "?", "")
    moved = has.swapped_in + has.swapped_out
    if moved > memory.SWAPPING:
        return Vital("swap", f"{size(moved)}/s"[:9], "0")
    return Vital("swap", percent(100 * has.swap_used / has.memory.swap_total), "<80 %")


def _numbers(found: Sequence[Vital]) -> Iterator[str]:
    yield "".join(name.ljust(width) for name, width in _TABLE * 3).rstrip() + "\n"
    widths = [width for _, width in _TABLE]
    for at in range(0, len(found), 3):
        cells = [cell for vital in found[at : at + 3] for cell in vital]
        line = "".join(cell.ljust(width) for cell, width in zip(cells, widths * 3, strict=False))
        yield cut(line.rstrip(), WIDTH) + "\n"


def _kernel_line(seen: Snapshot) -> Iterator[str]:
    said = _of(seen, "kernel", kernel.Report)
    newest = said.newest[:1] if said else ()
    for record, complaint in newest:
        if kmsg.ago(record) < kernel.RECENT_S:
            text = f"{duration(kmsg.ago(record))} ago, {complaint.name}: {record.text}"
            yield cut(f"kernel  {escape_line(text)}", WIDTH) + "\n"


def unknown(seen: Snapshot, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Yield what could not be looked at, and why: areas, and file systems."""
    yield from verdict.unknown
    room = _of(seen, "room", Room)
    left = room.not_asked if room else ()
    for mount in left[:MOUNTS_SHOWN]:
        yield mount.point.decode("latin-1"), f"{mount.kind}: not asked"
    if len(left) > MOUNTS_SHOWN:
        yield f"{len(left) - MOUNTS_SHOWN} more mounts", "not asked"


def _listed(title: str, text: str) -> list[str]:
    if not text:
        return []
    made = wrap(escape_line(text), WIDTH - 8)
    if len(made) > LIST_LINES:
        made = [*made[: LIST_LINES - 1], cut(made[LIST_LINES - 1] + " " * WIDTH, WIDTH - 8)]
    return [f"{title if not at else '':<7} {line}\n" for at, line in enumerate(made)]


def _more(verdict: Verdict) -> str:
    shows = [line for judged in verdict.findings for line in judged.finding.next if can_run(line)]
    text, last = "more: ", "triage --json"
    for line in dict.fromkeys([*shows, "login", "disks", "changes"]):
        if len(escape_line(f"{text}{line} | {last}")) <= WIDTH:
            text += f"{line} | "
    return f"{escape_line(text)}{last}\n"


def _document(
    context: Context,
    seen: Snapshot,
    verdict: Verdict,
    up: float,
    kept: kernel_clock.Discipline | None,
) -> Json:
    return {
        "name": context.manual.name,
        "now": context.now,
        "up": round(up, 1),
        "synchronised": None if kept is None else kept.synchronised,
        "seconds": round(seen.seconds, 3),
        "findings": [_finding_value(judged) for judged in verdict.findings],
        "vitals": [dict(vital._asdict()) for vital in vitals(seen)],
        "cleared": list(verdict.cleared),
        "unknown": [{"what": what, "why": why} for what, why in unknown(seen, verdict)],
    }


def _finding_value(judged: Judged) -> Json:
    return {
        "number": judged.number,
        "severity": judged.severity.name,
        "area": judged.rule.area,
        "rule": judged.rule.name,
        "text": judged.finding.text,
        "because": judged.because,
        "next": [line for line in judged.finding.next if can_run(line)],
        "actions": [dict(action._asdict()) for action in possible(judged)],
        "normal": judged.rule.normal,
        "source": judged.rule.source,
    }
