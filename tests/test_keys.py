"""Keys, with ssh-keygen and openssl as the judges of what we make and take."""

import base64
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.certificates import generate_tls
from panicdoor.errors import ConfigError
from panicdoor.keys import (
    FILE_MAX,
    check_pair,
    check_tls,
    fingerprint,
    generate_identity,
    identity_from,
    parse_public_key,
)

NOW = datetime(2026, 11, 24, 3, 12, tzinfo=UTC)
PKCS8 = PrivateFormat.PKCS8


def run(*command: str | Path) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True
    ).stdout


def make_key(where: Path, kind: str, *more: str) -> tuple[bytes, str]:
    """Let ssh-keygen make a key; return the private file and the public line."""
    run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"me@{kind}", "-f", where / "k", *more)
    return (where / "k").read_bytes(), (where / "k.pub").read_text()


def sk_line(kind: str, application: bytes = b"ssh:") -> str:
    """Return the line of a security key, which ssh-keygen makes only with one plugged in."""

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    if "ed25519" in kind:
        public = string(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
                        .public_bytes_raw())  # fmt: skip
    else:
        numbers = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
        point = b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        public = string(b"nistp256") + string(point)
    blob = string(kind.encode()) + public + string(application)
    return f"{kind} {base64.b64encode(blob).decode()} card"


# The identity


def test_identity_is_what_ssh_keygen_takes_it_for(tmp_path: Path) -> None:
    private, public = generate_identity("panicdoor web1")
    (tmp_path / "identity").write_bytes(private)
    (tmp_path / "identity").chmod(0o600)
    (tmp_path / "identity.pub").write_text(public)
    assert run("ssh-keygen", "-l", "-f", tmp_path / "identity.pub").split() == [
        "256", fingerprint(public), "panicdoor", "web1", "(ED25519)",
    ]  # fmt: skip
    derived = run("ssh-keygen", "-y", "-P", "", "-f", tmp_path / "identity")
    assert derived.split()[:2] == public.split()[:2]
    check_pair(identity_from(private), public)


def test_two_identities_differ() -> None:
    assert generate_identity() != generate_identity()


def test_identity_by_ssh_keygen(tmp_path: Path) -> None:
    private, public = make_key(tmp_path, "ed25519")
    check_pair(identity_from(private), public)
    check_pair(identity_from(private.replace(b"\n", b"\r\n")), public.encode())


def test_pair_of_two_keys() -> None:
    private, _ = generate_identity()
    _, other = generate_identity()
    with pytest.raises(ConfigError, match=r"^identity\.pub: expected the public half of identity:"):
        check_pair(identity_from(private), other)


def identities(where: Path) -> dict[str, bytes]:
    private, public = generate_identity()
    pkcs8 = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    ecdsa, _ = make_key(where, "ecdsa")
    (where / "k").unlink()
    locked, _ = make_key(where, "ed25519", "-N", "secret")
    middle = len(private) // 2
    return {
        "the file is empty": b" \n",
        "not behind a byte order mark": b"\xef\xbb\xbf" + private,
        "there are NUL bytes in it": private[:middle] + b"\0" + private[middle:],
        "expected the private key, got a public one": public.encode(),
        "in OpenSSH's own format": pkcs8,
        "expected an OpenSSH private key": b"hello\n" + private,
        "one whole OpenSSH private key": private + private,
        "one whole OpenSSH private key and nothing": private[:middle],
        "one whole OpenSSH private key and nothing after it": private + b"hello\n",
        "expected an OpenSSH private key, this one is damaged":
            private[:100] + b"AAAA" + private[104:],
        "expected a key without passphrase": locked,
        "expected an ed25519 key, got another kind": ecdsa,
        "at most": private + b" " * FILE_MAX + b"x",
    }  # fmt: skip


def test_identities_that_will_not_do(tmp_path: Path) -> None:
    for sentence, data in identities(tmp_path).items():
        with pytest.raises(ConfigError) as caught:
            identity_from(data, "web1/identity")
        line = str(caught.value)
        assert line.startswith("web1/identity: expected ")
        assert sentence in line
        secret = data.split(b"\n")[1] if b"PRIVATE" in data else b""
        assert not secret or secret.decode("latin-1") not in line


