"""Tests of signatures: each kind of key, and everything that must not pass."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import (
    MAKERS,
    Key,
    ecdsa_key,
    ed25519_key,
    rsa_key,
    sk_ecdsa_key,
    sk_ed25519_key,
)

from panicdoor.orders.signatures import ALGORITHMS, fits, verify
from panicdoor.orders.sshwire import Reader, string

DATA = b"what is signed"


@pytest.fixture(scope="module", params=MAKERS)
def key(request: pytest.FixtureRequest) -> Key:
    return MAKERS[request.param]()


def test_each_kind_of_key(key: Key) -> None:
    for algorithm in key.algorithms:
        assert verify(key.blob, algorithm, key.sign(DATA, algorithm), DATA)


def test_other_data_and_other_keys(key: Key) -> None:
    signature = key.sign(DATA)
    assert not verify(key.blob, key.algorithm, signature, DATA + b".")
    assert not verify(MAKERS["ed25519"]().blob, key.algorithm, signature, DATA)


def test_bytes_left_over_or_missing(key: Key) -> None:
    signature = key.sign(DATA)
    assert not verify(key.blob, key.algorithm, signature + b"\0", DATA)
    assert not verify(key.blob, key.algorithm, signature[:-1], DATA)
    assert not verify(key.blob + b"\0", key.algorithm, signature, DATA)
    inner = Reader(signature)
    name, bare = inner.string(), inner.string()
    rest = signature[len(string(name) + string(bare)) :]
    assert not verify(key.blob, key.algorithm, string(name) + string(bare + b"\0") + rest, DATA)


def test_an_algorithm_fits_its_key_alone(key: Key) -> None:
    for algorithm in (*ALGORITHMS, "ssh-rsa", "ssh-dss", "none", ""):
        assert fits(algorithm, key.blob) is (algorithm in key.algorithms)
        if algorithm not in key.algorithms:
            name = string(algorithm.encode())
            rest = key.sign(DATA)[len(string(key.algorithm.encode())) :]
            assert not verify(key.blob, algorithm, name + rest, DATA)


def test_a_thousand_names(key: Key) -> None:
    signature = key.sign(DATA)
    for i in range(1000):
        name = f"{key.algorithm}{i}"
        assert not verify(key.blob, name, signature, DATA)


def test_sha1_is_refused() -> None:
    key = rsa_key()
    assert not verify(key.blob, "ssh-rsa", key.sign(DATA, "ssh-rsa"), DATA)
    assert not verify(key.blob, "rsa-sha2-256", key.sign(DATA, "ssh-rsa"), DATA)
    assert not verify(key.blob, "rsa-sha2-512", key.sign(DATA, "rsa-sha2-256"), DATA)


def test_short_rsa_is_refused() -> None:
    key = rsa_key(1024)
    assert not verify(key.blob, "rsa-sha2-512", key.sign(DATA), DATA)


@pytest.mark.parametrize("maker", [sk_ed25519_key, sk_ecdsa_key])
def test_a_token_that_must_have_asked_for_its_pin(maker: Callable[..., Key]) -> None:
    for flags, taken in ((0, False), (1, False), (4, False), (5, True)):
        key = maker(flags)
        assert verify(key.blob, key.algorithm, key.sign(DATA), DATA, pin=True) is taken


def test_a_pin_means_nothing_to_other_keys(key: Key) -> None:
    if not key.algorithm.startswith("sk-"):
        assert verify(key.blob, key.algorithm, key.sign(DATA), DATA, pin=True)


@pytest.mark.parametrize("maker", [sk_ed25519_key, sk_ecdsa_key])
def test_a_counter_is_signed(maker: Callable[..., Key]) -> None:
    key = maker()
    signature = key.sign(DATA)
    assert verify(key.blob, key.algorithm, signature, DATA)
    assert not verify(key.blob, key.algorithm, signature[:-1] + b"\x08", DATA)
    assert not verify(key.blob, key.algorithm, signature[:-5] + b"\5" + signature[-4:], DATA)


@pytest.mark.parametrize("maker", [sk_ed25519_key, sk_ecdsa_key])
def test_a_token_must_have_been_touched(maker: Callable[..., Key]) -> None:
    for flags, taken in ((0, False), (1, True), (4, False), (5, True)):
        key = maker(flags)
        assert verify(key.blob, key.algorithm, key.sign(DATA), DATA) is taken
    key = maker(application=b"https://example.com")
    assert not verify(key.blob, key.algorithm, key.sign(DATA), DATA)


def test_another_curve_in_the_same_key() -> None:
    key = ecdsa_key()
    for named in (b"nistp384", b"", b"256", b"p256"):
        blob = key.blob.replace(string(b"nistp256"), string(named))
        assert not verify(blob, key.algorithm, key.sign(DATA), DATA)


ED = ed25519_key()
EC = ecdsa_key()


@given(st.binary(max_size=200), st.sampled_from(sorted(ALGORITHMS)))
def test_no_bytes_raise(junk: bytes, algorithm: str) -> None:
    kind = string(ALGORITHMS[algorithm].encode())
    assert not verify(kind + junk, algorithm, string(algorithm.encode()) + junk, DATA)
    assert not verify(ED.blob, "ssh-ed25519", junk, DATA)
    assert not verify(EC.blob, EC.algorithm, string(EC.algorithm.encode()) + string(junk), DATA)
