"""The errands of the monitor: what may block is run by the observer or a worker, one at a time.

A place that misses a deadline is replaced, and its client told at once; one whose client has gone
is told to stop, and is free again only when it has said its last part; one whose client does not
read on gives way to whoever waits for it. Waiting errands are handed out to free places one of each
person at each frontend in turn: neither a choked frontend nor a busy operator delays anybody else.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from panicdoor.commands.registry import Where
from panicdoor.messages import Cancel, Message, More, Output, Replace, Run
from panicdoor.processes.desk import SILENT
from panicdoor.roles import ROLE_OF, SUPERVISOR

ERRAND_S: Final = 10.0  # seconds an errand may take for one part before its process is replaced
ERRANDS_WAITING_MAX: Final = 32  # errands of one person that wait for a free process
WAIT_S: Final = 10.0  # seconds an errand may wait so; with the sweep, less than a desk's WORK_S
HOLD_S: Final = 2.0  # seconds a client may keep a place that others wait for without reading on
HOLD_IN_ALL_S: Final = 5.0  # the same, of all parts of one answer together: half of WAIT_S

BUSY: Final = "every worker is busy; try again\n"
UNREAD: Final = "this was not read on, and others waited for its place: ask again\n"
DIED: Final = "the process that ran this ended\n"

RUNNERS: Final = {place: Where(r.name) for place, r in ROLE_OF.items() if r.entry == "worker"}

Tell = Callable[[str, Message], bool]
Crowd = tuple[str, str]  # a frontend, and whose errands: a principal, or "" for all strangers


@dataclass(slots=True, eq=False)
class Job:
    """An errand, and who waits for it: `who` is a principal, or "" for a stranger.

    `begun` is called when it has to wait, and when it starts; `heard` with each part it prints:
    the text, whether it is the last, and the exit code. `cursor` is where its command goes on; when
    the last part is heard, it is where the next round would.
    """

    frontend: str
    where: Where
    words: tuple[str, ...]
    begun: Callable[[], None]
    heard: Callable[[str, bool, int], None]
    cursor: str = ""
    who: str = ""
    until: float = 0.0
    runner: str = ""
    over: bool = False


@dataclass(slots=True)
class Runner:
    """An observer's or worker's seat: what it works at, and when its next part is due.

    `lost` until its holder, or after a missed deadline the next one, has said Hello; `due` 0 while
    it waits for the client, since `idle`; `waited` is how many seconds it did so before. `epoch` is
    the holder's, 0 where it was there before this monitor.
    """

    epoch: int = 0
    job: Job | None = None
    number: int = 0
    due: float = 0.0
    idle: float = 0.0
    waited: float = 0.0
    lost: bool = False


class Errands:
    """All errands that wait or run; `absent` where every runner has yet to say Hello."""

    def __init__(self, tell: Tell, epoch: int, absent: bool) -> None:
        self._tell = tell
        self._epoch = epoch
        self._runners = {name: Runner(lost=absent) for name in RUNNERS}
        # Whose turn is next comes first; who waits for nothing is not in it.
        self._waiting: dict[Crowd, deque[Job]] = {}
        self._numbers = 0

    def add(self, job: Job) -> None:
        """Have an errand run, as soon as somebody is free."""
        waiting = self._waiting.setdefault(_crowd(job), deque())
        if len(waiting) >= ERRANDS_WAITING_MAX:
            self._end(job, BUSY, SILENT)
            return
        job.until = time.monotonic() + WAIT_S
        waiting.append(job)
        self._hand_out()
        if not job.runner and not job.over:
            job.begun()

    def more(self, job: Job) -> None:
        """Have an errand say its next part."""
        runner = self._runners[job.runner]
        now = time.monotonic()
        runner.waited += now - runner.idle
        runner.due = now + ERRAND_S
        self._tell(job.runner, More(runner.number, self._epoch))

    def drop(self, job: Job) -> None:
        """Nobody waits for this any more."""
        job.over = True
        if not job.runner:
            self._take_out(job)
            return
        runner = self._runners[job.runner]
        # It says its last part when it reads this; until then it is not free.
        self._tell(job.runner, Cancel(runner.number, self._epoch))
        runner.due = time.monotonic() + ERRAND_S

    def output(self, message: Output, sender: str) -> None:
        """A runner said its next part."""
        runner = self._runners[sender]
        if message.epoch != self._epoch or message.id != runner.number:
            return
        job = runner.job
        if message.end:
            runner.job, runner.number = None, 0
        if job is not None and not job.over:
            runner.due, runner.idle = 0.0, time.monotonic()
            if message.end:
                job.cursor = message.cursor
                self._end(job, message.text, message.code)
            else:
                job.heard(message.text, False, message.code)
        elif message.end:
            runner.due = 0.0  # it was cancelled, and this was still due
        self._hand_out()

    def hello(self, place: str, epoch: int) -> None:
        """A runner's seat has a new holder: whatever the last one worked at has ended."""
        runner = self._runners.get(place)
        if runner is None:
            return
        job, runner.job, runner.number = runner.job, None, 0
        if job is not None:
            self._end(job, DIED, 1)
        runner.due, runner.lost, runner.epoch = 0.0, False, epoch
        self._hand_out()

    def sweep(self) -> None:
        """End what has waited for too long, and lose whoever missed a deadline."""
        now = time.monotonic()
        for job in [job for waiting in self._waiting.values() for job in waiting]:
            if job.until < now and not job.runner:
                self._take_out(job)
                self._end(job, BUSY, SILENT)
        for name, runner in self._runners.items():
            if runner.due and runner.due < now:
                self._lose(name, runner)
            elif runner.job is not None and not runner.due:
                held = now - runner.idle
                if held > HOLD_S or runner.waited + held > HOLD_IN_ALL_S:
                    self._give_way(name, runner.job)

    def _hand_out(self) -> None:
        """Give waiting errands to free runners, one of each crowd in turn."""
        for name, runner in self._runners.items():
            if runner.job is not None or runner.lost:
                continue
            for crowd, waiting in list(self._waiting.items()):
                job = next((e for e in waiting if e.where is RUNNERS[name]), None)
                if job is not None:
                    self._waiting[crowd] = self._waiting.pop(crowd)  # now the last in turn
                    self._take_out(job)
                    self._start(name, runner, job)
                    break

    def _take_out(self, job: Job) -> None:
        """An errand waits no longer."""
        crowd = _crowd(job)
        waiting = self._waiting[crowd]
        waiting.remove(job)
        if not waiting:
            del self._waiting[crowd]

    def _start(self, name: str, runner: Runner, job: Job) -> None:
        self._numbers += 1
        runner.job, runner.number = job, self._numbers
        runner.due, runner.waited = time.monotonic() + ERRAND_S, 0.0
        job.runner = name
        job.begun()
        message = Run(runner.number, self._epoch, runner.epoch, runner.due, job.words, job.cursor)
        if not self._tell(name, message):
            self._lose(name, runner)

    def _give_way(self, name: str, job: Job) -> None:
        """End an errand that waits for its client, if others wait for its place."""
        if any(e.where is RUNNERS[name] for waiting in self._waiting.values() for e in waiting):
            self.drop(job)
            job.heard(UNREAD, True, SILENT)

    def _lose(self, name: str, runner: Runner) -> None:
        """Have a runner replaced that missed its deadline; its client is told at once.

        Until somebody says Hello that is said again and again: nobody pings a runner, and its
        successor may be stopped, too.
        """
        job, runner.job, runner.number = runner.job, None, 0
        runner.due, runner.lost = time.monotonic() + ERRAND_S, True
        self._tell(SUPERVISOR, Replace(name, f"no answer in {ERRAND_S:.0f} s"))
        if job is not None:
            text = f"{name} did not answer in {ERRAND_S:.0f} seconds and is being replaced\n"
            self._end(job, text, 1)

    def _end(self, job: Job, text: str, code: int) -> None:
        """Say the last part, to whoever still waits for it."""
        if not job.over:
            job.over = True
            job.heard(text, True, code)


def _crowd(job: Job) -> Crowd:
    return job.frontend, job.who
