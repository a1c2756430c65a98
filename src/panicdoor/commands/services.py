"""The command `services`: which units have failed, or start again and again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

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
from panicdoor.kernel import process, systemd
from panicdoor.kernel.dbus import DBusError
from panicdoor.kernel.systemd import Unit
from panicdoor.printable import escape_line

ANSWER_S: Final = 1.0  # seconds that systemd may take; usually it is a few milliseconds
ROWS_SHOWN: Final = 100
NAMED_MAX: Final = 5  # findings that have a sentence of their own
STATES: Final = ("failed", "auto-restart")

NO_SYSTEMD: Final = "systemd does not run this host"


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen. `silent` says what systemd does instead of answering.

    `absent` says who starts services here, where systemd does not.
    """

    units: tuple[Unit, ...]
    silent: str = ""
    absent: str = ""


def look(seconds: float = ANSWER_S) -> Report:
    """Ask systemd over its own socket. Raises CommandError where we may not."""
    if not systemd.booted():
        return Report((), absent=f"{NO_SYSTEMD}, {process.name(1)} does")
    try:
        return Report(systemd.units(STATES, seconds))
    except TimeoutError:
        return Report((), f"it does not answer in {seconds:.1f} s")
    except (FileNotFoundError, ConnectionError):
        return Report((), "its socket is not there, or closed")
    except PermissionError as error:
        raise CommandError("only root may ask systemd for its units") from error
    except DBusError as error:
        return Report((), str(error))
    except OSError as error:
        raise CommandError(f"{systemd.SOCKET}: {error.strerror}") from error


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    if report.silent:
        yield f"systemd (pid 1) can do nothing: {report.silent}"
    for unit in report.units[:NAMED_MAX]:
        yield sentence(unit)
    if len(report.units) > NAMED_MAX:
        yield f"{len(report.units) - NAMED_MAX} more have failed"


def sentence(unit: Unit) -> str:
    """Return what is wrong with one unit."""
    named = f" ({unit.description})" if unit.description not in ("", unit.name) else ""
    if unit.active == "failed":
        return f"{unit.name}{named} has failed"
    return f"{unit.name}{named} ends and is started again and again"


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .units[].name text: a unit that has failed, or is started again and again
    .units[].description text: in words
    .units[].load text: loaded, or why it could not be
    .units[].active text: failed or activating
    .units[].sub text: more of that, such as auto-restart
    .silent text?: what systemd does instead of answering
    .absent text?: who starts services where systemd does not
    .left_out int: units that are not shown
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def services(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show which services have failed.

    systemd is asked directly, over its private socket: no bus and no program is needed, but systemd
    itself must answer, within a second. That it does not is a finding. Where something else starts
    services, nobody keeps a list of what failed, and this command says so. Normal is none.

    Arguments:
        json: print one JSON object, with up to 100 units

    Examples:
        > services
        ...
    """
    report = look()
    if json:
        yield from document(_document(report))
    else:
        yield from lines_as_parts(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    if report.absent:
        yield from findings((), escape_line(f"{report.absent}: nobody here lists what failed."))
        return
    yield from findings(wrong(report), "No unit has failed.")
    yield from table(
        [
            Column("UNIT", least=20),
            Column("STATE"),
            Column("SUB"),
            Column("DESCRIPTION", least=16),
        ],
        [
            (unit.name, unit.active, unit.sub, unit.description)
            for unit in report.units[:ROWS_SHOWN]
        ],
    )
    yield from left_out(len(report.units) - ROWS_SHOWN, "units")


def _document(report: Report) -> Json:
    return {
        "findings": list(wrong(report)),
        "units": [dict(unit._asdict()) for unit in report.units[:ROWS_SHOWN]],
        "silent": report.silent or None,
        "absent": report.absent or None,
        "left_out": max(0, len(report.units) - ROWS_SHOWN),
    }