@given(st.data())
@settings(max_examples=60, deadline=None, database=None)
def test_a_damaged_identity_is_refused_or_the_same(data: st.DataObject) -> None:
    private, public = generate_identity()
    at = data.draw(st.integers(0, len(private) - 1))
    damaged = private[:at] + data.draw(st.binary(max_size=3)) + private[at + 1 :]
    with suppress(ConfigError):
        check_pair(identity_from(damaged), public)


# Public keys


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        ("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"),
    ],
)  # fmt: skip
def test_public_keys_by_ssh_keygen(tmp_path: Path, kind: str, bits: str) -> None:
    _, line = make_key(tmp_path, kind, "-b", bits)
    key = parse_public_key(line, "k.pub")
    assert key.line == line.strip()
    assert key.comment == f"me@{kind}"
    assert run("ssh-keygen", "-l", "-f", tmp_path / "k.pub").split()[1] == key.fingerprint
    assert fingerprint(line.encode(), "k.pub") == key.fingerprint
    assert parse_public_key(line.strip() + " \r\n", "k.pub") == key


@pytest.mark.parametrize(
    "kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"]
)
def test_security_keys(tmp_path: Path, kind: str) -> None:
    line = sk_line(kind)
    key = parse_public_key(line, "k.pub")
    assert (key.kind, key.line) == (kind, line)
    (tmp_path / "k.pub").write_text(line + "\n")
    assert run("ssh-keygen", "-l", "-f", tmp_path / "k.pub").split()[1] == key.fingerprint


def test_comments_are_printable_or_dropped() -> None:
    plain = sk_line("sk-ssh-ed25519@openssh.com").removesuffix(" card")
    assert parse_public_key(plain, "f").comment == ""
    assert parse_public_key(f"{plain} my  key # 1", "f").comment == "my  key # 1"
    assert parse_public_key(f"{plain} caf\xe9", "f").comment == ""
    assert parse_public_key(f"{plain} a\x1b[2J", "f").comment == ""


def test_public_keys_that_will_not_do(tmp_path: Path) -> None:
    private, line = make_key(tmp_path, "ed25519")
    kind, encoded = line.split()[:2]
    run("ssh-keygen", "-q", "-s", tmp_path / "k", "-I", "x", "-n", "x", tmp_path / "k.pub")
    certificate = (tmp_path / "k-cert.pub").read_text()
    rfc4716 = run("ssh-keygen", "-e", "-f", tmp_path / "k.pub")
    (tmp_path / "small").mkdir()
    small = make_key(tmp_path / "small", "rsa", "-b", "1024")[1]
    blob = base64.b64decode(encoded)
    ecdsa, *_ = sk_line("sk-ecdsa-sha2-nistp256@openssh.com").split()
    padded = sk_line(ecdsa).split()[1]
    assert padded.endswith("g==")
    cases = [
        ("the file is empty", b""),
        ("not behind a byte order mark", b"\xef\xbb\xbf" + line.encode()),
        ("not behind a byte order mark", line.encode("utf-16")),
        ("there are NUL bytes in it", line.encode("utf-16-le")),
        ("got a private one", private),
        ("got a private one", b"PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n"),
        ("ssh-keygen -i -f FILE converts it", rfc4716.encode()),
        ("expected one public key, got 2 lines", line.encode() * 2),
        ("expected one public key, got 2 lines", line.strip().encode() + b"\r" + line.encode()),
        ("got a certificate", certificate.encode()),
        ("DSA is too weak", b"ssh-dss AAAAB3NzaC1kc3M="),
        ("begins with one of ssh-ed25519, sk-", b'no-pty ' + line.encode()),
        ("begins with one of", b"hello world"),
        ("expected RSA of 2048 bits, got 1024", small.encode()),
        ("this one is damaged", kind.encode()),
        ("this one is damaged", f"{kind} {encoded[:-4]}".encode()),
        ("this one is damaged", f"{ecdsa} {padded[:-3]}h==".encode()),
        ("this one is damaged", f"ssh-rsa {encoded}".encode()),
        ("this one is damaged", f"{kind} {encoded[:20]}!{encoded[20:]}".encode()),
        ("this one is damaged", f"{kind} {base64.b64encode(blob + b'xyz').decode()}".encode()),
        ("this one is damaged", f"{kind} {encoded}\xe9".encode()),
        ("at most", line.encode() + b" " * FILE_MAX),
    ]  # fmt: skip
    for sentence, data in cases:
        with pytest.raises(ConfigError) as caught:
            parse_public_key(data, "k.pub")
        assert str(caught.value).startswith("k.pub: expected ")
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
    secret = private.split(b"\n")[1].decode()
    with pytest.raises(ConfigError) as caught:
        parse_public_key(private, "k.pub")
    assert secret[:16] not in str(caught.value)


