"""Budgets of entries in the journal."""

from panicdoor.judge.pace import BURST, RATE, Paces
from panicdoor.orders.signers import SIGNERS_MAX


def spent(paces: Paces, principal: str, now: float) -> int:
    """Return how many entries are allowed at once, and take them."""
    return next(n for n in range(2 * BURST) if not paces.allows(principal, now))


def test_a_budget_is_used_up_and_comes_back() -> None:
    paces = Paces()
    assert spent(paces, "alice", 1000.0) == BURST
    assert spent(paces, "alice", 1001.0) == RATE
    assert spent(paces, "alice", 9999.0) == BURST


def test_what_one_has_used_up_another_has_still() -> None:
    paces = Paces()
    spent(paces, "alice", 1000.0)
    assert not paces.allows("alice", 1000.0)
    assert paces.allows("bob", 1000.0)


def test_of_more_principals_than_there_are_keys_the_oldest_is_forgotten() -> None:
    paces = Paces()
    spent(paces, "alice", 1000.0)
    for number in range(SIGNERS_MAX):
        assert paces.allows(f"p{number}", 1000.0)
    assert len(paces._left) == SIGNERS_MAX
    assert paces.allows("alice", 1000.0)
