"""The requests of all frontends that are not answered yet: each is a case, with the judge's steps.

- One request of each frontend is judged at a time, in turn: its wire is read so, and is its queue.
- Every part of an answer goes out against credit: one More, one part.
- Everything that waits has a deadline and a bound.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from panicdoor.judge.dispatch import Errand, Outcome, Pause, Record, Resume, Steps
from panicdoor.judge.pace import TOO_FAST, Paces
from panicdoor.messages import PART_MAX, Answer, Ask, Cancel, More
from panicdoor.printable import escape
from panicdoor.processes.desk import SILENT
from panicdoor.processes.errands import Errands, Job
from panicdoor.processes.place import Place
from panicdoor.processes.recording import Recording
from panicdoor.protocols.base import Part
from panicdoor.roles import ROLE_OF, allowed

CASES_MAX: Final = 512  # requests of one frontend whose answer is not finished
READER_S: Final = 60.0  # seconds a client may take for one part before its case is closed
WATCHES_MAX: Final = 8  # at once: each takes an observer for a part of every two seconds
WATCHES_OF_ONE_MAX: Final = 4  # of one principal: whoever comes next can watch, too

ENDED: Final = "this session has ended; log in again\n"
WATCHED: Final = (
    f"({WATCHES_MAX} watches run on this door already, or {WATCHES_OF_ONE_MAX} of yours: this one"
    " ends here)\n"
)

FRONTENDS: Final = tuple(p for p, r in ROLE_OF.items() if Ask in allowed(r.name, "monitor"))


@dataclass(slots=True, eq=False)
class Case:
    """A request on its way: who asked, the judge's steps, and where it stands.

    `pending` waits for the client, and `heard`, an errand's last outcome, for that. `wake` is when
    the next round of a watch is due, 0 where none is.
    """

    place: str
    epoch: int
    id: int
    until: float
    steps: Steps
    session: str = ""
    who: str = ""
    credit: bool = True
    pending: Part | None = None
    job: Job | None = None
    heard: Outcome | None = None
    watch: bool = False
    wake: float = 0.0


class Cases:
    """All that is asked and not yet answered; `lives` says whether a case's session still does."""

    def __init__(
        self,
        place: Place,
        errands: Errands,
        recording: Recording,
        lives: Callable[[Case], bool],
    ) -> None:
        self._place = place
        self._errands = errands
        self._recording = recording
        self._lives = lives
        self._cases: dict[str, dict[tuple[int, int], Case]] = {name: {} for name in FRONTENDS}
        self._paces = Paces()

    def wants(self, ask: Ask, sender: str) -> bool:
        """Return whether somebody waits for this, and nobody answers it; say so where none can."""
        cases = self._cases[sender]
        if ask.until <= time.monotonic() or (ask.epoch, ask.id) in cases:
            return False
        if len(cases) >= CASES_MAX:
            self.end_for(ask, sender, "the door is busy; try again\n")
            return False
        return True

    def open(self, case: Case) -> None:
        """Begin with a case."""
        case.until = min(case.until, time.monotonic() + READER_S)
        self._cases[case.place][case.epoch, case.id] = case
        self._advance(case, None)

    def of(self, place: str) -> Iterator[Case]:
        """Yield the cases of a frontend; those may be closed meanwhile."""
        yield from list(self._cases[place].values())

    def more(self, message: More, sender: str) -> None:
        """A client, or an errand's reader, has room for one more part."""
        case = self._cases[sender].get((message.epoch, message.id))
        if case is None:
            self.end_for(message, sender, "this answer was not read for too long and has ended\n")
            return
        case.until = time.monotonic() + READER_S
        case.credit = True
        if case.pending is not None:
            self._say_pending(case)

    def cancelled(self, message: Cancel, sender: str) -> None:
        """Nobody waits for this answer any more."""
        case = self._cases[sender].get((message.epoch, message.id))
        if case is not None:
            self.close(case)

    def _advance(self, case: Case, outcome: Outcome | None) -> None:
        """Take the judge's next steps until one has to wait."""
        while True:
            try:
                step = case.steps.send(outcome)
            except StopIteration:
                self.close(case)
                return
            except Exception as error:
                self._place.report(error)
                step = Part("the door has a bug here, which has been recorded\n", True, 1)
            outcome = None
            if isinstance(step, Pause) and not self._may_watch(case):
                step = Part(WATCHED, end=True, code=1)
            if isinstance(step, Record) and not self._paces.allows(case.who, time.monotonic()):
                step = Part(TOO_FAST, end=True, code=SILENT)
            match step:
                case Part():
                    if not case.credit:
                        case.pending = step
                        return
                    if not self._say(case, step):
                        return
                case Record(kind, fields):
                    self._recording.record(kind, dict(fields))
                case Errand():
                    self._send_out(case, step)
                    return
                case Resume():
                    if case.job is not None:
                        self._errands.more(case.job)
                        return
                    outcome, case.heard = case.heard, None
                    if outcome is None:
                        return
                case Pause(seconds):
                    case.wake = time.monotonic() + seconds
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
        answer = Answer(case.id, case.epoch, head, end, part.code, part.top)
        if not self._place.tell(case.place, answer):
            case.pending = replace(part, text=text)
            return False
        case.credit = False
        case.until = time.monotonic() + READER_S
        if rest:
            case.pending = replace(part, text=rest, top=False)
        if end:
            self.close(case)
        return not end and not rest

    def _say_pending(self, case: Case) -> None:
        part, case.pending = case.pending, None
        if part is not None and self._say(case, part):
            self._advance(case, None)

    def end_for(self, message: Ask | More, sender: str, text: str) -> None:
        """Answer what has no case."""
        self._place.tell(sender, Answer(message.id, message.epoch, text, end=True, code=SILENT))

    def close(self, case: Case) -> None:
        """Nobody waits for this any more."""
        self._cases[case.place].pop((case.epoch, case.id), None)
        try:
            case.steps.close()
        except Exception as error:
            self._place.report(error)
        if case.job is not None:
            self._errands.drop(case.job)
            case.job = None

    def _send_out(self, case: Case, errand: Errand) -> None:
        def begun() -> None:
            """Say, by an empty part outside the credit, that the answer will take its time."""
            case.until = time.monotonic() + READER_S
            self._place.tell(case.place, Answer(case.id, case.epoch, "", end=False))

        def heard(text: str, end: bool, code: int) -> None:
            if end:
                case.job = None
            outcome = Outcome(text, end, code, job.cursor)
            if case.pending is None:
                self._advance(case, outcome)
            else:
                case.heard = outcome

        job = Job(case.place, errand.where, errand.words, begun, heard, errand.cursor, case.who)
        case.job = job
        self._errands.add(job)

    def _may_watch(self, case: Case) -> bool:
        """Return whether an answer may come again and again; what may once, may to its end."""
        watches = [c.who for cases in self._cases.values() for c in cases.values() if c.watch]
        free = len(watches) < WATCHES_MAX and watches.count(case.who) < WATCHES_OF_ONE_MAX
        case.watch = case.watch or free
        return case.watch

    def _wake(self, case: Case) -> None:
        """Begin the next round, unless the session has ended meanwhile."""
        case.wake = 0.0
        if not self._lives(case):
            self._say(case, Part(ENDED, end=True, code=SILENT))
        else:
            self._advance(case, None)

    def sweep(self) -> None:
        """Close what nobody waits for any more, say what there is room for, go on watching."""
        now = time.monotonic()
        for cases in self._cases.values():
            full = False
            for case in list(cases.values()):
                if case.until < now:
                    self.close(case)
                elif case.credit and case.pending is not None and not full:
                    self._say_pending(case)
                    full = case.credit and case.pending is not None
                elif case.credit and 0 < case.wake <= now:
                    self._wake(case)
