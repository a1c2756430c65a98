"""Tests of what makes an order run once: challenges, numbers, and the orders that ran."""

from base64 import b32encode
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.errors import OrderError
from panicdoor.judge.challenge import START_MAX, Challenges
from panicdoor.judge.freshness import (
    AUTHORS_MAX,
    CHALLENGE_MINUTES,
    DAY,
    NUMBERED_MAX,
    RAN_MAX,
    Freshness,
    Numbers,
    Ran,
)
from panicdoor.orders.text import Sequence

VECTOR = dict(
    line.split(" ", 1)
    for line in (Path(__file__).parents[1] / "vectors/challenge.txt").read_text().splitlines()
)
SECRET, OTHER = bytes.fromhex(VECTOR["secret"]), bytes(32)
MINUTE = int(VECTOR["minute"])
NONCE = b"\1\2\3"
START = MINUTE * 60
NOW = 1_764_000_000.0
YEARS = 30 * 365 * DAY


# Challenges


def test_the_vector() -> None:
    freshness = Freshness(SECRET, START - 600)
    assert freshness.minute(VECTOR["challenge"], 600.0, b"") == MINUTE


@given(
    st.integers(0, START_MAX - 1),
    st.floats(0, 2**40),
    st.floats(0, 60 * (CHALLENGE_MINUTES - 1)),
    st.binary(max_size=40),
)
def test_what_was_given_out_is_taken(start: int, then: float, later: float, scope: bytes) -> None:
    challenge = Challenges(SECRET, start).mint(then, NONCE, scope)
    freshness = Freshness(SECRET, start)
    minute = freshness.minute(challenge, then + later, scope)
    assert minute == freshness.current(then)
    assert minute == freshness.minute(challenge, then, scope)


def test_a_stale_challenge() -> None:
    challenge = Challenges(SECRET, START).mint(0.0, NONCE, b"")
    freshness = Freshness(SECRET, START)
    for minutes in range(CHALLENGE_MINUTES + 1):
        assert freshness.minute(challenge, 60.0 * minutes, b"") == MINUTE
    for minutes in (CHALLENGE_MINUTES + 1, 60, 24 * 60, 65535):
        with pytest.raises(OrderError, match="15 minutes"):
            freshness.minute(challenge, 60.0 * minutes, b"")


def test_a_challenge_after_45_days_of_uptime() -> None:
    challenge = Challenges(SECRET, START).mint(0.0, NONCE, b"")
    freshness = Freshness(SECRET, START)
    for rounds in (1, 2, 7):
        for minutes in range(-3, CHALLENGE_MINUTES + 3):
            with pytest.raises(OrderError):
                freshness.minute(challenge, 60.0 * (65536 * rounds + minutes), b"")
    assert freshness.minute(challenge, 0.0, b"")


def test_a_challenge_is_never_of_the_future() -> None:
    challenge = Challenges(SECRET, START).mint(60.0, NONCE, b"")
    with pytest.raises(OrderError):
        Freshness(SECRET, START).minute(challenge, 59.0, b"")
    with pytest.raises(OrderError):
        Freshness(SECRET, 0).minute(Challenges(SECRET, 0).mint(60.0, NONCE, b""), 0.0, b"")


def test_a_challenge_of_before_the_first_minute() -> None:
    raw = b"\xff\xff" + bytes(13)
    text = b32encode(raw).decode().lower()
    challenge = "-".join(text[at : at + 4] for at in range(0, 24, 4))
    with pytest.raises(OrderError):
        Freshness(SECRET, 0).minute(challenge, 180.0, b"")


def test_a_challenge_of_another_prefix() -> None:
    challenges, freshness = Challenges(SECRET, START), Freshness(SECRET, START)
    scopes = [b"", b"192.0.2.0/24", b"192.0.3.0/24", b"2001:db8:0:1200::/56"]
    for given_to in scopes:
        challenge = challenges.mint(0.0, NONCE, given_to)
        for used_by in scopes:
            if used_by == given_to:
                assert freshness.minute(challenge, 0.0, used_by)
            else:
                with pytest.raises(OrderError):
                    freshness.minute(challenge, 0.0, used_by)


def test_a_challenge_of_a_process_before() -> None:
    challenge = Challenges(OTHER, START).mint(0.0, NONCE, b"")
    with pytest.raises(OrderError):
        Freshness(SECRET, START).minute(challenge, 0.0, b"")


@pytest.mark.parametrize("at", range(29))
def test_a_changed_challenge(at: int) -> None:
    good = VECTOR["challenge"]
    for character in "a7-":
        bad = good[:at] + character + good[at + 1 :]
        if bad != good:
            with pytest.raises(OrderError):
                Freshness(SECRET, START).minute(bad, 0.0, b"")


