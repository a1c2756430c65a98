"""Tests of paper codes: the vector, openssl as the oracle, what people type."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.errors import OrderError
from panicdoor.orders.codes import ALPHABET, LENGTH, fits, mac, make, printed, same, typed
from panicdoor.orders.text import Code, parse_sealed

VECTORS = Path(__file__).parents[1] / "vectors"
CODE = (VECTORS / "v3.code").read_text("ascii").strip()
SEALED = parse_sealed((VECTORS / "v3.sealed").read_bytes())
TEXT = SEALED.order.text


def test_the_vector() -> None:
    (signature,) = SEALED.signatures
    assert isinstance(signature, Code)
    assert (signature.principal, signature.number) == ("alice", 7)
    assert fits(CODE, TEXT, signature.mac)
    assert typed(CODE) == CODE


def test_openssl_says_the_same() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    command = ("openssl", "dgst", "-sha256", "-hmac", CODE, "-binary")
    done = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=True)
    assert done.stdout == mac(CODE, TEXT)


def test_another_code_text_or_mac() -> None:
    good = mac(CODE, TEXT)
    assert not fits(CODE, TEXT + "\n", good)
    assert not fits(CODE[:-1] + "0", TEXT, good)
    for other in (b"", good[:-1], good + b"\0", bytes(32)):
        assert not fits(CODE, TEXT, other)


@given(st.binary(min_size=LENGTH, max_size=LENGTH))
def test_a_code_of_any_randomness(random: bytes) -> None:
    code = make(random)
    assert len(code) == LENGTH
    assert set(code) <= set(ALPHABET)
    assert typed(code) == typed(printed(code)) == typed(code.upper()) == code
    assert typed(printed(code).replace(" ", "-").replace("0", "O").replace("1", "l")) == code
    assert same(code, CODE) is (code == CODE)


def test_every_character_is_as_likely() -> None:
    counts = dict.fromkeys(ALPHABET, 0)
    for start in range(0, 256, 16):
        for character in make(bytes(range(start, start + 16)) + bytes(LENGTH - 16))[:16]:
            counts[character] += 1
    assert set(counts.values()) == {256 // len(ALPHABET)}


@pytest.mark.parametrize("size", [0, LENGTH - 1, LENGTH + 1])
def test_another_amount_of_randomness(size: int) -> None:
    with pytest.raises(ValueError, match="random"):
        make(bytes(size))


@pytest.mark.parametrize("text", ["", CODE[:-1], CODE + "0", CODE[:-1] + "u", " " * 99 + CODE])
def test_what_is_no_code(text: str) -> None:
    with pytest.raises(OrderError) as caught:
        typed(text)
    assert CODE[:8] not in str(caught.value)


@given(st.text(max_size=60))
def test_nothing_but_order_errors(text: str) -> None:
    with suppress(OrderError):
        assert set(typed(text)) <= set(ALPHABET)
