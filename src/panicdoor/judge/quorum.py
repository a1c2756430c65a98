"""Whose signatures an order has, whether they are enough, and which orders wait for more.

Rules:
- the author, whom the order names, is one of the signers, or nothing is done and nothing waits;
- who signs counts once, and what is signed with counts once: two signatures are two people with
  two keys. A paper code is its owner's; changed copies of one signature are one signature;
- the first signature that is not right ends the document;
- nothing that was once verified is believed later: with each signature that comes, those that
  wait are verified again, against the signers and grants of that moment.

How many signatures are needed is the door's policy and stands in no order. Times are arguments:
`now` is seconds of a clock that does not jump, `wall` seconds since 1970, as
`max(wall clock, time of the build)`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Final

from panicdoor.errors import OrderError
from panicdoor.orders import codes
from panicdoor.orders.signatures import fits
from panicdoor.orders.signers import ORDER, Signers
from panicdoor.orders.sshsig import SshSignature, verify
from panicdoor.orders.sshwire import Reader
from panicdoor.orders.text import (
    SIGNATURES_MAX,
    Bare,
    Code,
    Fleet,
    Order,
    Sealed,
    Signature,
)
from panicdoor.orders.text import Sequence as Numbered

PENDING_S: Final = 900.0  # seconds an order waits for signatures: as long as a challenge is good
PENDING_MAX: Final = 16  # orders that wait: at 9 KiB each they stay affordable
PENDING_EACH_MAX: Final = 2  # of one author; a third takes the place of the older
KEYS_TRIED_MAX: Final = 4  # keys of one person and kind that a `sig:` line is tried with
FLEET_SIGNATURES: Final = 2  # for what many doors do at once, unless the policy wants more


@dataclass(frozen=True, slots=True)
class People:
    """Who may sign at one moment. `code` returns an unspent code of somebody's sheet, or None.

    With `pin`, tokens must have verified who holds them.
    """

    signers: Signers
    code: Callable[[str, int], str | None]
    wall: float
    pin: bool = False


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A signature that is right: who, and with what: the blob of a plain key, or a code."""

    principal: str
    by: bytes
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """A grant that covers the order's command: who may sign, and how many of them must."""

    to: frozenset[str]
    signatures: int


