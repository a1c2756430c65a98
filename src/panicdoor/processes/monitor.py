"""The monitor: judges, records, and acts only where the act cannot block.

Frontends ask; `judge` decides; what may block is run by the observer or a worker. Rules:
- what a frontend says about a client is a hint; it is spoken to as if it had been taken over;
- one request of each frontend at a time, in turn: one that is choked cannot delay the others;
- every part of an answer goes out against credit: one More, one part;
- everything that waits has a deadline and a bound.
"""

import os
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor import keys
from panicdoor.commands.registry import Context, Where
from panicdoor.judge.challenge import NONCE_SIZE, SECRET_SIZE, Challenges
from panicdoor.judge.dispatch import Errand, Outcome, Record, Resume, Steps, dispatch
from panicdoor.judge.policy import Policy
from panicdoor.judge.sessions import TOKEN_SIZE, Sessions
from panicdoor.messages import (
    PART_MAX,
    Answer,
    Ask,
    Bug,
    Cancel,
    Fresh,
    Hello,
    Login,
    Logout,
    More,
    Output,
    Replace,
    Run,
    Session,
    Sign,
    Signed,
    Write,
    Written,
)
from panicdoor.printable import escape
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import NOWHERE
from panicdoor.processes.place import Place
from panicdoor.protocols.base import Part
from panicdoor.roles import ROLE_OF, SUPERVISOR, allowed

FRESH_S: Final = 5.0  # seconds between two tcp challenges; each is good for 15 minutes
WAITING_MAX: Final = 64  # requests of one frontend that wait for their turn
CASES_MAX: Final = 512  # requests of one frontend whose answer is not finished
READER_S: Final = 60.0  # seconds a client may take for one part before its case is closed
ERRAND_S: Final = 10.0  # seconds an errand may take for one part before its process is replaced
ERRANDS_WAITING_MAX: Final = 64  # errands that wait for a free observer or worker
SWEEP_S: Final = 0.5  # seconds between two looks at the deadlines

