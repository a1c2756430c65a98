"""The command `disks`: how full file systems are, what disks do, and what room is not given back.

It asks file systems, and one whose server or disk is away may never answer. So it runs where a
process can be spared, and says the name of each before it asks: whatever was named last, and then
nothing came, is what hangs. What is known by then has been said by then, in JSON too.
"""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from panicdoor.commands import disk_tables as tables
from panicdoor.commands.disk_tables import Asked
from panicdoor.commands.registry import Context, Level, Where, command, parts
from panicdoor.commands.table import WIDTH, Json, cut, document, left_out, lines_as_parts
from panicdoor.errors import CommandError
from panicdoor.kernel import deleted, diskstats, filesystems, mounts
from panicdoor.kernel.descriptors import Scan
from panicdoor.printable import escape_bytes

ASKED_MAX: Final = 500  # file systems that are asked; each takes a part of the answer
SAMPLE_S: Final = 0.5  # seconds between the two looks at the disks' counters

_FIRST: Final = "asking"


@command(level=Level.OBSERVE, where=Where.WORKER)
def disks(context: Context, *, all: bool = False, json: bool = False) -> Iterator[str]:
    """Show how full and how busy the disks are.

    Each file system is named before it is asked: if nothing comes after a name, that one hangs.
    Those over a network, or in the hands of a process (FUSE), and those below one, are asked last,
    and only with --all. Then come the disks, watched for half a second, and the files that were
    deleted and still take room because a process has them open: it must close them.
    Normal: below 90 % of bytes and of inodes, busy below 90 %, wait below 20 ms.

    With --json: asking (points), filesystems (point, type, source, bytes, used, left, percent,
    inodes, inodes_used, inodes_percent, full, error), left_out, not_asked (points), disks (name,
    busy_percent, in_flight, await_ms, read_bytes_s, written_bytes_s, stuck), deleted (bytes, files
    with bytes, pid, name, fd, file and holders, left_out, not_asked, cut), asking_last (points),
    answered_last (as filesystems), findings (sentences). What was not told is null.

    Arguments:
        all: ask also those that may not answer
        json: print one JSON object, with the names before the answers

    Examples:
        > disks
        asking /...
        ...
        MOUNT...TYPE...SIZE...LEFT...USED...INODES
        .../...
    """
    begin = _begin()
    yield from _document(begin, all) if json else _text(begin, all)


class _Begin(NamedTuple):
    """What is known before any file system is asked: whom to ask, and the disks' counters."""

    local: list[mounts.Mount]
    last: list[mounts.Mount]
    counters: dict[str, diskstats.Counters]
    at: float


def _begin() -> _Begin:
    try:
        mounted, _ = mounts.read()
        counters = diskstats.read()
    except OSError as error:
        raise CommandError(f"/proc cannot be read: {error.strerror}") from error
    waits = mounts.waiting(mounted)
    found = mounts.file_systems(mounted)
    return _Begin(
        [mount for mount in found if mount.id not in waits],
        [mount for mount in found if mount.id in waits],
        counters,
        time.monotonic(),
    )


def _text(begin: _Begin, all: bool) -> Iterator[str]:
    answers: list[Asked] = []
    yield from _ask(begin.local[:ASKED_MAX], answers)
    yield from lines_as_parts(tables.file_systems(answers))
    yield from left_out(len(begin.local) - ASKED_MAX, "file systems")
    yield from lines_as_parts(tables.not_asked([] if all else begin.last))
    yield from lines_as_parts(tables.activity(_watch(begin)))
    yield from lines_as_parts(tables.deleted(_deleted()))
    if all:
        yield from _ask_last(begin.last)


def _document(begin: _Begin, all: bool) -> Iterator[str]:
    answers: list[Asked] = []
    late: list[Asked] = []
    avoided = [mount.point.decode("latin-1") for mount in begin.last if not all]
    yield "{"
    yield from _ask_json(begin.local[:ASKED_MAX], answers, _FIRST)
    yield from _member("filesystems", tables.file_system_values(answers))
    yield from _member("left_out", max(0, len(begin.local) - ASKED_MAX))
    yield from _member("not_asked", avoided)
    busy, gone = _watch(begin), _deleted()
    yield from _member("disks", tables.activity_values(busy))
    yield from _member("deleted", tables.deleted_value(gone))
    yield from _ask_json(begin.last[:ASKED_MAX] if all else [], late, "asking_last")
    yield from _member("answered_last", tables.file_system_values(late))
    worst = sorted([*answers, *late], key=lambda answer: answer.rank)
    wrong = [
        *tables.wrong_file_systems(worst),
        *tables.wrong_activity(busy),
        *tables.wrong_deleted(gone),
    ]
    yield from _member("findings", wrong, "}\n")


def ask(mount: mounts.Mount) -> Asked:
    """Ask one file system. May never return."""
    try:
        return Asked(mount, filesystems.usage(mount.point))
    except OSError as error:
        return Asked(mount, None, error.strerror or "error")
    except ValueError:
        return Asked(mount, None, "a mount point that cannot be")


def _ask(found: list[mounts.Mount], answers: list[Asked]) -> Iterator[str]:
    """Name each file system in a part of its own, then ask it. Afterwards the worst come first."""
    yield _FIRST
    column = len(_FIRST)
    for mount in found:
        name = cut(escape_bytes(mount.point), WIDTH - 2)
        fits = column + 1 + len(name) <= WIDTH
        column = (column if fits else 1) + 1 + len(name)
        yield f" {name}" if fits else f"\n  {name}"
        answers.append(ask(mount))
    yield "\n"
    answers.sort(key=lambda answer: answer.rank)


def _ask_json(found: list[mounts.Mount], answers: list[Asked], name: str) -> Iterator[str]:
    """Do the same in JSON: the names are the array of that name."""
    yield f'"{name}": ['
    for n, mount in enumerate(found):
        yield from parts(", " * (n > 0) + _json(mount.point.decode("latin-1")))
        answers.append(ask(mount))
    yield "], "
    answers.sort(key=lambda answer: answer.rank)


def _ask_last(found: list[mounts.Mount]) -> Iterator[str]:
    """Ask those that may never answer: what was said before stands, whatever happens now."""
    for mount in found[:ASKED_MAX]:
        name = cut(escape_bytes(mount.point), WIDTH)
        yield f"asking {name} ({mount.kind}) ...\n"
        yield f"  {tables.sentence(ask(mount))}\n"
    yield from left_out(len(found) - ASKED_MAX, "file systems")


def _watch(begin: _Begin) -> list[diskstats.Activity]:
    """Return what the disks did since the beginning, but for no less than SAMPLE_S."""
    time.sleep(max(0.0, begin.at + SAMPLE_S - time.monotonic()))
    try:
        return diskstats.activity(begin.counters, diskstats.read(), time.monotonic() - begin.at)
    except OSError:
        return []


def _deleted() -> deleted.Found:
    try:
        return deleted.find(Scan())
    except OSError:
        return deleted.Found([], cut=True)


def _member(name: str, value: Json, after: str = ", ") -> Iterator[str]:
    """Yield one member of the JSON object, and what follows it."""
    yield from parts(f'"{name}": {_json(value)}{after}')


def _json(value: Json) -> str:
    return "".join(document(value)).rstrip("\n")
