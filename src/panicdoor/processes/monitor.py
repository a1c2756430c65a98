"""The monitor: judges, records, and acts only where the act cannot block.

Frontends ask; `judge` decides; what may block is run by the observer or a worker. Rules:
- what a frontend says about a client is a hint; it is spoken to as if it had been taken over;
- one request of each frontend at a time, in turn: its wire is read so, and is its queue;
- every part of an answer goes out against credit: one More, one part;
- everything that waits has a deadline and a bound.
"""

import os
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from panicdoor import keys
from panicdoor.commands.registry import Context, Where
from panicdoor.judge.challenge import NONCE_SIZE, SECRET_SIZE, Challenges
from panicdoor.judge.dispatch import Errand, Outcome, Resume, Steps, dispatch
from panicdoor.messages import (
    PART_MAX,
    Answer,
    Ask,
    Bug,
    Cancel,
    Fresh,
    Hello,
    More,
    Output,
    Replace,
    Run,
    Write,
    Written,
)
from panicdoor.printable import escape
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import NOWHERE, SILENT
from panicdoor.processes.place import BUGS_A_MINUTE, Place
from panicdoor.protocols.base import Part
from panicdoor.records import journal
from panicdoor.roles import ROLE_OF, SUPERVISOR

FRESH_S: Final = 5.0  # seconds between two tcp challenges; each is good for 15 minutes
CASES_MAX: Final = 512  # requests of one frontend whose answer is not finished
READER_S: Final = 60.0  # seconds a client may take for one part before its case is closed
ERRAND_S: Final = 10.0  # seconds an errand may take for one part before its process is replaced
ERRANDS_WAITING_MAX: Final = 32  # errands of one frontend that wait for a free process
WAIT_S: Final = 10.0  # seconds an errand may wait so; with the sweep, less than a desk's WORK_S
COUNT_S: Final = 60.0  # seconds between two entries that say what was only counted
SWEEP_S: Final = 0.5  # seconds between two looks at the deadlines

BUSY: Final = Outcome("every worker is busy; try again\n", end=True, code=SILENT)

FRONTENDS: Final = tuple(place for place, role in ROLE_OF.items() if role.listens)
STREAMS: Final = tuple(place for place, role in ROLE_OF.items() if role.name == "stream")
RUNNERS: Final = {place: Where(r.name) for place, r in ROLE_OF.items() if r.entry == "worker"}


@dataclass(slots=True, eq=False)
class Case:
    """A request on its way: who asked, the judge's steps, and where it stands."""

    place: str
    epoch: int
    id: int
    until: float
    steps: Steps
    credit: bool = True
    pending: Part | None = None
    errand: Errand | None = None
    runner: str = ""


@dataclass(slots=True)
class Runner:
    """An observer's or worker's seat: which case it works for, and when its next part is due.

    `lost` until its holder, or after a missed deadline the next one, has said Hello; `due` 0 while
    it waits for the client. `epoch` is the holder's, 0 where it was there before this monitor.
    """

    epoch: int = 0
    case: Case | None = None
    number: int = 0
    due: float = 0.0
    lost: bool = False


def run(place: Place) -> None:
    """Be the monitor."""
    monitor = Monitor(place)
    for kind, handler in (
        (Ask, monitor.asked),
        (More, monitor.more),
        (Cancel, monitor.cancelled),
        (Output, monitor.output),
        (Hello, monitor.hello),
        (Bug, monitor.bug),
        (Written, monitor.written),
    ):
        place.on(kind, handler)
    place.give_up_rights()
    monitor.begin()
    place.serve()
    monitor.end()


