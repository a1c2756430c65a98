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
from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command, parts
from panicdoor.commands.table import WIDTH, Json, cut, document, left_out, lines_as_parts
from panicdoor.errors import CommandError
from panicdoor.kernel import deleted, diskstats, filesystems, mounts
from panicdoor.kernel.descriptors import Scan
from panicdoor.printable import escape_bytes

ASKED_MAX: Final = 500  # file systems that are asked; each takes a part of the answer
SAMPLE_S: Final = 0.5  # seconds between the two looks at the disks' counters

_FIRST: Final = "asking"


_FIELDS: Final = fields(
    """
    .asking[] text: a mount point, said before it is asked
    .filesystems[].point text: where it is mounted
    .filesystems[].type text: of the file system
    .filesystems[].source text: what is mounted
    .filesystems[].bytes bytes?: its size; null where it gave an error
    .filesystems[].used bytes?: what is used
    .filesystems[].left bytes?: what users may still have
    .filesystems[].percent percent?: used, of what users may have
    .filesystems[].inodes int?: how many there are, 0 where they cannot run out
    .filesystems[].inodes_used int?: how many are used
    .filesystems[].inodes_percent percent?: how many of them
    .filesystems[].full bool: whether it is fuller than normal
    .filesystems[].error text: the error it gave, or empty
    .left_out int: file systems that were not asked, for their number
    .not_asked[] text: a mount point that was left alone, as it may not answer
    .disks[].name text: a disk
    .disks[].busy_percent percent: how long it worked on anything
    .disks[].in_flight int: requests that wait for it now
    .disks[].await_ms number?: milliseconds a request took; null where none ended
    .disks[].read_bytes_s number: bytes a second
    .disks[].written_bytes_s number: bytes a second
    .disks[].stuck bool: whether requests wait and not one has ended
    .deleted.bytes bytes: what deleted files take that are still open
    .deleted.files[].bytes bytes: what one of them takes
    .deleted.files[].pid int: who has it open
    .deleted.files[].name text: of that process
    .deleted.files[].fd int: its descriptor
    .deleted.files[].file text: what the file was called
    .deleted.files[].holders int: how many descriptors hold it
    .deleted.left_out int: files that are not shown
    .deleted.not_asked int: files on mounts that may not answer
    .deleted.cut bool: whether there were too many descriptors to look at all
    .asking_last[] text: with --all, as asking, of those that may not answer
    .answered_last[].point text: where it is mounted
    .answered_last[].type text: of the file system
    .answered_last[].source text: what is mounted
    .answered_last[].bytes bytes?: its size; null where it gave an error
    .answered_last[].used bytes?: what is used
    .answered_last[].left bytes?: what users may still have
    .answered_last[].percent percent?: used, of what users may have
    .answered_last[].inodes int?: how many there are, 0 where they cannot run out
    .answered_last[].inodes_used int?: how many are used
    .answered_last[].inodes_percent percent?: how many of them
    .answered_last[].full bool: whether it is fuller than normal
    .answered_last[].error text: the error it gave, or empty
    .findings[] text: what is not normal, worst first
    """
)


@command(level=Level.OBSERVE, where=Where.WORKER, fields=_FIELDS)
def disks(context: Context, *, all: bool = False, json: bool = False) -> Iterator[str]:
    """Show how full and how busy the disks are.

    Each file system is named before it is asked: if nothing comes after a name, that one hangs.
    Those over a network, or in the hands of a process (FUSE), and those below one, are asked last,
    and only with --all. Then come the disks, watched for half a second, and the files that were
    deleted and still take room because a process has them open: it must close them.
    Normal: below 90 % of bytes and of inodes, busy below 90 %, wait below 20 ms.

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
