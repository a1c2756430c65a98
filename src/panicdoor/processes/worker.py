"""Observer and worker: a process without secrets that runs one command at a time and may hang.

It is given an errand (Run), says one part, and waits until more is wanted or nobody waits any
more. The monitor has a deadline for each part and has this process replaced when one is missed.
What its predecessor was told to run it leaves: somebody has been told that it ended. While nobody
asks it anything, the observer keeps what `triage` compares with.
"""

import gc
import time
from collections.abc import Generator
from typing import cast

from panicdoor.commands import snapshot
from panicdoor.commands.registry import Context, Where, find
from panicdoor.errors import CommandError, ConfigError
from panicdoor.kernel import memory
from panicdoor.messages import PART_MAX, Cancel, More, Output, Run
from panicdoor.printable import escape
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import NOWHERE
from panicdoor.processes.directory import read_policy
from panicdoor.processes.place import Place


def run(place: Place) -> None:
    """Be an observer or a worker."""
    worker = Worker(place)
    place.on(Run, worker.start)
    place.on(More, worker.more)
    place.on(Cancel, worker.cancel)
    place.give_up_rights()
    if Where(place.role.name) is Where.OBSERVER:
        place.loop.call_soon(worker.keep)
    place.serve()


class Worker:
    """The errand at hand: its id and its parts still to come."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._manual = place.world.manual
        self._errand: tuple[int, int] | None = None
        self._parts: Generator[str, None, str] | None = None
        self._rest = ""

    def keep(self) -> None:
        """Take the counters that the next look compares with, now and every few seconds."""
        snapshot.COUNTS.keep()
        self._place.loop.call_later(snapshot.KEEP_S, self.keep)

    def start(self, message: Run, _: str) -> None:
        """Begin an errand, unless nobody waits for it any more. A new one ends the old one."""
        if message.until < time.monotonic() or message.to not in (0, self._place.epoch):
            return
        self._end_parts()
        self._errand = message.epoch, message.id
        self._parts = self._begin(message.words, message.cursor)
        self._next()

    def more(self, message: More, _: str) -> None:
        """Say the next part."""
        if self._errand == (message.epoch, message.id):
            self._next()

    def cancel(self, message: Cancel, _: str) -> None:
        """End the errand here: the generator's own clean-up runs now, before the last part."""
        if self._errand == (message.epoch, message.id):
            self._end_parts()
            self._say("cancelled\n", end=True, code=1)

    def _end_parts(self) -> None:
        parts, self._parts, self._rest = self._parts, None, ""
        try:
            if parts is not None:
                parts.close()
        except Exception as error:
            self._place.report(error)

    def _begin(self, words: tuple[str, ...], cursor: str) -> Generator[str, None, str]:
        if not words:
            self._read_policy()
            return ""
        context = Context(self._manual, NOWHERE, now_text(), lambda: "", cursor)
        command = find(words)
        bound = command.bind(words[1:])
        parts = command.run(context, *bound.values, **bound.options)
        # Of commands only those that can be followed return something.
        return (yield from cast(Generator[str, None, str | None], parts)) or ""

    def _read_policy(self) -> None:
        """Put in force what the directory says now. Raises CommandError where that is wrong."""
        world = self._place.world
        try:
            world.holdings.policy.write(read_policy(world.directory))
        except (ConfigError, ValueError) as wrong:
            raise CommandError(str(wrong)) from wrong

    def _next(self) -> None:
        if self._rest or self._parts is None:
            self._say(self._rest, end=False, code=0)
            return
        try:
            self._say(next(self._parts), end=False, code=0)
        except StopIteration as end:
            self._say("", end=True, code=0, cursor=end.value)
        except CommandError as error:
            self._say(f"{error}\n", end=True, code=1)
        except Exception as error:
            self._place.report(error)
            self._say("this command has a bug, which has been recorded\n", end=True, code=1)

    def _say(self, text: str, end: bool, code: int, cursor: str = "") -> None:
        if self._errand is None:
            return
        epoch, number = self._errand
        text = escape(text)
        head, self._rest = text[:PART_MAX], "" if end else text[PART_MAX:]
        if end:
            self._errand = self._parts = None
            gc.collect()
            memory.trim_malloc()  # what a look needs once is not kept for the next
        self._place.tell("monitor", Output(number, epoch, head, end, code, cursor))