class Monitor:
    """All that is asked and not yet answered."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._manual = place.world.manual
        self._identity = _identity(place.world.holdings.secrets["identity"])
        self._challenges = Challenges(os.urandom(SECRET_SIZE), _random_seconds())
        self._cases: dict[str, dict[tuple[int, int], Case]] = {name: {} for name in FRONTENDS}
        # The first monitor hears from all of them; a later one finds them at work, silent.
        self._runners = {name: Runner(lost=place.fill == 1) for name in RUNNERS}
        self._errands: dict[str, deque[Case]] = {name: deque() for name in FRONTENDS}
        self._numbers = 0
        self._missed = 0
        self._bugs: Counter[str] = Counter()
        self._counted: dict[str, Counter[str]] = {}
        self._told_shut: set[str] = set()

    def begin(self) -> None:
        """Record the start, and let the clocks run."""
        if self._place.fill == 1:
            door = f"{self._manual.name} {self._manual.fingerprint}"
            self.record("start", {"door": door})
        self._freshen()
        self._sweep()
        self._place.loop.call_later(COUNT_S, self._count)

    def end(self) -> None:
        """Record what is still to be recorded."""
        self._record_counts()
        self.record("stop", {})

    def record(self, kind: str, fields: dict[str, journal.Value]) -> None:
        """Have an entry written; a writer that hangs is not waited for.

        What its wire has no room for is lost, and counted in the next entry that it has room for.
        """
        if self._missed and self._write("missed", {"entries": self._missed}):
            self._missed = 0
        if self._missed or not self._write(kind, fields):
            self._missed += 1

    def _write(self, kind: str, fields: dict[str, journal.Value]) -> bool:
        self._numbers += 1
        text = journal.encode(fields)
        return self._place.tell("writer", Write(self._numbers, self._place.epoch, kind, text))

    # Requests

    def asked(self, ask: Ask, sender: str) -> None:
        """Judge a request, unless nobody waits for it any more or it is being answered already."""
        now = time.monotonic()
        cases = self._cases[sender]
        if ask.until <= now or (ask.epoch, ask.id) in cases:
            return
        if len(cases) >= CASES_MAX:
            self._end_for(ask, sender, "the door is busy; try again\n")
            return
        scope = ask.scope.encode("ascii", "replace")
        context = Context(self._manual, NOWHERE, now_text(), lambda: self._challenge(scope))
        until = min(ask.until, now + READER_S)
        case = Case(sender, ask.epoch, ask.id, until, dispatch(ask, context))
        cases[ask.epoch, ask.id] = case
        self._advance(case, None)

    def more(self, message: More, sender: str) -> None:
        """A client, or an errand's reader, has room for one more part."""
        case = self._cases[sender].get((message.epoch, message.id))
        if case is None:
            self._end_for(message, sender, "this answer was not read for too long and has ended\n")
            return
        case.until = time.monotonic() + READER_S
        case.credit = True
        if case.pending is not None:
            self._say_pending(case)

    def cancelled(self, message: Cancel, sender: str) -> None:
        """Nobody waits for this answer any more."""
        case = self._cases[sender].get((message.epoch, message.id))
        if case is not None:
            self._close(case)

    def _advance(self, case: Case, outcome: Outcome | None) -> None:
        """Take the judge's next steps until one has to wait."""
        while True:
            try:
                step = case.steps.send(outcome)
            except StopIteration:
                self._close(case)
                return
            except Exception as error:
                self._place.report(error)
                step = Part("the door has a bug here, which has been recorded\n", True, 1)
            outcome = None
            match step:
                case Part():
                    if not case.credit:
                        case.pending = step
                        return
                    if not self._say(case, step):
                        return
                case Errand():
                    self._send_out(case, step)
                    return
                case Resume():
                    self._resume(case)
                    return

    def _say(self, case: Case, part: Part) -> bool:
        """Send a part to the client; False when the next one has to wait or this was the last.

        What its wire has no room for stays pending, and is tried again by the sweep.
        """
        text = escape(part.text)
        if not text and not part.end:
            return True  # to a desk an empty part says that work has begun, and no more is asked
        head, rest = text[:PART_MAX], text[PART_MAX:]
        end = part.end and not rest
        if not self._place.tell(case.place, Answer(case.id, case.epoch, head, end, part.code)):
            case.pending = Part(text, part.end, part.code)
            return False
        case.credit = False
        case.until = time.monotonic() + READER_S
        if rest:
            case.pending = Part(rest, part.end, part.code)
        if end:
            self._close(case)
        return not end and not rest

    def _say_pending(self, case: Case) -> None:
        part, case.pending = case.pending, None
        if part is not None and self._say(case, part):
            self._advance(case, None)

    def _end_for(self, message: Ask | More, sender: str, text: str) -> None:
        """Answer what has no case."""
        self._place.tell(sender, Answer(message.id, message.epoch, text, end=True, code=SILENT))

    def _close(self, case: Case) -> None:
        self._cases[case.place].pop((case.epoch, case.id), None)
        try:
            case.steps.close()
        except Exception as error:
            self._place.report(error)
        if case.runner:
            runner = self._runners[case.runner]
            if runner.case is case:
                # It says its last part when it reads this; until then it is not free.
                self._place.tell(case.runner, Cancel(runner.number, self._place.epoch))
                runner.due = time.monotonic() + ERRAND_S
        elif case in self._errands[case.place]:
            self._errands[case.place].remove(case)

    # Errands

    def _send_out(self, case: Case, errand: Errand) -> None:
        case.errand = errand
        waiting = self._errands[case.place]
        if len(waiting) >= ERRANDS_WAITING_MAX:
            self._advance(case, BUSY)
            return
        waiting.append(case)
        self._hand_out()
        if not case.runner and self._is_open(case):
            case.until = time.monotonic() + WAIT_S
            self._say_begun(case)

    def _say_begun(self, case: Case) -> None:
        """Say, by an empty part outside the credit, that the answer will take its time."""
        self._place.tell(case.place, Answer(case.id, case.epoch, "", end=False))

    def _hand_out(self) -> None:
        """Give waiting errands to free runners, one of each frontend in turn."""
        for name, runner in self._runners.items():
            if runner.case is not None or runner.lost:
                continue
            for frontend, waiting in list(self._errands.items()):
                case = next((c for c in waiting if _where(c) is RUNNERS[name]), None)
                if case is not None and case.errand is not None:
                    waiting.remove(case)
                    self._errands[frontend] = self._errands.pop(frontend)  # now the last in turn
                    self._start(name, runner, case, case.errand)
                    break

    def _start(self, name: str, runner: Runner, case: Case, errand: Errand) -> None:
        now = time.monotonic()
        self._numbers += 1
        runner.case, runner.number, runner.due = case, self._numbers, now + ERRAND_S
        case.runner, case.until = name, now + READER_S
        self._say_begun(case)
        epoch = self._place.epoch
        message = Run(runner.number, epoch, runner.epoch, runner.due, errand.words)
        if not self._place.tell(name, message):
            self._lose(name, runner)

    def _resume(self, case: Case) -> None:
        runner = self._runners[case.runner]
        runner.due = time.monotonic() + ERRAND_S
        self._place.tell(case.runner, More(runner.number, self._place.epoch))

    def output(self, message: Output, sender: str) -> None:
        """An errand said its next part."""
        runner = self._runners[sender]
        if message.epoch != self._place.epoch or message.id != runner.number:
            return
        case = runner.case
        heard = case is not None and case.runner == sender and self._is_open(case)
        if message.end:
            runner.case, runner.number = None, 0
        if message.end or heard:
            runner.due = 0.0  # else it was cancelled, and its last part is still due
        if case is not None and heard:
            if message.end:
                case.runner = ""
            self._advance(case, Outcome(message.text, message.end, message.code))
        self._hand_out()

    def _is_open(self, case: Case) -> bool:
        return self._cases[case.place].get((case.epoch, case.id)) is case

    def _lose(self, name: str, runner: Runner) -> None:
        """Have a runner replaced that missed its deadline; its client is told at once.

        Until somebody says Hello that is said again and again: nobody pings a runner, and its
        successor may be stopped, too.
        """
        case, runner.case, runner.number = runner.case, None, 0
        runner.due, runner.lost = time.monotonic() + ERRAND_S, True
        self._place.tell(SUPERVISOR, Replace(name, f"no answer in {ERRAND_S:.0f} s"))
        if case is not None and self._is_open(case):
            case.runner = ""
            text = f"{name} did not answer in {ERRAND_S:.0f} seconds and is being replaced\n"
            self._advance(case, Outcome(text, True, 1))

    # Peers and clocks

    def hello(self, message: Hello, sender: str) -> None:
        """A place has a new holder: whatever its predecessor waited for is closed."""
        if sender in FRONTENDS:
            for case in list(self._cases[sender].values()):
                self._close(case)
            if sender in STREAMS:
                self._tell_fresh(sender)
        runner = self._runners.get(sender)
        if runner is not None:
            if runner.case is not None:
                self._lose_case(runner)
            runner.case, runner.number, runner.due, runner.lost = None, 0, 0.0, False
            runner.epoch = message.epoch
            self._hand_out()

    def _lose_case(self, runner: Runner) -> None:
        case, runner.case = runner.case, None
        if case is not None and self._is_open(case):
            case.runner = ""
            self._advance(case, Outcome("the process that ran this ended\n", True, 1))

    def bug(self, message: Bug, sender: str) -> None:
        """Record what somebody did not expect; of one place no more than a few a minute."""
        self._bugs[sender] += 1
        if self._bugs[sender] <= BUGS_A_MINUTE:
            self.record("bug", {"place": sender, "what": message.text})

    def written(self, message: Written, sender: str) -> None:
        """An entry stands on disk."""

    def _count(self) -> None:
        self._place.loop.call_later(COUNT_S, self._count)
        self._record_counts()

    def _record_counts(self) -> None:
        """Record, in one entry, what the last minute only counted, and which wires were shut."""
        wires = self._place.wires
        now = {
            "dropped": Counter({peer: wire.dropped for peer, wire in wires.items()}),
            "refused": Counter({peer: wire.refused for peer, wire in wires.items()}),
        }
        fields: dict[str, journal.Value] = {}
        for what, count in now.items():
            new = dict(+(count - self._counted.get(what, Counter())))
            if new:
                fields[what] = {**new}
        more = {peer: n - BUGS_A_MINUTE for peer, n in self._bugs.items() if n > BUGS_A_MINUTE}
        if more:
            fields["bugs"] = {**more}
        shut = {peer for peer, wire in wires.items() if wire.over} - self._told_shut
        if shut:
            fields["shut"] = [*sorted(shut)]
        self._counted = now
        self._bugs.clear()
        self._told_shut |= shut
        if fields:
            self.record("counted", fields)

    def _freshen(self) -> None:
        self._place.loop.call_later(FRESH_S, self._freshen)
        for stream in STREAMS:
            self._tell_fresh(stream)

    def _tell_fresh(self, stream: str) -> None:
        self._place.tell(stream, Fresh(self._challenge(b""), self._place.epoch))

    def _challenge(self, scope: bytes) -> str:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._challenges.mint(now, os.urandom(NONCE_SIZE), scope)

    def _sweep(self) -> None:
        """Close what nobody waits for any more, and lose whoever missed a deadline."""
        self._place.loop.call_later(SWEEP_S, self._sweep)
        now = time.monotonic()
        for cases in self._cases.values():
            full = False
            for case in list(cases.values()):
                if case.until < now:
                    self._expire(case)
                elif case.credit and case.pending is not None and not full:
                    self._say_pending(case)
                    full = case.credit and case.pending is not None
        for name, runner in self._runners.items():
            if runner.due and runner.due < now:
                self._lose(name, runner)

    def _expire(self, case: Case) -> None:
        waiting = self._errands[case.place]
        if case in waiting:
            waiting.remove(case)
            case.until = time.monotonic() + READER_S
            self._advance(case, BUSY)
        else:
            self._close(case)


def _where(case: Case) -> Where | None:
    return case.errand.where if case.errand is not None else None


def _identity(fd: int) -> object:
    return keys.identity_from(os.pread(fd, keys.FILE_MAX, 0), "identity")


def _random_seconds() -> int:
    """Return where time is counted from, so that nobody reads an uptime from a challenge."""
    return int.from_bytes(os.urandom(7), "big")
