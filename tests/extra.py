"""Commands that only tests have: they run in each kind of process, hang, flood and fail."""

import sys
import threading
import time
from collections.abc import Iterator

from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.errors import CommandError


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
