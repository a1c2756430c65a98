"""How fast one principal may type what the journal records.

Entries wait for a disk in a queue that is bounded, and what it has no room for is lost: whoever
could fill it would leave no trace of what others do meanwhile. So everybody has a budget of
entries, a token bucket, of which more is there the longer nothing was typed.
"""

from collections import OrderedDict
from typing import Final

from panicdoor.orders.signers import SIGNERS_MAX

RATE: Final = 10.0  # entries a second: more than anybody types, and a slow disk still writes them
BURST: Final = 64  # entries at once: what is pasted; the writer's wire holds 167 at least

TOO_FAST: Final = f"one principal may type {RATE:.0f} commands a second: try again in a moment\n"


class Paces:
    """The budgets of all principals. Times are seconds of any clock that does not jump."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, principal: str, now: float) -> bool:
        """Take one entry from a budget; False where nothing is left of it."""
        left, since = self._left.pop(principal, (BURST, now))
        left = min(BURST, left + (now - since) * RATE)
        allowed = left >= 1
        self._left[principal] = left - allowed, now
        if len(self._left) > SIGNERS_MAX:
            self._left.popitem(last=False)
        return allowed
