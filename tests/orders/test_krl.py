"""Tests of lists of revoked keys: those that ssh-keygen makes, and those that must be refused."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import certificate, ed25519_key, rsa_key

from panicdoor.errors import ConfigError
from panicdoor.orders.certificates import Certificate
from panicdoor.orders.certificates import parse as parse_certificate
from panicdoor.orders.krl import FILE_MAX, NOTHING_REVOKED, parse
from panicdoor.orders.sshwire import mpint, string

KEY, OTHER, CA, SECOND = ed25519_key(), rsa_key(), ed25519_key(), ed25519_key()
HEADER = b"SSHKRL\n\0" + (1).to_bytes(4, "big") + bytes(24) + string(b"") + string(b"a comment")


def u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def section(kind: int, *parts: bytes) -> bytes:
    return bytes([kind]) + string(b"".join(parts))


def certificates(*inside: bytes, ca: bytes = CA.blob) -> bytes:
    return HEADER + section(1, string(ca), string(b""), *inside)


def issued(serial: int = 0, id: bytes = b"", by: object = CA) -> Certificate:
    found = parse_certificate(certificate(KEY, by, serial=serial, id=id).blob)  # type: ignore[arg-type]
    assert found is not None
    return found


def made(folder: Path, of: str, *options: str) -> bytes:
    """Return the list that ssh-keygen makes of a specification."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    (folder / "of").write_text(of + "\n")
    (folder / "ca.pub").write_text(CA.line() + "\n")
    command = ["ssh-keygen", "-q", "-k", "-f", "krl", *options, "of"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return (folder / "krl").read_bytes()


@pytest.mark.parametrize("how", ["", "key: ", "sha1: ", "sha256: "])
def test_keys(tmp_path: Path, how: str) -> None:
    krl = parse(made(tmp_path, how + KEY.line()))
    assert krl.revokes(KEY.blob)
    assert not krl.revokes(OTHER.blob)
    assert krl.revokes(OTHER.blob, issued(by=KEY))
    assert not krl.revokes(OTHER.blob, issued(by=CA))
    assert not NOTHING_REVOKED.revokes(KEY.blob, issued())


SPARSE = range(100, 900, 7)


@pytest.mark.parametrize(
    ("of", "revoked"),
    [
        ("serial: 42", {42}),
        ("serial: 42\nserial: 44\nserial: 43", {42, 43, 44}),
        ("serial: 40-50", set(range(40, 51))),
        ("serial: 18446744073709551615", {2**64 - 1}),
        ("serial: 5-9\nserial: 8-12\nserial: 100", {*range(5, 13), 100}),
        ("\n".join(f"serial: {n}" for n in SPARSE), set(SPARSE)),
    ],
)
def test_serials(tmp_path: Path, of: str, revoked: set[int]) -> None:
    krl = parse(made(tmp_path, of, "-s", "ca.pub"))
    for serial in {0, 1, 2**64 - 1, 2**63, *range(1000)}:
        assert krl.revokes(KEY.blob, issued(serial)) is (serial in revoked), serial
    for serial in revoked:
        assert not krl.revokes(KEY.blob, issued(serial, by=SECOND))


def test_ids(tmp_path: Path) -> None:
    krl = parse(made(tmp_path, "id: alice@desk", "-s", "ca.pub"))
    assert krl.revokes(KEY.blob, issued(id=b"alice@desk"))
    assert not krl.revokes(KEY.blob, issued(id=b"alice"))
    assert not krl.revokes(KEY.blob, issued(id=b"alice@desk", by=SECOND))
    krl = parse(made(tmp_path, "id: alice@desk", "-s", "none"))
    assert krl.revokes(KEY.blob, issued(id=b"alice@desk", by=SECOND))


def test_no_serial_is_none() -> None:
    bitmap = section(0x22, u64(0), mpint(0b101))
    krl = parse(certificates(bitmap, ca=b""))
    assert not krl.revokes(KEY.blob, issued(0))
    assert not krl.revokes(KEY.blob, issued(1))
    assert krl.revokes(KEY.blob, issued(2))


def test_a_list_of_nothing() -> None:
    assert not parse(HEADER).revokes(KEY.blob, issued())


def test_signatures_and_unimportant_extensions_are_read_over() -> None:
    extension = string(b"x@example.com") + b"\0" + string(b"anything")
    signature = b"\x04" + string(CA.blob) + string(CA.sign(b"anything"))
    inside = certificates(section(0x39, extension), section(0x20, u64(7)))
    krl = parse(inside + section(255, extension) + section(2, string(KEY.blob)) + signature)
    assert krl.revokes(KEY.blob)
    assert krl.revokes(OTHER.blob, issued(7))


IMPORTANT = string(b"x@example.com") + b"\1" + string(b"anything")
REFUSED = {
    "nothing": b"",
    "a list of public keys": KEY.line().encode(),
    "another version": HEADER.replace(b"\0\0\0\1", b"\0\0\0\2", 1),
    "half a header": HEADER[:-1],
    "a byte more": HEADER + b"\0",
    "an unknown section": HEADER + section(6),
    "an unknown section of certificates": certificates(section(0x24)),
    "an important extension": HEADER + section(255, IMPORTANT),
    "an important one of certificates": certificates(section(0x39, IMPORTANT)),
    "a short sha1": HEADER + section(3, string(bytes(19))),
    "a long sha256": HEADER + section(5, string(bytes(33))),
    "a key of nothing": HEADER + section(2, string(b"")),
    "half a key": HEADER + section(2, string(KEY.blob)[:-1]),
    "half a serial": certificates(section(0x20, u64(1)[:-1])),
    "serial 0": certificates(section(0x20, u64(0))),
    "a range from 0": certificates(section(0x21, u64(0, 9))),
    "a range backwards": certificates(section(0x21, u64(9, 8))),
    "a range and more": certificates(section(0x21, u64(8, 9, 10))),
    "a bitmap that wraps": certificates(section(0x22, u64(2**64 - 2), mpint(0b101))),
    "half a bitmap": certificates(section(0x22, u64(1), mpint(1 << 90)[:-1])),
    "no authority": HEADER + section(1),
    "half a signature": HEADER + b"\x04" + string(CA.blob),
    "too large": HEADER + bytes(FILE_MAX),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_not_wholly_understood_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="revoked") as caught:
        parse(data)
    assert str(caught.value).isprintable()


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12))
def test_ranges_in_any_order(ranges: list[tuple[int, int]]) -> None:
    parts = [section(0x21, u64(first, first + more)) for first, more in ranges]
    krl = parse(certificates(*parts))
    revoked = {n for first, more in ranges for n in range(first, first + more + 1)}
    for serial in range(1, 80):
        assert krl.revokes(KEY.blob, issued_of(serial)) is (serial in revoked)


ISSUED: dict[int, Certificate] = {}


def issued_of(serial: int) -> Certificate:
    if serial not in ISSUED:
        ISSUED[serial] = issued(serial)
    return ISSUED[serial]


@given(st.binary(max_size=200), st.sampled_from([1, 2, 3, 4, 5, 0x20, 0x21, 0x22, 0x23, 0x39, 255]))
def test_nothing_but_config_errors(junk: bytes, kind: int) -> None:
    for data in (
        junk,
        HEADER + junk,
        HEADER[: -len(junk)] + junk,
        HEADER + section(kind, junk),
        certificates(section(kind, junk)),
    ):
        with suppress(ConfigError):
            parse(data)