@given(st.binary() | st.text().map(lambda text: ("ssh-ed25519 " + text).encode()))
@settings(max_examples=150, deadline=None, database=None)
def test_any_bytes_are_a_key_or_one_sentence(data: bytes) -> None:
    refused = "k.pub: expected it"
    try:
        parse_public_key(data, "k.pub")
    except ConfigError as error:
        refused = str(error)
    assert re.fullmatch("k.pub: expected .+", refused)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(ConfigError):
        parse_public_key("ssh-ed25519 \ud800\udcff", "k.pub")


# TLS


def pieces() -> tuple[bytes, bytes]:
    """Return the key and the certificate that a new door makes."""
    pem = generate_tls("web1", ["127.0.0.1"], NOW)
    at = pem.index(b"-----BEGIN CERT")
    return pem[:at], pem[at:]


def test_tls_files_that_will_do(tmp_path: Path) -> None:
    key, certificate = pieces()
    check_tls(certificate + key)
    check_tls(key + certificate + pieces()[1])
    check_tls((key + certificate).replace(b"\n", b"\r\n"))
    made = tmp_path / "rsa.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web1",
        "-keyout", tmp_path / "key", "-out", made)  # fmt: skip
    check_tls((tmp_path / "key").read_bytes() + made.read_bytes())
    run("openssl", "ec", "-in", write(tmp_path, key), "-out", tmp_path / "sec1")
    check_tls((tmp_path / "sec1").read_bytes() + certificate)


def write(where: Path, data: bytes) -> Path:
    (where / "data").write_bytes(data)
    return where / "data"


def test_tls_files_that_will_not_do(tmp_path: Path) -> None:
    key, certificate = pieces()
    secret = ec.generate_private_key(ec.SECP256R1())
    locked = secret.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret"))
    older = secret.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
    )
    weak = rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    ed = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    cases = [
        ("the file is empty", b""),
        ("not behind a byte order mark", b"\xef\xbb\xbf" + key + certificate),
        ("there are NUL bytes in it", key + certificate + b"\0"),
        ("expected one PRIVATE KEY block, got 0", certificate),
        ("expected one PRIVATE KEY block, got 2", key + key + certificate),
        ("expected a CERTIFICATE block beside the key, got none", key),
        ("expected a TLS key, got an OpenSSH one", generate_identity()[0] + certificate),
        ("expected a key without passphrase", locked + certificate),
        ("expected a key without passphrase", older + certificate),
        ("expected a private key, this one is damaged", key[:60] + key[70:] + certificate),
        ("expected a private key, this one is damaged", certificate + key[:100]),
        ("browsers take no other", ed + certificate),
        ("expected RSA of 2048 bits, got 1024", weak + certificate),
        ("at most", key + certificate + b"#" * FILE_MAX),
    ]
    for sentence, pem in cases:
        with pytest.raises(ConfigError) as caught:
            check_tls(pem, "web1/tls.pem")
        assert str(caught.value).startswith("web1/tls.pem: expected ")
        assert sentence in str(caught.value)