class Standing(Enum):
    """Whether an order may run."""

    MET = "met"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the signatures come to: `have` of `need`, and whose they are, the author first.

    `codes` are all those that signed, each with its owner: whoever runs the order spends them.
    """

    standing: Standing
    signers: tuple[str, ...] = ()
    need: int = 0
    codes: tuple[tuple[str, int], ...] = ()

    @property
    def have(self) -> int:
        """How many people have signed."""
        return len(self.signers)


REFUSED: Final = Verdict(Standing.REFUSED)


@dataclass(slots=True)
class _Waiting:
    """An order that waits, with one signature for each endorsement it had."""

    order: Order
    until: float
    signatures: dict[Endorsement, Signature] = field(default_factory=dict)


def endorse(order: Order, signature: Signature, people: People) -> Endorsement | None:
    """Return whose signature this is; None unless all of it is right."""
    message = order.text.encode("ascii")
    if isinstance(signature, Code):
        code = people.code(signature.principal, signature.number)
        if code is None or not codes.fits(code, order.text, signature.mac):
            return None
        by = f"code {signature.number} of {signature.principal}"
        return Endorsement(signature.principal, by.encode("ascii"), signature.number)
    if isinstance(signature, Bare):
        for key in _keys(signature, people):
            if verify(key, ORDER, signature.signature, message, pin=people.pin):
                return Endorsement(signature.principal, key)
        return None
    return _ssh(signature, message, people)


def weigh(order: Order, endorsements: Iterable[Endorsement], needs: Sequence[Need]) -> Verdict:
    """Return what the signatures come to under the grants that cover the command."""
    found = sorted(endorsements, key=lambda each: each.principal != order.by)
    if not found or found[0].principal != order.by:
        return REFUSED
    least = FLEET_SIGNATURES if isinstance(order.door, Fleet) else 1
    spent = tuple((each.principal, each.code) for each in found if each.code is not None)
    verdicts = []
    for need in needs:
        if order.by not in need.to:
            continue
        signers = _distinct(each for each in found if each.principal in need.to)
        wanted = max(need.signatures, least)
        standing = Standing.MET if len(signers) >= wanted else Standing.PENDING
        verdicts.append(Verdict(standing, signers, wanted, spent))
    return min(verdicts, key=lambda each: each.need - each.have, default=REFUSED)


class Pending:
    """The orders that wait for more signatures."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def judge(self, sealed: Sealed, people: People, needs: Sequence[Need], now: float) -> Verdict:
        """Return whether the order may run, with what waits of it; keep it where it has to wait.

        An order that may run waits no longer. Raises OrderError for a signature that is not right,
        and where no more orders can wait.
        """
        self.expire(now, people.wall)
        order = sealed.order
        found: dict[Endorsement, Signature] = {}
        for number, signature in enumerate(sealed.signatures, 1):
            endorsement = endorse(order, signature, people)
            if endorsement is None:
                raise OrderError(f"signature {number} is not taken")
            found.setdefault(endorsement, signature)
        waiting = self._waiting.get(order.id)
        if waiting is not None:
            for signature in waiting.signatures.values():
                endorsement = endorse(order, signature, people)
                if endorsement is not None:
                    found.setdefault(endorsement, signature)
        verdict = weigh(order, found, needs)
        if verdict.standing is Standing.PENDING:
            self._keep(order, found, needs, now)
        else:
            self._waiting.pop(order.id, None)
        return verdict

    def expire(self, now: float, wall: float) -> None:
        """Forget what has waited for too long, or is past its own end."""
        for id_, waiting in list(self._waiting.items()):
            fresh = waiting.order.fresh
            if now >= waiting.until or (isinstance(fresh, Numbered) and wall > fresh.until):
                del self._waiting[id_]

    def _keep(
        self,
        order: Order,
        found: dict[Endorsement, Signature],
        needs: Sequence[Need],
        now: float,
    ) -> None:
        useful = {name for need in needs if order.by in need.to for name in need.to}
        kept = ((each, found[each]) for each in found if each.principal in useful)
        signatures = dict(islice(kept, SIGNATURES_MAX))
        waiting = self._waiting.get(order.id)
        if waiting is None:
            own = [id_ for id_, w in self._waiting.items() if w.order.by == order.by]
            if len(own) >= PENDING_EACH_MAX:
                del self._waiting[own[0]]
            if len(self._waiting) >= PENDING_MAX:
                raise OrderError(f"{PENDING_MAX} orders wait for signatures already")
            waiting = self._waiting[order.id] = _Waiting(order, now + PENDING_S)
        waiting.signatures = signatures


def _ssh(signature: SshSignature, message: bytes, people: People) -> Endorsement | None:
    if signature.namespace != ORDER:
        return None
    signer = people.signers.find(signature.key, ORDER, people.wall)
    if signer is None:
        return None
    key = signer.key.blob
    if not verify(key, ORDER, signature.signature, message, signature.hash, people.pin):
        return None
    return Endorsement(signer.principal, key)


def _keys(signature: Bare, people: People) -> list[bytes]:
    """Return the keys that a `sig:` line may be of."""
    try:
        algorithm = Reader(signature.signature).text()
    except ValueError:
        return []
    keys = (each.key.blob for each in people.signers.of(signature.principal, ORDER, people.wall))
    return list(islice((key for key in keys if fits(algorithm, key)), KEYS_TRIED_MAX))


def _distinct(endorsements: Iterable[Endorsement]) -> tuple[str, ...]:
    """Return the people whose signatures count: each new, and with a key that is new."""
    people: dict[str, bytes] = {}
    for each in endorsements:
        if each.principal not in people and each.by not in people.values():
            people[each.principal] = each.by
    return tuple(people)
