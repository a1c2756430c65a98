"""The command `mounts`: what is mounted where, and what the kernel has stopped writing to."""

from collections.abc import Iterator
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
from panicdoor.kernel.mounts import KERNELS_OWN, NEVER_WRITTEN, Mount, read, waiting

ROWS_MAX: Final = 1000  # mounts that are shown, worst first: a host of containers has thousands
NAMED_MAX: Final = 5  # findings that have a sentence of their own

# What can be said of a mount, worst first, and the words of the table for it.
STATES: Final = {
    "broken": "READ-ONLY BY ERROR",
    "read-only": "read-only",
    "waiting": "not asked",
    "writable": "",
}


class Seen(NamedTuple):
    """A mount, and which of STATES it is in."""

    state: str
    mount: Mount

    @property
    def point(self) -> str:
        """The mount point as text, not escaped."""
        return self.mount.point.decode("latin-1")


class Report(NamedTuple):
    """What was seen, worst first. `cut` says that the kernel's table was too long."""

    mounts: list[Seen]
    cut: bool


def look() -> Report:
    """Read the kernel's table; no mount is touched. Raises CommandError."""
    try:
        mounted, cut = read()
    except OSError as error:
        raise CommandError(f"the table of mounts cannot be read: {error.strerror}") from error
    waits = waiting(mounted)
    seen = [Seen(_state(mount, mount.id in waits), mount) for mount in mounted]
    ranks = {state: rank for rank, state in enumerate(STATES)}
    return Report(sorted(seen, key=lambda one: (ranks[one.state], one.mount.point)), cut)


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal."""
    broken = [seen for seen in report.mounts if seen.state == "broken"]
    for seen in broken[:NAMED_MAX]:
        yield (
            f"{seen.point} ({seen.mount.kind}) was made read-only, as the kernel does "
            "after an error of the disk; for the reason type: kernel"
        )
    if len(broken) > NAMED_MAX:
        yield f"{len(broken) - NAMED_MAX} more were made read-only"


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .mounts[].point text: where it is mounted
    .mounts[].type text: of the file system
    .mounts[].source text: what is mounted
    .mounts[].device text: its numbers, as in 8:1
    .mounts[].state text: broken (read-only by error), read-only, waiting (not asked) or writable
    .mounts[].options[] text: of this mount
    .mounts[].super_options[] text: of the file system
    .left_out int: mounts that are not shown
    .cut bool: whether the kernel's table was too long to be read whole
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def mounts(context: Context, *, all: bool = False, json: bool = False) -> Iterator[str]:
    """Show what is mounted, and what became read-only.

    READ-ONLY BY ERROR: writing was stopped for the whole file system, while its mount still says
    that it may be written. That is how ext4, xfs and others react to an error. Normal: none.
    What was mounted to be read only is `read-only`. What is over a network, or in the hands of a
    process (FUSE), and what is mounted below that, is `not asked`: whoever touches such a mount may
    wait for ever. This command touches none at all: it says what stands in the kernel's table.

    Arguments:
        all: show the kernel's own file systems too, such as /proc
        json: print one JSON object, with up to 1000 mounts

    Examples:
        > mounts
        ...
        MOUNT...TYPE...SOURCE...STATE
        .../...
    """
    report = look()
    if json:
        yield from document(_document(report, all))
    else:
        yield from lines_as_parts(_lines(report, all))


def _lines(report: Report, all: bool) -> Iterator[str]:
    yield from findings(wrong(report), "No file system was made read-only by an error.")
    shown = _chosen(report, all)
    yield from table(
        [
            Column("MOUNT", least=24),
            Column("TYPE", least=8),
            Column("SOURCE", least=12),
            Column("STATE"),
        ],
        (
            (
                seen.point,
                seen.mount.kind,
                seen.mount.source.decode("latin-1"),
                STATES[seen.state],
            )
            for seen in shown[:ROWS_MAX]
        ),
    )
    yield from left_out(len(shown) - ROWS_MAX, "mounts")
    if len(shown) < len(report.mounts):
        yield f"({len(report.mounts) - len(shown)} of the kernel's own are in: mounts --all)\n"
    if report.cut:
        yield "(the kernel's table is too long: its end was not read)\n"


def _document(report: Report, all: bool) -> Json:
    chosen = _chosen(report, all)
    rows: list[Json] = [
        {
            "point": seen.point,
            "type": seen.mount.kind,
            "source": seen.mount.source.decode("latin-1"),
            "device": seen.mount.device,
            "state": seen.state,
            "options": list(seen.mount.options),
            "super_options": list(seen.mount.super_options),
        }
        for seen in chosen[:ROWS_MAX]
    ]
    return {
        "findings": list(wrong(report)),
        "mounts": rows,
        "left_out": len(chosen) - len(rows),
        "cut": report.cut,
    }


def _chosen(report: Report, all: bool) -> list[Seen]:
    return [seen for seen in report.mounts if all or seen.mount.kind not in KERNELS_OWN]


def _state(mount: Mount, waits: bool) -> str:
    if mount.broken:
        return "broken"
    if waits:
        return "waiting"
    if mount.read_only and mount.kind not in NEVER_WRITTEN:
        return "read-only"
    return "writable"
