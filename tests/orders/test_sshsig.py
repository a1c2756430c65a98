"""Tests of SSHSIG: the vectors, both ways, and everything that is not exactly it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import MAKERS, Key, ed25519_key, sk_ecdsa_key, sk_ed25519_key

from panicdoor.errors import OrderError
from panicdoor.orders.sshsig import (
    BEGIN,
    END,
    HASHES,
    SshSignature,
    armor,
    dearmor,
    pack,
    parse,
    sign,
    signed_data,
    unbase64,
    verify,
)
from panicdoor.orders.sshwire import string

VECTORS = Path(__file__).parents[1] / "vectors"
ARMOR = (VECTORS / "v1.sig").read_text("ascii")
TEXT = (VECTORS / "v1.order").read_bytes()
BLOB = dearmor(ARMOR.splitlines())


def test_the_vector_byte_for_byte() -> None:
    signature = parse(BLOB)
    assert (signature.namespace, signature.hash) == ("order@panicdoor", "sha512")
    assert armor(pack(signature)) == ARMOR
    assert verify(signature.key, "order@panicdoor", signature.signature, TEXT)


@pytest.mark.parametrize(
    ("seed", "namespace", "file", "text"),
    [
        (0xA1, "order@panicdoor", "v1.sig", "v1.order"),
        (0xD0, "receipt@panicdoor", "v1.receipt", "v1.receipt"),
    ],
)
def test_what_a_key_of_the_vectors_signs(seed: int, namespace: str, file: str, text: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    message = (VECTORS / text).read_text("ascii").partition(BEGIN)[0].encode()
    assert (VECTORS / file).read_text("ascii").endswith(sign(key, namespace, message))


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("hash_", HASHES)
def test_each_kind_of_key(maker: Callable[[], Key], hash_: str) -> None:
    key = maker()
    for algorithm in key.algorithms:
        inner = key.sign(signed_data("a@b", TEXT, hash_), algorithm)
        assert verify(key.blob, "a@b", inner, TEXT, hash_)
        assert not verify(key.blob, "a@c", inner, TEXT, hash_)
        assert not verify(key.blob, "a@b", inner, TEXT + b"\n", hash_)
        assert not verify(key.blob, "a@b", inner, TEXT, "sha256sha512".replace(hash_, ""))
        assert not verify(ed25519_key().blob, "a@b", inner, TEXT, hash_)
        assert not verify(key.blob, "a@b", key.sign(TEXT, algorithm), TEXT, hash_)


@pytest.mark.parametrize(
    ("flags", "taken", "with_pin"), [(0, False, False), (1, True, False), (4, False, False),
                                     (5, True, True), (0xFB, True, False)],
)  # fmt: skip
@pytest.mark.parametrize("maker", [sk_ed25519_key, sk_ecdsa_key])
def test_touch_and_pin(
    maker: Callable[[int], Key], flags: int, taken: bool, with_pin: bool
) -> None:
    key = maker(flags)
    inner = key.sign(signed_data("a@b", TEXT))
    assert verify(key.blob, "a@b", inner, TEXT) is taken
    assert verify(key.blob, "a@b", inner, TEXT, pin=True) is with_pin


def test_a_pin_is_asked_of_tokens_only() -> None:
    key = ed25519_key()
    assert verify(key.blob, "a@b", key.sign(signed_data("a@b", TEXT)), TEXT, pin=True)


GOOD = parse(BLOB)
FIELDS = [
    string(GOOD.key), string(b"order@panicdoor"), string(b""), string(b"sha512"),
    string(GOOD.signature),
]  # fmt: skip


def joined(magic: bytes = b"SSHSIG", version: int = 1, **changed: bytes) -> bytes:
    fields = [changed.get(f"f{n}", field) for n, field in enumerate(FIELDS)]
    return magic + version.to_bytes(4, "big") + b"".join(fields)


def test_the_fields_are_those_of_the_vector() -> None:
    assert joined() == BLOB


MALFORMED = {
    "nothing": b"",
    "another magic": joined(magic=b"SSHSIF"),
    "version 0": joined(version=0),
    "version 2": joined(version=2),
    "a reserved field": joined(f2=string(b"x")),
    "md5": joined(f3=string(b"md5")),
    "sha1": joined(f3=string(b"sha1")),
    "sha384": joined(f3=string(b"sha384")),
    "sha3-512": joined(f3=string(b"sha3-512")),
    "capitals": joined(f3=string(b"SHA512")),
    "no hash": joined(f3=string(b"")),
    "a NUL": joined(f3=string(b"sha512\0")),
    "not ASCII": joined(f1=string("\u00f6rder@panicdoor".encode())),
    "trailing bytes": joined() + b"\0",
    "cut short": joined()[:-1],
    "a length beyond the end": joined(f4=b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("blob", MALFORMED.values(), ids=MALFORMED)
def test_malformed(blob: bytes) -> None:
    with pytest.raises(OrderError):
        parse(blob)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [BEGIN],
        [BEGIN, END],
        [END, "AAAA", BEGIN],
        [BEGIN, "AAAA"],
        ["AAAA", END],
        [BEGIN, "", END],
        [BEGIN, "AAAA", "", END],
        [BEGIN, " AAAA", END],
        [BEGIN, "AAA", END],
        [BEGIN, "AAB=", END],
        [BEGIN, "A-A_", END],
        [BEGIN, "AA==", "AAAA", END],
        [BEGIN, "A" * 80, END],
        [BEGIN + " ", "AAAA", END],
    ],
)
def test_malformed_armor(lines: list[str]) -> None:
    with pytest.raises(OrderError):
        dearmor(lines)


@given(
    st.builds(
        SshSignature, st.binary(max_size=99), st.text("a@b-", max_size=9),
        st.sampled_from([*HASHES]), st.binary(max_size=99),
    )
)  # fmt: skip
def test_both_ways(signature: SshSignature) -> None:
    lines = armor(pack(signature)).splitlines()
    assert parse(dearmor(lines)) == signature
    assert max(map(len, lines[1:-1])) <= 70


@given(st.binary(max_size=200))
def test_nothing_but_order_errors(junk: bytes) -> None:
    text = junk.decode("latin-1")
    for read in (
        lambda: parse(junk),
        lambda: parse(b"SSHSIG\0\0\0\1" + junk),
        lambda: parse(BLOB[:-100] + junk),
        lambda: dearmor([BEGIN, *text.split("\n"), END]),
        lambda: unbase64(text),
    ):
        with suppress(OrderError):
            read()
    assert not verify(GOOD.key, "order@panicdoor", junk, TEXT)
    assert not verify(junk, "order@panicdoor", GOOD.signature, TEXT)


@given(st.text("AQgw=+/", max_size=12))
def test_base64_has_one_spelling(text: str) -> None:
    with suppress(OrderError):
        data = unbase64(text)
        assert data
        with pytest.raises(OrderError):
            unbase64(text.rstrip("=") if "=" in text else text + "====")
