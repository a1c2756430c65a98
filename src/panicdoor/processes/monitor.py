"""The monitor: judges, records, and acts only where the act cannot block.

Frontends ask (`cases`); `judge` decides; what may block is run by the observer or a worker
(`errands`); what is worth it goes to the journal (`recording`). Rules:
- what a frontend says about a client is a hint; it is spoken to as if it had been taken over;
- everything that waits has a deadline and a bound.
"""

import os
import time
from collections import Counter
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor import keys
from panicdoor.commands.registry import Context
from panicdoor.config import Door
from panicdoor.judge.challenge import NONCE_SIZE, SECRET_SIZE, Challenges
from panicdoor.judge.dispatch import dispatch
from panicdoor.judge.policy import Policy
from panicdoor.judge.sessions import TOKEN_SIZE, Sessions
from panicdoor.messages import (
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
    Written,
)
from panicdoor.orders.signers import Signers
from panicdoor.processes.cases import ENDED, FRONTENDS, Case, Cases
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import NOWHERE
from panicdoor.processes.errands import Errands
from panicdoor.processes.place import BUGS_A_MINUTE, Place
from panicdoor.processes.recording import Fields, Recording
from panicdoor.processes.reloading import Reloading
from panicdoor.records import journal
from panicdoor.roles import ROLE_OF, allowed

FRESH_S: Final = 5.0  # seconds between two tcp challenges; each is good for 15 minutes
COUNT_S: Final = 60.0  # seconds between two entries that say what was only counted
SWEEP_S: Final = 0.5  # seconds between two looks at the deadlines

GATES: Final = tuple(p for p, r in ROLE_OF.items() if Login in allowed(r.name, "monitor"))
FRESHENED: Final = tuple(p for p, r in ROLE_OF.items() if Fresh in allowed("monitor", r.name))


def run(place: Place) -> None:
    """Be the monitor."""
    monitor = Monitor(place)
    for kind, handler in (
        (Ask, monitor.asked),
        (More, monitor.cases.more),
        (Cancel, monitor.cases.cancelled),
        (Output, monitor.errands.output),
        (Hello, monitor.hello),
        (Bug, monitor.bug),
        (Written, monitor.recording.written),
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
        # The first monitor hears from all runners; a later one finds them at work, silent.
        self.errands: Final = Errands(place.tell, place.epoch, absent=place.fill == 1)
        self.recording: Final = Recording(place.tell, place.epoch, place.loop.call_soon)
        self.cases: Final = Cases(place, self.errands, self.recording, self._lives)
        self._reloading = Reloading(place.world, self.errands, self._take, self.record)
        self._policy = Policy(self._reloading.door.grants)
        self._sessions = Sessions(identity, self._reloading.signers, self._policy)
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

    def record(self, kind: str, fields: Fields) -> None:
        """Have an entry written, of which nobody waits to hear."""
        self.recording.record(kind, fields)

    # Requests

    def asked(self, ask: Ask, sender: str) -> None:
        """Judge a request, unless nobody waits for it any more or it is being answered already."""
        if not self.cases.wants(ask, sender):
            return
        speaker = None
        if ask.session:
            # A token is good from the place that logged in, whatever another may have learned.
            mine = sender in GATES
            session = self._sessions.find(ask.session, ask.epoch) if mine else None
            if session is None:
                self.cases.end_for(ask, sender, ENDED)
                return
            speaker = session.speaker
        scope = ask.scope.encode("ascii", "replace")
        context = Context(self._manual, NOWHERE, now_text(), lambda: self._challenge(scope))
        steps = dispatch(ask, context, lambda: self._policy, speaker)
        who = speaker.principal if speaker is not None else ""
        self.cases.open(Case(sender, ask.epoch, ask.id, ask.until, steps, ask.session, who))

    def _lives(self, case: Case) -> bool:
        return self._sessions.find(case.session, case.epoch) is not None

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
        for case in self.cases.of(sender):
            if case.session and not self._lives(case):
                self.cases.close(case)

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
        for case in self.cases.of(place):
            if case.session == session:
                self.cases.close(case)

    # Peers and clocks

    def hello(self, message: Hello, sender: str) -> None:
        """A place has a new holder: whatever its predecessor waited for is closed."""
        if sender in GATES:
            self._sessions.begin(message.epoch)
            self._regraded.clear()
        if sender in FRONTENDS:
            for case in self.cases.of(sender):
                self.cases.close(case)
            if sender in FRESHENED:
                self._tell_fresh(sender)
            self._tell_policy(sender)
        self.errands.hello(sender, message.epoch)

    def bug(self, message: Bug, sender: str) -> None:
        """Record what somebody did not expect; of one place no more than a few a minute."""
        self._bugs[sender] += 1
        if self._bugs[sender] <= BUGS_A_MINUTE:
            self.record("bug", {"place": sender, "what": message.text})

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
        self.recording.sweep()
        self._tell_regraded()
        self.cases.sweep()


def _identity(fd: int) -> Ed25519PrivateKey:
    return keys.identity_from(os.pread(fd, keys.FILE_MAX, 0), "identity")


def _random_seconds() -> int:
    """Return where time is counted from, so that nobody reads an uptime from a challenge."""
    return int.from_bytes(os.urandom(7), "big")
