"""Tests of certificates: what ssh-keygen makes of each kind of key, and what is not taken."""

import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import (
    MAKERS,
    Key,
    certificate,
    ed25519_key,
    rsa_key,
)

from panicdoor.keys import KINDS
from panicdoor.orders.certificates import FIELDS, NAMES_MAX, parse, plain
from panicdoor.orders.signatures import fits

CA = ed25519_key()


def test_every_kind_is_known() -> None:
    assert set(FIELDS) == set(KINDS)


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_what_ssh_keygen_makes(maker: Callable[[], Key], tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    key = maker()
    (tmp_path / "k.pub").write_text(key.line() + "\n")
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ca")]
    subprocess.run(make, check=True)
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "an id", "-n", "alice,bob"]
    sign += ["-z", "7", "-V", "20260101000000Z:20270101000000Z", str(tmp_path / "k.pub")]
    subprocess.run(sign, check=True, capture_output=True)
    found = parse(b64decode((tmp_path / "k-cert.pub").read_text().split()[1]))
    assert found is not None
    assert found.key == key.blob
    assert (found.serial, found.id, found.names) == (7, b"an id", ("alice", "bob"))
    assert (found.after, found.before) == (1767225600, 1798761600)
    assert found.authority == b64decode((tmp_path / "ca.pub").read_text().split()[1])
    assert found.authentic()


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_an_authority_of_every_kind(maker: Callable[[], Key]) -> None:
    authority = maker()
    found = parse(certificate(CA, authority).blob)
    assert found is not None
    assert found.authentic()
    forged = parse(certificate(CA, authority, signer=CA).blob)
    assert forged is not None
    assert not forged.authentic()


def test_an_authority_that_signs_with_sha1_or_is_short() -> None:
    for authority, algorithm in ((rsa_key(), "ssh-rsa"), (rsa_key(1024), "rsa-sha2-512")):
        found = parse(certificate(CA, authority, algorithm=algorithm).blob)
        assert found is not None
        assert not found.authentic()


def test_what_was_signed_is_all_of_it() -> None:
    blob = certificate(ed25519_key(), CA, names=("alice",)).blob
    assert parse(blob) is not None
    for at in range(len(blob)):
        found = parse(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        assert found is None or not found.authentic()


@pytest.mark.parametrize(
    "changed",
    [
        {"type": 2},
        {"type": 0},
        {"names": ()},
        {"names": ("x",) * (NAMES_MAX + 1)},
        {"names": ("\u00f6",)},
        {"options": b"\0\0\0\1x\0\0\0\0"},
        {"reserved": b"x"},
        {"after_it": b"\0"},
    ],
    ids=str,
)
def test_not_taken(changed: dict[str, object]) -> None:
    assert parse(certificate(ed25519_key(), CA).blob) is not None
    assert parse(certificate(ed25519_key(), CA, **changed).blob) is None  # type: ignore[arg-type]


def test_a_plain_key_is_no_certificate() -> None:
    assert parse(CA.blob) is None


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_algorithms_of_certificates(maker: Callable[[], Key]) -> None:
    key = maker()
    for algorithm in key.algorithms:
        certified = algorithm.removesuffix("@openssh.com") + "-cert-v01@openssh.com"
        assert plain(certified) == algorithm
        assert fits(plain(certified), key.blob)
        assert plain(algorithm) == ""
    assert not fits(plain("ssh-rsa-cert-v01@openssh.com"), key.blob) or key.algorithm != "ssh-rsa"


def test_sha1_is_no_algorithm_of_certificates() -> None:
    assert not fits(plain("ssh-rsa-cert-v01@openssh.com"), rsa_key().blob)


@given(st.binary(max_size=300), st.sampled_from(sorted(FIELDS)))
def test_no_bytes_raise(junk: bytes, kind: str) -> None:
    name = (kind.removesuffix("@openssh.com") + "-cert-v01@openssh.com").encode()
    for blob in (junk, len(name).to_bytes(4, "big") + name + junk):
        assert parse(blob) is None
    good = certificate(CA, CA).blob
    found = parse(good[: -len(junk) or None] + junk)
    assert found is None or found.authentic() is (not junk or good.endswith(junk))
