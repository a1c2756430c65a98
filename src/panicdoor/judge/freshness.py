"""What makes an order run once: challenges, numbers of authors, and the orders that ran.

Three things that remember, without I/O. A challenge is good for CHALLENGE_MINUTES and dies with
the process; meanwhile `Ran` remembers what ran with it. A number must exceed its author's last,
which is on disk before anything runs; `Numbers` says when it is taken.

Times are arguments: `now` is seconds of CLOCK_BOOTTIME, `wall` seconds since 1970 as the host's
clock has them, however wrong.
"""

import hmac
import re
from base64 import b32decode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from panicdoor.errors import OrderError
from panicdoor.judge.challenge import MINUTE, NONCE_SIZE, Challenges
from panicdoor.orders.text import Sequence

CHALLENGE_MINUTES: Final = 15  # whole minutes: time to sign, and to have somebody else sign
LOW: Final = 1 << 16  # the minutes that a challenge itself can tell apart

DAY: Final = 86400  # seconds; an order that is good for longer is one to be stolen
AUTHORS_MAX: Final = 4096  # with a number: more than allowed_signers has room for, over the years
RAN_MAX: Final = 32  # orders of one author that are remembered by their challenge: 64 KiB with
# their receipts, and 32 orders a minute
NUMBERED_MAX: Final = 8  # receipts of one author's numbered orders: the number prevents a replay

STALE: Final = "the challenge is not of this door, or older than 15 minutes: ask for a new one"

_CHALLENGE: Final = re.compile(r"(?:[a-z2-7]{4}-){5}[a-z2-7]{4}")


class Freshness:
    """Whether a challenge is one of this process and young. Arguments as those of Challenges."""

    def __init__(self, secret: bytes, start: int) -> None:
        self._challenges = Challenges(secret, 0)
        self._start = start

    def minute(self, challenge: str, now: float, scope: bytes) -> int:
        """Return the minute in which it was given out, which never comes again.

        Raises OrderError unless that was here, for this scope, and within CHALLENGE_MINUTES.
        """
        if _CHALLENGE.fullmatch(challenge) is None:
            raise OrderError(STALE)
        raw = b32decode(challenge.replace("-", "").upper())
        current = self.current(now)
        age = (current - int.from_bytes(raw[:2], "big")) % LOW
        if age > min(CHALLENGE_MINUTES, current):
            raise OrderError(STALE)
        nonce = raw[2 : 2 + NONCE_SIZE]
        minted = self._challenges.mint((current - age) * MINUTE, nonce, scope)
        if not hmac.compare_digest(minted, challenge):
            raise OrderError(STALE)
        return current - age

    def current(self, now: float) -> int:
        """Return the minute it is."""
        return (self._start + int(now)) // MINUTE


class Numbers:
    """The last number of each author. Off until the journal has told them, and whenever in doubt.

    `build` is the time of the program's making, since 1970: the clock is never earlier.
    """

    def __init__(self, build: int) -> None:
        self._build = build
        self._last: dict[str, int] = {}
        self._floor = 0
        self.off = "the journal has not been read"

    def restore(self, last: Mapping[str, int], floor: int) -> None:
        """Take what the journal has: the last number of each author, and of arm-seq."""
        self._last = dict(last)
        self._floor = floor
        self.off = ""

    def switch_off(self, why: str) -> None:
        """Take no numbers until `arm`: the journal fails or is missing, or this is a clone."""
        self.off = why

    def arm(self, number: int, wall: float) -> None:
        """Take numbers again, above this one only. Raises OrderError."""
        if number > self._clock(wall) + DAY:
            raise OrderError("the number lies more than a day ahead: date +%s gives one")
        self._floor = max(self._floor, number)
        self.off = ""

    def check(self, author: str, fresh: Sequence, wall: float) -> None:
        """Raise OrderError unless the number may be taken."""
        clock = self._clock(wall)
        if self.off:
            raise OrderError(f"no orders with seq are taken here: {self.off}")
        if fresh.until < clock:
            raise OrderError("until: is over, by this door's clock; a challenge needs no clock")
        if fresh.until > clock + DAY:
            raise OrderError("until: lies more than a day ahead, by this door's clock")
        if fresh.number > fresh.until:
            raise OrderError("seq is later than until: date +%s gives a number")
        if fresh.number <= max(self._floor, self._last.get(author, 0)):
            raise OrderError("seq is not above the last number that was taken")

    def take(self, author: str, fresh: Sequence, wall: float) -> None:
        """Take the number for good; write it down before anything runs. Raises OrderError."""
        self.check(author, fresh, wall)
        if author not in self._last and len(self._last) >= AUTHORS_MAX:
            raise OrderError("no more authors can have a number: use a challenge")
        self._last[author] = fresh.number

    def _clock(self, wall: float) -> float:
        return max(wall, self._build)


@dataclass(slots=True)
class Run:
    """An order that runs or ran. `receipt` is empty until it is over."""

    minute: int
    receipt: str = ""


@dataclass(slots=True)
class _Part:
    """One author's part of the table. Challenges of `stale` and before are good for nothing."""

    stale: int = -1
    by_challenge: OrderedDict[str, Run] = field(default_factory=OrderedDict)
    by_number: OrderedDict[str, Run] = field(default_factory=OrderedDict)


class Ran:
    """The orders that ran, each by its id, with its receipt, until it cannot come again.

    Each author has a part of fixed size. When it is full, the oldest minute in it is forgotten,
    and all of this author's challenges of that minute and before are stale: so nothing runs again,
    nobody else is refused, and the table does not grow.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def find(self, author: str, id_: str) -> Run | None:
        """Return the order of that author and id, where it is known to run or to have run."""
        part = self._parts.get(author)
        if part is None:
            return None
        return part.by_challenge.get(id_) or part.by_number.get(id_)

    def check(self, author: str, minute: int) -> None:
        """Raise OrderError where that minute's challenges are stale for this author."""
        part = self._parts.get(author)
        if part is not None and minute <= part.stale:
            raise OrderError(STALE)

    def begin(self, author: str, id_: str, minute: int | None) -> Run:
        """Note that an order runs, by its challenge's minute or, with None, by a number.

        Raises OrderError where it must not. An order that `find` finds is a mistake of the caller.
        """
        if self.find(author, id_) is not None:
            raise ValueError("an order must not run twice")
        part = self._parts.setdefault(author, _Part())
        if minute is None:
            if len(part.by_number) >= NUMBERED_MAX:
                part.by_number.popitem(last=False)
            run = part.by_number[id_] = Run(0)
            return run
        if len(part.by_challenge) >= RAN_MAX:
            self._make_room(part)
        self.check(author, minute)
        run = part.by_challenge[id_] = Run(minute)
        return run

    def expire(self, current: int) -> None:
        """Forget the orders whose challenges are too old in this minute."""
        for author, part in list(self._parts.items()):
            oldest = current - CHALLENGE_MINUTES
            for id_ in [i for i, run in part.by_challenge.items() if run.minute < oldest]:
                del part.by_challenge[id_]
            if not part.by_challenge and not part.by_number and part.stale < oldest:
                del self._parts[author]

    def __len__(self) -> int:
        """Return how many are remembered."""
        return sum(len(p.by_challenge) + len(p.by_number) for p in self._parts.values())

    def _make_room(self, part: _Part) -> None:
        part.stale = min(run.minute for run in part.by_challenge.values())
        for id_ in [i for i, run in part.by_challenge.items() if run.minute <= part.stale]:
            del part.by_challenge[id_]
