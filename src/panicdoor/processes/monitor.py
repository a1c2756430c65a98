"""The monitor: judges, records, and acts only where the act cannot block.

Frontends ask; `judge` decides; what may block is run by the observer or a worker. Rules:
- what a frontend says about a client is a hint; it is spoken to as if it had been taken over;
- one request of each frontend at a time, in turn: its wire is read so, and is its queue;
- every part of an answer goes out against credit: one More, one part;
- everything that waits has a deadline and a bound.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor import keys
from panicdoor.commands.registry import Context
from panicdoor.config import Door
from panicdoor.judge.challenge import NONCE_SIZE, SECRET_SIZE, Challenges
from panicdoor.judge.dispatch import Errand, Outcome, Pause, Record, Resume, Steps, dispatch
from panicdoor.judge.pace import TOO_FAST, Paces
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
    Regraded,
    Reload,
    Reloaded,
    Session,
    Sign,
    Signed,
    Write,
    Written,
)
from panicdoor.orders.signers import Signers
from panicdoor.printable import escape
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import NOWHERE, SILENT
from panicdoor.processes.errands import Errands, Job
from panicdoor.processes.place import BUGS_A_MINUTE, Place
from panicdoor.processes.reloading import Reloading
from panicdoor.protocols.base import Part
from panicdoor.records import journal
from panicdoor.roles import ROLE_OF, allowed

FRESH_S: Final = 5.0  # seconds between two tcp challenges; each is good for 15 minutes
CASES_MAX: Final = 512  # requests of one frontend whose answer is not finished
READER_S: Final = 60.0  # seconds a client may take for one part before its case is closed
WATCHES_MAX: Final = 8  # at once: each takes an observer for a part of every two seconds
WATCHES_OF_ONE_MAX: Final = 4  # of one principal: whoever comes next can watch, too
COUNT_S: Final = 60.0  # seconds between two entries that say what was only counted
SWEEP_S: Final = 0.5  # seconds between two looks at the deadlines

ENDED: Final = "this session has ended; log in again\n"
WATCHED: Final = (
    f"({WATCHES_MAX} watches run on this door already, or {WATCHES_OF_ONE_MAX} of yours: this one"
    " ends here)\n"
)

FRONTENDS: Final = tuple(p for p, r in ROLE_OF.items() if Ask in allowed(r.name, "monitor"))
GATES: Final = tuple(p for p, r in ROLE_OF.items() if Login in allowed(r.name, "monitor"))
FRESHENED: Final = tuple(p for p, r in ROLE_OF.items() if Fresh in allowed("monitor", r.name))


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


def run(place: Place) -> None:
    """Be the monitor."""
    monitor = Monitor(place)
    for kind, handler in (
        (Ask, monitor.asked),
        (More, monitor.more),
        (Cancel, monitor.cancelled),
        (Output, monitor.errands.output),
        (Hello, monitor.hello),
        (Bug, monitor.bug),
        (Written, monitor.written),
        (Sign, monitor.sign),
        (Login, monitor.login),
        (Logout, monitor.logout),
        (Reload, monitor.reload),
    ):
        place.on(kind, handler)
    place.give_up_rights()
    monitor.begin()
    place.serve(last=monitor.end)


class Monitor:
    """All that is asked and not yet answered."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._manual = place.world.manual
        identity = _identity(place.world.holdings.secrets["identity"])
        self._challenges = Challenges(os.urandom(SECRET_SIZE), _random_seconds())
        self._cases: dict[str, dict[tuple[int, int], Case]] = {name: {} for name in FRONTENDS}
        # The first monitor hears from all runners; a later one finds them at work, silent.
        self.errands: Final = Errands(place.tell, place.epoch, absent=place.fill == 1)
        self._reloading = Reloading(place.world, self.errands, self._take, self.record)
        self._policy = Policy(self._reloading.door.grants)
        self._sessions = Sessions(identity, self._reloading.signers, self._policy)
        self._paces = Paces()
        self._numbers = 0
        self._missed = 0
        self._bugs: Counter[str] = Counter()
        self._counted: dict[str, Counter[str]] = {}
        self._told_shut: set[str] = set()
        # By gate and connection; what is not told yet, as a wire was full.
        self._regraded: dict[tuple[str, int], Regraded] = {}

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
        speaker = None
        if ask.session:
            # A token is good from the place that logged in, whatever another may have learned.
            mine = sender in GATES
            session = self._sessions.find(ask.session, ask.epoch) if mine else None
            if session is None:
                self._end_for(ask, sender, ENDED)
                return
            speaker = session.speaker
        scope = ask.scope.encode("ascii", "replace")
        context = Context(self._manual, NOWHERE, now_text(), lambda: self._challenge(scope))
        until = min(ask.until, now + READER_S)
        steps = dispatch(ask, context, lambda: self._policy, speaker)
        who = speaker.principal if speaker is not None else ""
        case = Case(sender, ask.epoch, ask.id, until, steps, ask.session, who)
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
                    self.record(kind, dict(fields))
                case Errand():
                    self._send_out(case, step)
                    return
                case Resume():
                    if case.job is not None:
                        self.errands.more(case.job)
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
        if case.job is not None:
            self.errands.drop(case.job)
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
        self.errands.add(job)

    def _may_watch(self, case: Case) -> bool:
        """Return whether an answer may come again and again; what may once, may to its end."""
        watches = [c.who for cases in self._cases.values() for c in cases.values() if c.watch]
        free = len(watches) < WATCHES_MAX and watches.count(case.who) < WATCHES_OF_ONE_MAX
        case.watch = case.watch or free
        return case.watch

    def _wake(self, case: Case) -> None:
        """Begin the next round, unless the session has ended meanwhile."""
        case.wake = 0.0
        if self._sessions.find(case.session, case.epoch) is None:
            self._say(case, Part(ENDED, end=True, code=SILENT))
        else:
            self._advance(case, None)

    # Logins

    def sign(self, message: Sign, sender: str) -> None:
        """Sign the hash of a key exchange, or say at once that it gets no signature."""
        now = time.monotonic()
        signature = self._sessions.sign(
            message.epoch, message.connection, message.hash, message.transcript, now
        )
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
            self.record("login", {**entry, "key": verdict.session.key.fingerprint})
        said = verdict.known, verdict.token, principal, level, verdict.note
        self._place.tell(sender, Session(message.id, message.epoch, *said))

    def logout(self, message: Logout, sender: str) -> None:
        """A connection has ended, and with it what was asked in its sessions."""
        self._sessions.end(message.epoch, message.connection)
        for case in list(self._cases[sender].values()):
            if case.session and self._sessions.find(case.session, case.epoch) is None:
                self._close(case)

    # The policy

    def reload(self, message: Reload, _: str) -> None:
        """Have the policy read anew."""
        self._reloading.begin()

    def _take(self, door: Door, signers: Signers) -> list[str]:
        """Judge by another policy from now on, and return whose sessions that has ended."""
        self._policy = Policy(door.grants)
        ended = []
        for change in self._sessions.change(signers, self._policy, time.time()):
            session = change.session
            for gate in GATES:
                if not change.level:
                    self._close_all(gate, change.token)
                message = Regraded(change.epoch, session.connection, change.level)
                self._regraded[gate, session.connection] = message
            if not change.level:
                ended.append(session.speaker.principal)
        self._tell_regraded()
        for frontend in FRONTENDS:
            self._tell_policy(frontend)
        return ended

    def _tell_regraded(self) -> None:
        for at, message in list(self._regraded.items()):
            if not self._place.tell(at[0], message):
                return  # the sweep tries again: nobody keeps a prompt that is not true
            del self._regraded[at]

    def _tell_policy(self, frontend: str) -> None:
        if self._reloading.serial:
            self._place.tell(frontend, Reloaded(self._reloading.serial))

    def _close_all(self, place: str, session: str) -> None:
        for case in list(self._cases[place].values()):
            if case.session == session:
                self._close(case)

    # Peers and clocks

    def hello(self, message: Hello, sender: str) -> None:
        """A place has a new holder: whatever its predecessor waited for is closed."""
        if sender in GATES:
            self._sessions.begin(message.epoch)
            self._regraded.clear()
        if sender in FRONTENDS:
            for case in list(self._cases[sender].values()):
                self._close(case)
            if sender in FRESHENED:
                self._tell_fresh(sender)
            self._tell_policy(sender)
        self.errands.hello(sender, message.epoch)

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
        for frontend in FRESHENED:
            self._tell_fresh(frontend)
        self._reloading.look()
        for frontend in FRONTENDS:
            self._tell_policy(frontend)  # again: a wire may have been full

    def _tell_fresh(self, frontend: str) -> None:
        challenge = self._challenge(b"")
        if frontend in GATES:
            self._sessions.freshen(challenge)
        self._place.tell(frontend, Fresh(challenge, self._place.epoch))

    def _challenge(self, scope: bytes) -> str:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._challenges.mint(now, os.urandom(NONCE_SIZE), scope)

    def _sweep(self) -> None:
        """Close what nobody waits for any more, lose whoever missed a deadline, go on watching."""
        self._place.loop.call_later(SWEEP_S, self._sweep)
        self.errands.sweep()
        self._tell_regraded()
        now = time.monotonic()
        for cases in self._cases.values():
            full = False
            for case in list(cases.values()):
                if case.until < now:
                    self._close(case)
                elif case.credit and case.pending is not None and not full:
                    self._say_pending(case)
                    full = case.credit and case.pending is not None
                elif case.credit and 0 < case.wake <= now:
                    self._wake(case)


def _identity(fd: int) -> Ed25519PrivateKey:
    return keys.identity_from(os.pread(fd, keys.FILE_MAX, 0), "identity")


def _random_seconds() -> int:
    """Return where time is counted from, so that nobody reads an uptime from a challenge."""
    return int.from_bytes(os.urandom(7), "big")
