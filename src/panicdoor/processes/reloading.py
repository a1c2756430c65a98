"""Reloading, as the monitor sees it: one errand at a time, and what holds afterwards.

What holds is what stands in the policy's memory. A worker reads and checks the files and writes it
there; where it finds something wrong, dies or hangs, nothing is written and the last good policy
stays. Whether anything has been written is never taken from what the worker says, but looked up.
"""

from collections.abc import Callable
from typing import Final

from panicdoor.commands.authority import too_cheap
from panicdoor.commands.registry import COMMANDS, Where
from panicdoor.config import Door
from panicdoor.orders.signers import Signers
from panicdoor.orders.signers import parse as parse_signers
from panicdoor.processes.errands import Errands, Job
from panicdoor.processes.place import World
from panicdoor.records import journal
from panicdoor.roles import SUPERVISOR

FIXED: Final = ("name", "fleet", "contact", "listen", "elsewhere")  # until the next start
LINES_MAX: Final = 8  # skipped lines of allowed_signers that an entry names: it must fit

Take = Callable[[Door, Signers], list[str]]
Record = Callable[[str, dict[str, journal.Value]], None]


class Reloading:
    """The policy in force, and the errand that may bring another.

    `take` has another one judged by, and returns whose sessions that ended.
    """

    def __init__(self, world: World, errands: Errands, take: Take, record: Record) -> None:
        self._start = world.door
        self._memory = world.holdings.policy
        self._errands = errands
        self._take = take
        self._record = record
        self._running = self._again = False
        self._before = 0
        self.serial = 0
        self.door, self.signers = world.door, world.signers
        self._read()

    def begin(self) -> None:
        """Have a worker read the files; once more where that has begun already."""
        if self._running:
            self._again = True
            return
        self._running = True
        self._before = self.serial
        job = Job(SUPERVISOR, Where.WORKER, (), lambda: None, self._heard)
        self._errands.add(job)

    def look(self) -> None:
        """Take what stands in the memory, where that is newer than what holds."""
        if self._memory.newest() <= self.serial or not self._read():
            return
        ended = self._take(self.door, self.signers)
        fields: dict[str, journal.Value] = {"policy": self.serial}
        fixed = [key for key in FIXED if getattr(self.door, key) != getattr(self._start, key)]
        if fixed:
            fields["restart"] = [*fixed]
        if self.signers.remarks:
            fields["skipped"] = [str(remark) for remark in self.signers.remarks[:LINES_MAX]]
        if notes := too_cheap(self.door.grants, COMMANDS.values()):
            fields["notes"] = [*notes]
        if ended:
            fields["ended"] = len(ended)
            fields["of"] = " ".join(sorted(set(ended)))
        self._record("reload", fields)

    def _read(self) -> bool:
        """Take up what stands in the memory; False where that is no news."""
        found = self._memory.read()
        if found is None or found[0] <= self.serial:
            return False
        self.serial, document = found
        self.door, self.signers = document.door, parse_signers(document.signers)
        return True

    def _heard(self, text: str, end: bool, code: int) -> None:
        """A worker says how it went; only its last word counts."""
        if not end:
            return
        self._running = False
        self.look()
        if self.serial == self._before:
            why = text.strip() if code else "what was read could not be kept"
            self._record("reload", {"error": why})
        if self._again:
            self._again = False
            self.begin()
