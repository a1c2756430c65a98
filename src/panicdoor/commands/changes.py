"""The command `changes`: what was changed on this host lately. Most outages begin with a change.

It reads logs and walks over /etc, which are on a disk, and that may not answer; so it says what it
is about to read, and runs where a process can be spared.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    left_out,
    lines_as_parts,
    table,
)
from panicdoor.kernel import clock, package_logs, recent, sessions, systemd
from panicdoor.printable import escape_line

DAY: Final = Seconds(86400)
ETC: Final = "/etc"
WTMP: Final = "/var/log/wtmp"
WTMP_MAX: Final = 512 << 10  # bytes of wtmp that are read, from its end
ROWS_SHOWN: Final = 12  # of each kind, on a screen
ROWS_MAX: Final = 500  # in JSON

_RUN_LEVEL: Final = 1  # utmp(5): how wtmp says that the host was shut down


class Boot(NamedTuple):
    """A start of the host; `clean` is False where nothing says that it was shut down before."""

    at: float
    clean: bool | None


@dataclass(slots=True)
class Report:
    """What was found, the newest first. `silent` are sources that are not there."""

    since: float
    now: float
    packages: list[package_logs.Change] = field(default_factory=list)
    files: list[recent.File] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)
    units: list[tuple[str, float]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    cut: bool = False


def look(seconds: int) -> Iterator[str | Report]:
    """Yield what is about to be read, and in the end the report. May wait for a disk."""
    now = time.time()
    report = Report(now - seconds, now)
    report.units = _units(report)
    report.boots = _boots_now(report)
    logs = 0
    for path, parse in package_logs.LOGS:
        yield path
        found = package_logs.read(path, parse, report.since)
        if found is not None:
            logs += 1
            report.packages += found
    if not logs:
        report.silent.append("a log of packages")
    report.packages.sort(key=lambda change: -change.at)
    yield WTMP
    data = package_logs.tail(WTMP, WTMP_MAX)
    if data is None:
        report.silent.append(WTMP)
    else:
        report.boots = boots(data, report.since) or report.boots
    yield ETC
    walk = recent.Walk()
    report.files = walk.newer(ETC, report.since)
    report.cut = walk.cut
    yield report


def _units(report: Report) -> list[tuple[str, float]]:
    """Return the units that were started since, by the files that systemd keeps in memory."""
    found = systemd.started()
    if found is None:
        report.silent.append("units (systemd does not run this host)")
        return []
    new = [(name, at) for name, at in found.items() if at >= report.since]
    return sorted(new, key=lambda unit: -unit[1])


def _boots_now(report: Report) -> list[Boot]:
    at = clock.boot_time()
    return [Boot(at, None)] if at is not None and at >= report.since else []


def boots(data: bytes, since: float) -> list[Boot]:
    """Return the boots in the end of a wtmp since a moment, the newest first."""
    size = sessions.utmp_size(len(data))
    found: list[Boot] = []
    stopped: bool | None = None
    for entry in sessions.parse_utmp(data[len(data) % size :], size):
        if entry.kind == sessions.BOOT_TIME:
            if entry.at >= since:
                found.append(Boot(entry.at, stopped))
            stopped = False
        elif entry.kind == _RUN_LEVEL and entry.user == "shutdown":
            stopped = True
    return found[::-1]


_FIELDS: Final = fields(
    """
    .since time: how far was looked back
    .now time: this host's clock
    .packages[].at time: when
    .packages[].kind text: install, upgrade, remove, or run (of a program such as apt)
    .packages[].package text: its name, empty for a run
    .packages[].detail text: the versions; of a run the command line, and who asked for it
    .files[].path text: a file below /etc
    .files[].at time: when it was changed
    .boots[].at time: when the host was started
    .boots[].clean bool?: whether it was shut down before; null where nobody wrote it down
    .units[].name text: a unit that systemd started
    .units[].at time: when
    .silent[] text: a source that is not there
    .left_out.packages int: changes that are not shown
    .left_out.files int: files that are not shown
    .left_out.units int: units that are not shown
    .cut bool: whether /etc was too large to be looked through
    """
)


@command(level=Level.OBSERVE, where=Where.WORKER, fields=_FIELDS)
def changes(context: Context, *, since: Seconds = DAY, json: bool = False) -> Iterator[str]:
    """Show what changed on this host lately.

    Packages that were installed, upgraded or removed (from the end of the logs of dpkg, apt, dnf,
    pacman and zypper; not from logs that were rotated away), and who ran apt; files below /etc that
    are newer, by when they were changed here; boots, and whether a shutdown came before each; and
    units that systemd started. What nobody writes down is not here: programs copied by hand,
    settings of the kernel, rules of a firewall. Each file is named before it is read, as a disk may
    not answer.

    Arguments:
        since AGO: how far to look back, as 90s, 15m, 6h or 2d; a day if it is not said
        json: print one JSON object, with up to 500 of each

    Examples:
        > changes --since 2d
        reading /...
        ...since...
        ...
    """
    column = 0
    for step in look(since):
        if isinstance(step, Report):
            yield from document(_document(step)) if json else lines_as_parts(_lines(step))
        elif not json:
            fits = 0 < column + 1 + len(step) <= WIDTH
            yield f" {step}" if fits and column else f"{chr(10) * (column > 0)}reading {step}"
            column = column + 1 + len(step) if fits and column else len("reading ") + len(step)


def _lines(report: Report) -> Iterator[str]:
    yield "\n"
    yield (
        f"since {moment(report.since)}: {len(report.packages)} changes of packages, "
        f"{len(report.files)} files, {len(report.boots)} boots\n"
    )
    for boot in report.boots[:ROWS_SHOWN]:
        clean = {True: "after a shutdown", False: "AND NO SHUTDOWN BEFORE IT", None: ""}
        yield f"booted {_ago(report, boot.at)} {clean[boot.clean]}".rstrip() + "\n"
    shown = report.packages[:ROWS_SHOWN]
    yield from table(
        [Column("AGO", right=True), Column("PACKAGES"), Column("WHAT", least=30)],
        [
            (duration(report.now - at), kind, f"{package} {detail}".strip())
            for at, kind, package, detail in shown
        ],
    )
    yield from left_out(len(report.packages) - len(shown), "packages and runs")
    files = report.files[:ROWS_SHOWN]
    yield from table(
        [Column("AGO", right=True), Column("FILE", least=30)],
        [(duration(report.now - file.at), file.path) for file in files],
    )
    yield from left_out(len(report.files) - len(files), "files")
    units = report.units[:ROWS_SHOWN]
    yield from table(
        [Column("AGO", right=True), Column("UNIT STARTED", least=30)],
        [(duration(report.now - at), name) for name, at in units],
    )
    yield from left_out(len(report.units) - len(units), "units")
    if report.silent:
        yield cut(escape_line(f"not there to be asked: {', '.join(report.silent)}"), WIDTH) + "\n"
    if report.cut:
        yield "(there are too many files: not all were looked at)\n"


def _ago(report: Report, at: float) -> str:
    return f"{duration(report.now - at)} ago ({moment(at)})"


def _document(report: Report) -> Json:
    return {
        "since": round(report.since),
        "now": round(report.now),
        "packages": [dict(change._asdict()) for change in report.packages[:ROWS_MAX]],
        "files": [dict(file._asdict()) for file in report.files[:ROWS_MAX]],
        "boots": [dict(boot._asdict()) for boot in report.boots[:ROWS_MAX]],
        "units": [{"name": name, "at": at} for name, at in report.units[:ROWS_MAX]],
        "silent": list(report.silent),
        "left_out": {
            "packages": max(0, len(report.packages) - ROWS_MAX),
            "files": max(0, len(report.files) - ROWS_MAX),
            "units": max(0, len(report.units) - ROWS_MAX),
        },
        "cut": report.cut,
    }
