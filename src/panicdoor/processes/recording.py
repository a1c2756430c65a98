"""What the monitor has written to the journal, and what it hears of it.

Everything is handed to the writer at once. Whoever needs to know gives `then`: it is called with
the number and hash of the line when that stands on disk, or after WRITTEN_S, or at once where the
writer's wire has no room, as *volatile*: then with those of the last line that is known to stand
there. So a disk that hangs delays an order by a second and never stops it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from panicdoor.messages import Message, Write, Written
from panicdoor.records import journal

WRITTEN_S: Final = 1.0  # seconds an entry is waited for; a line takes a fraction of a millisecond
WAITING_MAX: Final = 512  # entries waited for: the writer and its wire hold fewer

Tell = Callable[[str, Message], bool]
Soon = Callable[..., object]
Then = Callable[[int, str, bool], None]
Told = Callable[[str, dict[str, journal.Value], int, str, bool], None]
Fields = dict[str, journal.Value]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that the writer has, and who wants to know when it stands on disk."""

    number: int
    until: float
    kind: str
    fields: Fields
    then: Then | None


class Recording:
    """The entries of one monitor, in their order.

    `tell` sends to a peer, `soon` has something called when the loop comes round. Each of
    `told` is called with every entry that stands on disk or is volatile, after its `then`.
    """

    def __init__(self, tell: Tell, epoch: int, soon: Soon) -> None:
        self._tell = tell
        self._epoch = epoch
        self._soon = soon
        self._numbers = 0
        self._missed = 0
        self._waiting: deque[Waiting] = deque()
        self._last = 0, journal.FIRST
        self.told: Final[list[Told]] = []

    def record(self, kind: str, fields: Fields, then: Then | None = None) -> None:
        """Have an entry written; a writer that hangs is not waited for.

        What its wire has no room for is lost, and counted in the next entry that it has room for.
        `then` is never called before this returns.
        """
        if self._missed and self._write("missed", {"entries": self._missed}):
            self._missed = 0
        lost = self._missed > 0 or not self._write(kind, fields)
        self._missed += lost
        if then is None and not self.told:
            return
        until = 0.0 if lost else time.monotonic() + WRITTEN_S
        waiting = Waiting(self._numbers, until, kind, fields, then)
        if lost or len(self._waiting) >= WAITING_MAX:
            self._soon(self._answer, waiting, *self._last, True)
        else:
            self._waiting.append(waiting)

    def written(self, message: Written, _: str) -> None:
        """An entry stands on disk, and with it all that were handed over before."""
        if message.epoch != self._epoch or message.n < self._last[0]:
            return
        self._last = message.n, message.hash
        while self._waiting and self._waiting[0].number <= message.id:
            waiting = self._waiting.popleft()
            self._answer(waiting, *self._last, waiting.number != message.id)

    def sweep(self) -> None:
        """Wait no longer for what the disk has not taken in time."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].until < now:
            self._answer(self._waiting.popleft(), *self._last, True)

    def _write(self, kind: str, fields: Fields) -> bool:
        self._numbers += 1
        text = journal.encode(fields)
        return self._tell("writer", Write(self._numbers, self._epoch, kind, text))

    def _answer(self, waiting: Waiting, n: int, hash_: str, volatile: bool) -> None:
        if waiting.then is not None:
            waiting.then(n, hash_, volatile)
        for told in self.told:
            told(waiting.kind, waiting.fields, n, hash_, volatile)