FRONTENDS: Final = tuple(p for p, r in ROLE_OF.items() if Ask in allowed(r.name, "monitor"))
FRESHENED: Final = tuple(p for p, r in ROLE_OF.items() if Fresh in allowed("monitor", r.name))
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

    `lost` while it is being replaced, `due` 0 while it waits for the client.
    """

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
        (Sign, monitor.sign),
        (Login, monitor.login),
        (Logout, monitor.logout),
    ):
        place.on(kind, handler)
    place.give_up_rights()
    monitor.begin()
    place.serve()
    monitor.record("stop", {})


class Monitor:
    """All that is asked and not yet answered."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._manual = place.world.manual
        identity = _identity(place.world.holdings.secrets["identity"])
        self._policy = Policy(place.world.door.grants)
        self._sessions = Sessions(identity, place.world.signers, self._policy)
        self._challenges = Challenges(os.urandom(SECRET_SIZE), _random_seconds())
        self._waiting: dict[str, deque[Ask]] = {name: deque() for name in FRONTENDS}
        self._cases: dict[str, dict[tuple[int, int], Case]] = {name: {} for name in FRONTENDS}
        self._runners = {name: Runner() for name in RUNNERS}
        self._errands: deque[Case] = deque()
        self._numbers = 0
        self._working = False

    def begin(self) -> None:
        """Record the start, and let the clocks run."""
        if self._place.fill == 1:
            door = f"{self._manual.name} {self._manual.fingerprint}"
            self.record("start", {"door": door})
        self._freshen()
        self._sweep()

    def record(self, kind: str, fields: dict[str, object]) -> None:
        """Have an entry written; a writer that hangs is not waited for."""
        text = msgspec.json.encode(fields, order="deterministic").decode("ascii", "replace")
        self._numbers += 1
        self._place.tell("writer", Write(self._numbers, self._place.epoch, kind, text[:PART_MAX]))

    # Requests

    def asked(self, ask: Ask, sender: str) -> None:
        """Take a request, to be judged in its turn."""
        waiting = self._waiting[sender]
        full = len(waiting) >= WAITING_MAX or len(self._cases[sender]) >= CASES_MAX
        if full or (ask.epoch, ask.id) in self._cases[sender]:
            text = "the door is busy; try again\n"
            self._place.tell(sender, Answer(ask.id, ask.epoch, text, end=True, code=1))
            return
        waiting.append(ask)
        if not self._working:
            self._working = True
            self._place.loop.call_soon(self._work)

    def _work(self) -> None:
        """Judge one request of each frontend that has any."""
        for sender, waiting in self._waiting.items():
            if waiting:
                ask = waiting.popleft()
                if ask.until > time.monotonic():
                    self._open(ask, sender)
        self._working = any(self._waiting.values())
        if self._working:
            self._place.loop.call_soon(self._work)

    def _open(self, ask: Ask, sender: str) -> None:
        speaker = None
        if ask.session:
            session = self._sessions.find(ask.session, ask.epoch)
            if session is None:
                text = "this session has ended; log in again\n"
                self._place.tell(sender, Answer(ask.id, ask.epoch, text, end=True, code=1))
                return
            speaker = session.speaker
        scope = ask.scope.encode("ascii", "replace")
        context = Context(self._manual, NOWHERE, now_text(), lambda: self._challenge(scope))
        steps = dispatch(ask, context, self._policy, speaker)
        case = Case(sender, ask.epoch, ask.id, ask.until, steps)
        self._cases[sender][ask.epoch, ask.id] = case
        self._advance(case, None)

    def more(self, message: More, sender: str) -> None:
        """A client, or an errand's reader, has room for one more part."""
        case = self._cases[sender].get((message.epoch, message.id))
        if case is None:
            return
        case.until = time.monotonic() + READER_S
        case.credit = True
        if case.pending is not None:
            part, case.pending = case.pending, None
            if self._say(case, part):
                self._advance(case, None)

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
                case Record(kind, fields):
                    self.record(kind, dict(fields))
                case Errand():
                    self._send_out(case, step)
                    return
                case Resume():
                    self._resume(case)
                    return

    def _say(self, case: Case, part: Part) -> bool:
        """Send a part to the client; False when it was the last."""
        text = escape(part.text)
        head, rest = text[:PART_MAX], text[PART_MAX:]
        if rest:
            case.pending = Part(rest, part.end, part.code)
        case.credit = False
        end = part.end and not rest
        self._place.tell(case.place, Answer(case.id, case.epoch, head, end, part.code))
        if end:
            self._close(case)
        return not end and not rest

    def _close(self, case: Case) -> None:
        self._cases[case.place].pop((case.epoch, case.id), None)
        case.steps.close()
        if case.runner:
            runner = self._runners[case.runner]
            if runner.case is case:
                # It says its last part when it reads this; until then it is not free.
                self._place.tell(case.runner, Cancel(runner.number, self._place.epoch))
                runner.due = time.monotonic() + ERRAND_S
        elif case in self._errands:
            self._errands.remove(case)

    # Errands

    def _send_out(self, case: Case, errand: Errand) -> None:
        case.errand = errand
        if len(self._errands) >= ERRANDS_WAITING_MAX:
            self._advance(case, Outcome("every worker is busy; try again\n", True, 1))
            return
        # An empty part, outside the credit: the request has arrived and will take its time.
        self._place.tell(case.place, Answer(case.id, case.epoch, "", end=False))
        case.until = time.monotonic() + READER_S
        self._errands.append(case)
        self._hand_out()

    def _hand_out(self) -> None:
        """Give waiting errands to free runners."""
        for name, runner in self._runners.items():
            if runner.case is not None or runner.lost:
                continue
            for case in self._errands:
                if case.errand is not None and case.errand.where is RUNNERS[name]:
                    self._errands.remove(case)
                    self._start(name, runner, case, case.errand)
                    break

    def _start(self, name: str, runner: Runner, case: Case, errand: Errand) -> None:
        self._numbers += 1
        runner.case, runner.number = case, self._numbers
        runner.due = time.monotonic() + ERRAND_S
        case.runner = name
        message = Run(runner.number, self._place.epoch, runner.due, errand.words)
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
        case, runner.due = runner.case, 0.0
        if message.end:
            runner.case, runner.number = None, 0
        if case is not None and case.runner == sender and self._is_open(case):
            if message.end:
                case.runner = ""
            self._advance(case, Outcome(message.text, message.end, message.code))
        self._hand_out()

    def _is_open(self, case: Case) -> bool:
        return self._cases[case.place].get((case.epoch, case.id)) is case

    def _lose(self, name: str, runner: Runner) -> None:
        """Have a runner replaced that missed its deadline; its client is told at once."""
        case, runner.case, runner.number = runner.case, None, 0
        runner.due, runner.lost = 0.0, True
        self._place.tell(SUPERVISOR, Replace(name, f"no answer in {ERRAND_S:.0f} s"))
        if case is not None and self._is_open(case):
            case.runner = ""
            text = f"{name} did not answer in {ERRAND_S:.0f} seconds and is being replaced\n"
            self._advance(case, Outcome(text, True, 1))

    # Logins

    def sign(self, message: Sign, sender: str) -> None:
        """Sign the hash of a key exchange, or say at once that it gets no signature."""
        now = time.monotonic()
        signature = self._sessions.sign(message.epoch, message.connection, message.hash, now)
        self._place.tell(sender, Signed(message.id, message.epoch, signature))

    def login(self, message: Login, sender: str) -> None:
        """Judge a request to log in."""
        verdict = self._sessions.login(
            message.epoch, message.connection, message.body, message.signature, message.peer,
            time.monotonic(), time.time(), os.urandom(TOKEN_SIZE),
        )  # fmt: skip
        principal = level = ""
        if verdict.session is not None:
            speaker = verdict.session.speaker
            principal, level = speaker.principal, self._policy.level(speaker).value
            entry = {"by": principal, "from": speaker.address, "level": level}
            self.record("login", {**entry, "key": verdict.session.fingerprint})
        known, token, note = verdict.known, verdict.token, verdict.note
        self._place.tell(
            sender, Session(message.id, message.epoch, known, token, principal, level, note)
        )

    def logout(self, message: Logout, _: str) -> None:
        """A connection has ended."""
        self._sessions.end(message.epoch, message.connection)

    # Peers and clocks

    def hello(self, message: Hello, sender: str) -> None:
        """A place has a new holder: whatever its predecessor waited for is closed."""
        if ROLE_OF[sender].name == "ssh":
            self._sessions.begin(message.epoch)
        if sender in FRONTENDS:
            self._waiting[sender].clear()
            for case in list(self._cases[sender].values()):
                self._close(case)
            if sender in FRESHENED:
                self._place.tell(sender, Fresh(self._challenge(b"")))
        runner = self._runners.get(sender)
        if runner is not None:
            if runner.case is not None:
                self._lose_case(runner)
            runner.case, runner.number, runner.due, runner.lost = None, 0, 0.0, False
            self._hand_out()

    def _lose_case(self, runner: Runner) -> None:
        case, runner.case = runner.case, None
        if case is not None and self._is_open(case):
            case.runner = ""
            self._advance(case, Outcome("the process that ran this ended\n", True, 1))

    def bug(self, message: Bug, sender: str) -> None:
        """Record what somebody did not expect."""
        self.record("bug", {"place": sender, "what": escape(message.text)})

    def written(self, message: Written, sender: str) -> None:
        """An entry stands on disk."""

    def _freshen(self) -> None:
        for frontend in FRESHENED:
            self._place.tell(frontend, Fresh(self._challenge(b"")))
        self._place.loop.call_later(FRESH_S, self._freshen)

    def _challenge(self, scope: bytes) -> str:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._challenges.mint(now, os.urandom(NONCE_SIZE), scope)

    def _sweep(self) -> None:
        """Close what nobody waits for any more, and lose whoever missed a deadline."""
        now = time.monotonic()
        for cases in self._cases.values():
            for case in [case for case in cases.values() if case.until < now]:
                self._close(case)
        for name, runner in self._runners.items():
            if runner.due and runner.due < now:
                self._lose(name, runner)
        self._place.loop.call_later(SWEEP_S, self._sweep)


def _identity(fd: int) -> Ed25519PrivateKey:
    return keys.identity_from(os.pread(fd, keys.FILE_MAX, 0), "identity")


def _random_seconds() -> int:
    """Return where time is counted from, so that nobody reads an uptime from a challenge."""
    return int.from_bytes(os.urandom(7), "big")
