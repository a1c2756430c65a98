"""The vector, what a challenge depends on, and what it does not tell."""

import hashlib
import hmac
import re
from base64 import b32decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.judge.challenge import START_MAX, Challenges

VECTOR = dict(
    line.split(" ", 1)
    for line in (Path(__file__).parents[1] / "vectors/challenge.txt").read_text().splitlines()
)
SECRET = bytes.fromhex(VECTOR["secret"])
NONCE = bytes.fromhex(VECTOR["nonce"])
MINUTE = int(VECTOR["minute"])

nonces = st.binary(min_size=3, max_size=3)
starts = st.integers(0, START_MAX - 1)
times = st.floats(0, 2**40)


def raw(challenge: str) -> bytes:
    return b32decode(challenge.replace("-", "").upper())


@pytest.mark.parametrize("second", [0, 1, 59])
def test_the_vector(second: int) -> None:
    challenges = Challenges(SECRET, 60 * (MINUTE - 5) + second)
    assert challenges.mint(300.0, NONCE, b"") == VECTOR["challenge"]
    assert raw(VECTOR["challenge"])[5:].hex() == VECTOR["mac"]


@given(starts, times, nonces, st.binary(max_size=64))
def test_it_is_what_the_module_says(start: int, now: float, nonce: bytes, scope: bytes) -> None:
    challenge = Challenges(SECRET, start).mint(now, nonce, scope)
    assert re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}", challenge)
    minute = (start + int(now)) // 60
    said = b"challenge" + minute.to_bytes(8, "big") + nonce + scope
    mac = hmac.new(SECRET, said, hashlib.sha256).digest()
    assert raw(challenge) == (minute % 65536).to_bytes(2, "big") + nonce + mac[:10]


def test_another_scope_secret_nonce_or_minute_is_another_mac() -> None:
    challenges = Challenges(SECRET, 60 * MINUTE)
    minted = [
        challenges.mint(0.0, NONCE, b""),
        challenges.mint(0.0, NONCE, b"192.0.2.0/24"),
        challenges.mint(0.0, NONCE, b"192.0.3.0/24"),
        challenges.mint(0.0, b"\1\2\4", b""),
        challenges.mint(60.0, NONCE, b""),
        Challenges(bytes(32), 60 * MINUTE).mint(0.0, NONCE, b""),
    ]
    assert len({raw(challenge)[5:] for challenge in minted}) == len(minted)


def test_when_the_low_bits_come_round_the_mac_does_not() -> None:
    challenges = Challenges(SECRET, 60 * MINUTE)
    first, again = (raw(challenges.mint(t, NONCE, b"")) for t in (0.0, 60.0 * 65536))
    assert first[:5] == again[:5]
    assert first[5:] != again[5:]


def test_the_minute_does_not_change_with_the_minutes_of_uptime() -> None:
    challenges = Challenges(SECRET, 60 * MINUTE + 17)
    low = [raw(challenges.mint(float(t), NONCE, b""))[:2] for t in range(120)]
    assert [t for t in range(1, 120) if low[t] != low[t - 1]] == [43, 103]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_size_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="secret"):
        Challenges(bytes(size), 0)


@pytest.mark.parametrize("start", [-1, START_MAX])
def test_a_start_out_of_range_is_an_error(start: int) -> None:
    with pytest.raises(ValueError, match="start"):
        Challenges(SECRET, start)


@pytest.mark.parametrize("size", [0, 2, 4])
def test_a_nonce_of_another_size_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="nonce"):
        Challenges(SECRET, 0).mint(0.0, bytes(size), b"")
