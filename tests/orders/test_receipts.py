"""Tests of receipts: the vector byte for byte, ssh-keygen as the oracle, everything refused."""

import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import ed25519_key

from panicdoor.errors import ProtocolError
from panicdoor.keys import parse_public_key
from panicdoor.orders.receipts import (
    DETAIL_MAX,
    NAMESPACE,
    RECEIPT_MAX,
    Output,
    Receipt,
    read,
    seal,
)
from panicdoor.orders.sshsig import BEGIN, armor, dearmor, pack, parse, sign
from panicdoor.orders.text import hashed, parse_order

VECTORS = Path(__file__).parents[1] / "vectors"
SEALED = (VECTORS / "v1.receipt").read_bytes()
TEXT = SEALED.decode().partition(BEGIN)[0]
DOOR = Ed25519PrivateKey.from_private_bytes(b"\xd0" * 32)
KEY = parse_public_key((VECTORS / "door.pub").read_bytes(), "door.pub").blob
RECEIPT = read(SEALED, [KEY])


def signed(text: str, namespace: str = NAMESPACE) -> bytes:
    return (text + sign(DOOR, namespace, text.encode())).encode()


def test_the_vector() -> None:
    order = parse_order((VECTORS / "v1.order").read_bytes())
    printed = (VECTORS / "v1.output").read_bytes()
    journal = (VECTORS / "v1.journal").read_bytes().split(b"\n")
    expected = Receipt(
        "web1",
        hashed(KEY),
        order.id,
        ("alice",),
        True,
        "frozen: 412 processes of user batch",
        Output.of(printed),
        "2026-11-23T02:13:20Z",
        2,
        journal[2].split(b" ")[0].decode(),
    )
    assert expected == RECEIPT
    assert seal(RECEIPT, DOOR).encode() == SEALED
    assert signed(TEXT) == SEALED


def test_the_output_is_bound() -> None:
    printed = (VECTORS / "v1.output").read_bytes()
    assert RECEIPT.output == Output.of(printed)
    assert RECEIPT.output != Output.of(printed + b"\n")


@pytest.mark.parametrize(
    "receipt",
    [
        RECEIPT,
        replace(RECEIPT, done=False, volatile=True),
        replace(RECEIPT, detail=""),
        replace(RECEIPT, signers=tuple("abcdefgh")),
        replace(RECEIPT, output=Output.of(b"")),
    ],
)
def test_ssh_keygen_takes_them(receipt: Receipt, tmp_path: Path) -> None:
    sealed = seal(receipt, DOOR)
    assert read(sealed.encode(), [ed25519_key().blob, KEY]) == receipt
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    text, begin, armored = sealed.partition(BEGIN)
    (tmp_path / "sig").write_text(begin + armored)
    hosts, known = (VECTORS / "known_hosts").read_text(), tmp_path / "known_hosts"
    for name in ("web1", "[192.0.2.7]:903"):
        known.write_text(hosts.replace("web1", name))
        command = ["ssh-keygen", "-Y", "verify", "-f", str(known), "-I", name, "-n", NAMESPACE]
        command += ["-s", str(tmp_path / "sig")]
        subprocess.run(command, input=text.encode(), check=True, capture_output=True)


def test_a_detail_is_one_line() -> None:
    hostile = "boom\nresult: done\n\x1b[2J" + "y" * 200
    receipt = replace(RECEIPT, done=False, detail=hostile)
    found = read(seal(receipt, DOOR).encode(), [KEY])
    assert not found.done
    assert found.detail.startswith("boom\\x0aresult: done\\x0a\\x1b[2J")
    assert len(found.detail) == DETAIL_MAX


@pytest.mark.parametrize(
    "receipt",
    [
        replace(RECEIPT, name="web1 x"),
        replace(RECEIPT, signers=()),
        replace(RECEIPT, signers=("alice", "b\nresult: done")),
        replace(RECEIPT, order="SHA256:x"),
        replace(RECEIPT, line=0),
        replace(RECEIPT, time="now"),
        replace(RECEIPT, hash=""),
    ],
)
def test_what_would_break_the_format_is_not_signed(receipt: Receipt) -> None:
    with pytest.raises(ValueError, match="not a receipt"):
        seal(receipt, DOOR)