@given(st.text("abcdefghijklmnopqrstuvwxyz234567-", max_size=40))
def test_a_challenge_has_one_spelling(text: str) -> None:
    with pytest.raises(OrderError):
        Freshness(SECRET, START).minute(text, 0.0, b"")
    with pytest.raises(OrderError):
        Freshness(SECRET, START).minute(VECTOR["challenge"].replace("-", ""), 0.0, b"")


# Numbers


def number(n: float, until: float | None = None) -> Sequence:
    return Sequence(int(n), int(until if until is not None else n + 600))


def ready(**last: int) -> Numbers:
    numbers = Numbers(build=int(NOW) - 100 * DAY)
    numbers.restore(last, 0)
    return numbers


def test_a_number_must_rise() -> None:
    numbers = ready()
    numbers.take("alice", number(NOW), NOW)
    for n in (NOW, NOW - 1, 1):
        with pytest.raises(OrderError, match="above"):
            numbers.take("alice", number(n, NOW + 60), NOW)
    numbers.take("alice", number(NOW + 1), NOW)
    numbers.take("bob", number(NOW), NOW)


def test_looking_takes_nothing() -> None:
    numbers = ready()
    numbers.check("alice", number(NOW), NOW)
    numbers.check("alice", number(NOW), NOW)


def test_a_replay_after_a_restart() -> None:
    numbers = Numbers(build=0)
    with pytest.raises(OrderError, match="journal has not been read"):
        numbers.check("alice", number(NOW), NOW)
    numbers.restore({"alice": int(NOW)}, 0)
    with pytest.raises(OrderError, match="above"):
        numbers.take("alice", number(NOW), NOW)
    numbers.take("alice", number(NOW + 1), NOW)


def test_a_replay_after_a_crash_between_accept_and_result() -> None:
    """The number is taken before anything runs, so what the journal accepted is all that counts."""
    numbers = ready()
    numbers.take("alice", number(NOW), NOW)
    accepted = {"alice": int(NOW)}
    after = ready(**accepted)
    with pytest.raises(OrderError, match="above"):
        after.take("alice", number(NOW), NOW)


def test_two_orders_with_one_number_in_the_same_instant() -> None:
    numbers = ready()
    numbers.check("alice", number(NOW), NOW)
    numbers.check("alice", number(NOW), NOW)
    numbers.take("alice", number(NOW), NOW)
    with pytest.raises(OrderError, match="above"):
        numbers.take("alice", number(NOW), NOW)


@pytest.mark.parametrize(
    ("fresh", "why"),
    [
        (number(NOW, NOW - 1), "over"),
        (number(NOW, NOW + DAY + 1), "more than a day"),
        (number(NOW + 61, NOW + 60), "later than until"),
        (number(NOW * 1000, NOW + 60), "later than until"),
    ],
)
def test_seq_and_until(fresh: Sequence, why: str) -> None:
    with pytest.raises(OrderError, match=why):
        ready().take("alice", fresh, NOW)
    ready().take("alice", number(NOW + DAY, NOW + DAY), NOW)
    ready().take("alice", number(NOW, NOW), NOW)


@pytest.mark.parametrize("wrong", [-YEARS, -200 * DAY, YEARS])
def test_a_clock_that_is_30_years_off(wrong: float) -> None:
    """The number is refused, never taken for good; challenges ask no clock."""
    numbers = ready()
    with pytest.raises(OrderError, match="by this door's clock"):
        numbers.take("alice", number(NOW), NOW + wrong)
    numbers.take("alice", number(NOW), NOW)


def test_a_clock_is_never_earlier_than_the_build() -> None:
    numbers = Numbers(build=int(NOW))
    numbers.restore({}, 0)
    numbers.take("alice", number(NOW), 0.0)
    numbers.take("alice", number(NOW + DAY, NOW + DAY), 0.0)


def test_a_number_from_the_future_burns_a_day_at_most() -> None:
    numbers = ready()
    numbers.take("alice", number(NOW + DAY, NOW + DAY), NOW)
    with pytest.raises(OrderError, match="above"):
        numbers.take("alice", number(NOW), NOW)
    numbers.take("alice", number(NOW + DAY + 1), NOW + DAY)


def test_a_clone_takes_no_numbers_until_it_is_armed() -> None:
    numbers = ready(alice=int(NOW))
    numbers.switch_off("this is not the machine the identity was made on")
    with pytest.raises(OrderError, match="not the machine"):
        numbers.take("alice", number(NOW + 1), NOW)
    with pytest.raises(OrderError, match="a day ahead"):
        numbers.arm(int(NOW) + 2 * DAY, NOW)
    assert numbers.off
    numbers.arm(int(NOW) + 50, NOW)
    for name in ("alice", "bob"):
        with pytest.raises(OrderError, match="above"):
            numbers.take(name, number(NOW + 50), NOW)
        numbers.take(name, number(NOW + 51), NOW)


