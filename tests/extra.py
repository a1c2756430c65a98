"""Commands that only tests have: they run in each kind of process, hang, flood and fail."""

import os
import sys
import threading
import time
from collections.abc import Generator, Iterator

from panicdoor.commands.registry import Context, Level, Seconds, Where, command
from panicdoor.errors import CommandError

HOUR = Seconds(3600)


def _inside() -> str:
    return f"{len(sys.modules)} {threading.active_count()} {' '.join(sorted(sys.modules))}\n"


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def inside_frontend(context: Context) -> Iterator[str]:
    """Print how many modules and threads there are here."""
    yield _inside()[:3000]


@command(level=Level.PUBLIC, where=Where.MONITOR)
def inside_monitor(context: Context) -> Iterator[str]:
    """Print how many modules and threads there are here."""
    yield _inside()[:3000]


@command(level=Level.PUBLIC, where=Where.OBSERVER)
def inside_observer(context: Context) -> Iterator[str]:
    """Print how many modules and threads there are here."""
    yield _inside()[:3000]


@command(level=Level.PUBLIC, where=Where.WORKER)
def inside_worker(context: Context) -> Iterator[str]:
    """Print how many modules and threads there are here."""
    yield _inside()[:3000]


@command(level=Level.PUBLIC, where=Where.WORKER)
def count(context: Context, upto: int) -> Iterator[str]:
    """Count, one number a part.

    Arguments:
        upto: the last number
    """
    for number in range(1, upto + 1):
        yield f"{number}\n"


@command(level=Level.PUBLIC, where=Where.WORKER)
def hang(context: Context) -> Iterator[str]:
    """Hang, as a dead disk would make it."""
    yield "hanging\n"
    time.sleep(3600)


@command(level=Level.PUBLIC, where=Where.OBSERVER)
def fail(context: Context) -> Iterator[str]:
    """Fail for a reason that the operator can mend."""
    yield "trying\n"
    raise CommandError("it cannot be done")


@command(level=Level.PUBLIC, where=Where.OBSERVER)
def crash(context: Context) -> Iterator[str]:
    """Fail for a reason that is a bug."""
    yield "trying\n"
    raise ValueError("a bug\nresult: done")


@command(level=Level.PUBLIC, where=Where.MONITOR)
def crash_monitor(context: Context) -> Iterator[str]:
    """Fail in the monitor for a reason that is a bug."""
    yield "trying\n"
    raise ValueError("a bug")


@command(level=Level.DEFEND, where=Where.WORKER)
def forbidden(context: Context) -> Iterator[str]:
    """Do what strangers may not."""
    yield "done\n"


@command(level=Level.PUBLIC, where=Where.WORKER)
def doze(context: Context, milliseconds: int) -> Iterator[str]:
    """Say one thing after a while.

    Arguments:
        milliseconds: how long it takes
    """
    time.sleep(milliseconds / 1000)
    yield "awake\n"


@command(level=Level.PUBLIC, where=Where.WORKER)
def slowly(context: Context, milliseconds: int) -> Iterator[str]:
    """Say two things, with a while between them.

    Arguments:
        milliseconds: how long it takes
    """
    yield "first\n"
    yield from doze(context, milliseconds)
    yield "second\n"


@command(level=Level.PUBLIC, where=Where.WORKER)
def untidy(context: Context) -> Iterator[str]:
    """Count for ever, and fail in the clean-up."""
    try:
        while True:
            yield "again\n"
    finally:
        raise ValueError("not tidied up")


@command(level=Level.PUBLIC, where=Where.MONITOR)
def stubborn(context: Context) -> Iterator[str]:
    """Say more when nobody wants more."""
    try:
        yield "one\n"
        yield "two\n"
        yield "three\n"
    finally:
        yield "never\n"


@command(level=Level.PUBLIC, where=Where.MONITOR)
def three(context: Context) -> Iterator[str]:
    """Say three things."""
    yield "one\n"
    yield "two\n"
    yield "three\n"


@command(level=Level.PUBLIC, where=Where.WORKER)
def gaps(context: Context) -> Iterator[str]:
    """Say things with nothing between them."""
    yield ""
    yield "one\n"
    yield ""
    yield ""
    yield "two\n"


@command(level=Level.PUBLIC, where=Where.MONITOR)
def gaps_here(context: Context) -> Iterator[str]:
    """Say things with nothing between them."""
    yield from gaps(context)


@command(level=Level.PUBLIC, where=Where.WORKER)
def bytes_of_every_kind(context: Context) -> Iterator[str]:
    """Say what no terminal must see, at length."""
    yield "\x1b[2J\x00\u202e\U0010ffff" * 700 + "end\n"


@command(level=Level.PUBLIC, where=Where.MONITOR)
def bytes_of_every_kind_here(context: Context) -> Iterator[str]:
    """Say what no terminal must see, at length."""
    yield from bytes_of_every_kind(context)


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def size(context: Context) -> Iterator[str]:
    """Count modules and threads, and say no more."""
    yield f"{len(sys.modules)} modules, {threading.active_count()} threads\n"


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def touch_disk(context: Context) -> Iterator[str]:
    """Do what nobody may: look for a file."""
    yield f"{os.access('/', os.R_OK)}\n"


@command(level=Level.PUBLIC, where=Where.MONITOR)
def touch_disk_here(context: Context) -> Iterator[str]:
    """Do what nobody may: look for a file."""
    yield from touch_disk(context)


@command(level=Level.OBSERVE, where=Where.OBSERVER)
def rows(context: Context, most: int = 3) -> Iterator[str]:
    """Say some lines, as a table does.

    Arguments:
        most: how many
    """
    for number in range(1, most + 1):
        yield f"row {number}\n"


@command(level=Level.OBSERVE, where=Where.OBSERVER)
def much(context: Context) -> Iterator[str]:
    """Say more than a client takes at once."""
    for _ in range(100):
        yield "x" * 3000 + "\n"


@command(level=Level.OBSERVE, where=Where.WORKER)
def onward(
    context: Context, *, quiet: bool = False, ends: int = 0, follow: bool = False
) -> Generator[str, None, str]:
    """Say the next number.

    Arguments:
        quiet: say nothing but the first
        ends LAST: fail behind this number
        follow: every number
    """
    number = int(context.cursor or 0) + 1
    if 0 < ends < number:
        raise CommandError("that was the last")
    if not quiet or number == 1:
        yield f"{number}\n"
    return str(number)


@command(level=Level.OBSERVE, where=Where.OBSERVER)
def ordered(context: Context, *, by: str = "cpu", past: Seconds = HOUR) -> Iterator[str]:
    """Say how it was asked.

    Arguments:
        by cpu|memory: what comes first
        past AGO: how far to look back
    """
    yield f"{by} {past}\n"