LINES = TEXT.split("\n")[:-1]
BROKEN = {
    **{f"without {line.split(' ')[0]}": "\n".join([*LINES[:n], *LINES[n + 1 :], ""])
       for n, line in enumerate(LINES) if "detail" not in line},
    **{f"{line.split(' ')[0]} twice": "\n".join([*LINES[: n + 1], *LINES[n:], ""])
       for n, line in enumerate(LINES)},
    "an unknown line": TEXT.replace("output:", "note: x\noutput:"),
    "an unknown line at the end": TEXT + "note: x\n",
    "reordered": "\n".join([*LINES[:4], LINES[5], LINES[4], *LINES[6:], ""]),
    "another result": TEXT.replace("result: done", "result: refused"),
    "a result and more": TEXT.replace("result: done", "result: done "),
    "an empty detail": TEXT.replace("frozen: 412 processes of user batch", ""),
    "an empty line": TEXT.replace("output:", "\noutput:"),
    "a length in hex": TEXT.replace(" 58\n", " 0x3a\n"),
    "a zero before": TEXT.replace(" 58\n", " 058\n"),
    "ESC": TEXT.replace("frozen", "\x1b[2J"),
    "TAB": TEXT.replace("frozen", "\t"),
    "a lone CR": TEXT.replace("frozen", "x\rresult: done"),
    "an unknown word of the journal": TEXT.replace("5613b\n", "5613b maybe\n"),
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_line_that_does_not_belong_is_refused_though_signed(text: str) -> None:
    assert text != TEXT
    with pytest.raises(ProtocolError, match="line"):
        read(signed(text), [KEY])


def relabelled() -> bytes:
    """Return the receipt whose signature says that it is of an order, but is not."""
    signature = parse(dearmor(SEALED.decode()[len(TEXT) :].splitlines()))
    return TEXT.encode() + armor(pack(replace(signature, namespace="order@panicdoor"))).encode()


FORGED = {
    "another namespace on the outside": relabelled(),
    "another result": SEALED.replace(b"result: done", b"result: failed"),
    "another output": SEALED.replace(b" 58\n", b" 59\n"),
    "another namespace": signed(TEXT, "order@panicdoor"),
    "another door's fingerprint": signed(TEXT.replace(hashed(KEY), hashed(b"x"))),
    "no signature": TEXT.encode(),
    "a second signature": SEALED + SEALED[len(TEXT) :],
    "text after it": SEALED + b"result: done\n",
    "an empty line after it": SEALED + b"\n",
    "an empty line before it": b"\n" + SEALED,
    "half of it": SEALED[:-40],
    "too long": SEALED + b"\n" * RECEIPT_MAX,
    "not ASCII": SEALED.replace(b"frozen", b"\xff"),
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_forged(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data, [KEY])


def test_another_key() -> None:
    for keys in ([], [ed25519_key().blob]):
        with pytest.raises(ProtocolError, match="another key"):
            read(SEALED, keys)


def test_as_telnet_writes_it() -> None:
    assert read(SEALED.replace(b"\n", b"\r\n"), [KEY]) == RECEIPT
    assert read(SEALED[:-1], [KEY]) == RECEIPT


@given(st.integers(0, len(SEALED) - 1), st.binary(min_size=1, max_size=3), st.booleans())
def test_no_change_is_taken(at: int, junk: bytes, insert: bool) -> None:
    data = SEALED[:at] + junk + SEALED[at + (0 if insert else len(junk)) :]
    with suppress(ProtocolError):
        assert read(data, [KEY]) == RECEIPT


@given(st.binary(max_size=300))
def test_nothing_but_protocol_errors(junk: bytes) -> None:
    for data in (junk, TEXT.encode() + junk, SEALED[:-100] + junk):
        with pytest.raises(ProtocolError):
            read(data, [KEY])