def test_arming_never_goes_back() -> None:
    numbers = ready()
    numbers.arm(int(NOW), NOW)
    numbers.arm(1, NOW)
    with pytest.raises(OrderError, match="above"):
        numbers.take("alice", number(NOW), NOW)


def test_the_number_of_authors_is_bounded() -> None:
    numbers = ready(**{f"a{n}": 1 for n in range(AUTHORS_MAX)})
    with pytest.raises(OrderError, match="challenge"):
        numbers.take("alice", number(NOW), NOW)
    numbers.take("a7", number(NOW), NOW)


# The orders that ran


def test_an_order_is_found_until_its_challenge_is_old() -> None:
    ran = Ran()
    run = ran.begin("alice", "A", 100)
    assert ran.find("alice", "A") is run
    assert run.receipt == ""
    run.receipt = "a receipt"
    ran.expire(100 + CHALLENGE_MINUTES)
    found = ran.find("alice", "A")
    assert found is not None
    assert found.receipt == "a receipt"
    assert ran.find("bob", "A") is None
    ran.expire(100 + CHALLENGE_MINUTES + 1)
    assert ran.find("alice", "A") is None
    assert len(ran) == 0
    assert not ran._parts


def test_nothing_runs_twice() -> None:
    ran = Ran()
    ran.begin("alice", "A", 100)
    for minute in (100, 101, None):
        with pytest.raises(ValueError, match="twice"):
            ran.begin("alice", "A", minute)


def test_a_full_part_makes_its_oldest_minute_stale() -> None:
    ran = Ran()
    for n in range(RAN_MAX):
        ran.begin("alice", f"A{n}", 100 + n // 8)
    ran.begin("bob", "B", 100)
    ran.begin("alice", "new", 103)
    assert len(ran) == RAN_MAX - 8 + 2
    for minute in (99, 100):
        with pytest.raises(OrderError, match="ask for a new one"):
            ran.check("alice", minute)
        with pytest.raises(OrderError, match="ask for a new one"):
            ran.begin("alice", "A0", minute)
    ran.check("alice", 101)
    ran.check("bob", 100)
    assert ran.find("alice", "A0") is None
    assert ran.find("alice", "A8") is not None
    assert ran.find("bob", "B") is not None


def test_more_orders_in_one_minute_than_are_remembered() -> None:
    ran = Ran()
    for n in range(RAN_MAX):
        ran.begin("alice", f"A{n}", 100)
    with pytest.raises(OrderError):
        ran.begin("alice", "one more", 100)
    for n in range(RAN_MAX):
        ran.expire(100)
        with pytest.raises(OrderError):
            ran.begin("alice", f"A{n}", 100)
    ran.begin("alice", "later", 101)
    ran.expire(101 + CHALLENGE_MINUTES)
    with pytest.raises(OrderError):
        ran.begin("alice", "A0", 100)


def test_orders_by_number_push_out_their_own_only() -> None:
    ran = Ran()
    ran.begin("alice", "A", 100)
    for n in range(NUMBERED_MAX + 2):
        ran.begin("alice", f"N{n}", None)
    assert len(ran) == NUMBERED_MAX + 1
    assert ran.find("alice", "N0") is None
    assert ran.find("alice", f"N{NUMBERED_MAX + 1}") is not None
    assert ran.find("alice", "A") is not None
    ran.expire(1000)
    assert ran.find("alice", f"N{NUMBERED_MAX + 1}") is not None


@pytest.mark.parametrize("seed", range(4))
def test_no_order_ever_runs_twice(seed: int) -> None:
    """Whatever comes in whatever order: what `find`, `check` and `begin` let pass, runs once."""
    random, ran, now = Random(seed), Ran(), 0
    executed: set[tuple[str, str]] = set()
    stale = 0
    for _ in range(20_000):
        now += random.random() < 0.02
        minute = now - random.randrange(CHALLENGE_MINUTES + 1)
        author, id_ = random.choice("ab"), f"{random.randrange(20)} of {minute}"
        ran.expire(now)
        if ran.find(author, id_) is not None:
            continue
        try:
            ran.check(author, minute)
            ran.begin(author, id_, minute)
        except OrderError:
            stale += 1
        else:
            assert (author, id_) not in executed
            executed.add((author, id_))
        assert len(ran) <= 2 * RAN_MAX
    assert stale > 1000
    assert len(executed) > 200
