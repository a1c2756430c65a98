"""What a door says at start about a certificate: the TLS library judges it, in one line of ours."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from panicdoor import keys
from panicdoor.certificates import generate_tls
from panicdoor.cli.init import make_door
from panicdoor.config import Address
from panicdoor.errors import ConfigError
from panicdoor.processes import opening

NOW = datetime(2026, 11, 24, 3, 12, tzinfo=UTC)
DAMAGED = "expected a certificate, this one is damaged"
ANOTHER = "expected the certificate of the key that stands beside it"


def pieces() -> tuple[bytes, bytes]:
    """Return the key and the certificate that a new door makes."""
    pem = generate_tls("web1", ["127.0.0.1"], NOW)
    at = pem.index(b"-----BEGIN CERT")
    return pem[:at], pem[at:]


def openssl(*words: str | Path) -> bytes:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


def openssl_pair(where: Path) -> tuple[bytes, bytes]:
    """Return an RSA key and its certificate, as an installer with a CA may have them."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=web1",
            "-keyout", where / "key", "-out", where / "certificate")  # fmt: skip
    return (where / "key").read_bytes(), (where / "certificate").read_bytes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    door = tmp_path / "door"
    make_door(door, name="web1", listen=(Address("127.0.0.1", 9903),))
    return door


def verdict(directory: Path, pem: bytes) -> str:
    """Have the door's keys checked with `pem` as its tls.pem; return what is said."""
    (directory / "tls.pem").write_bytes(pem)
    try:
        return opening._check_keys(directory)[0]
    except ConfigError as error:
        return str(error)


def test_certificates_that_will_do(directory: Path, tmp_path: Path) -> None:
    key, certificate = pieces()
    _, other = pieces()
    rsa_key, rsa_certificate = openssl_pair(tmp_path)
    for pem in (
        key + certificate,
        certificate + key,
        key + certificate + other,  # a chain: the first is ours, the rest is for clients
        (key + certificate).replace(b"\n", b"\r\n"),
        b"as our CA sent it:\n" + certificate + b"and the key:\n" + key,
        rsa_key + rsa_certificate,
    ):
        assert verdict(directory, pem).startswith("SHA256:")


def test_what_clients_will_see_is_known(directory: Path) -> None:
    key, certificate = pieces()
    _, other = pieces()
    (directory / "tls.pem").write_bytes(key + certificate + other)
    fingerprint, seen = opening._check_keys(directory)
    assert fingerprint == keys.fingerprint((directory / "identity.pub").read_text(), "identity.pub")
    assert seen == ssl.PEM_cert_to_DER_cert(certificate.decode())


def test_certificates_that_will_not_do(directory: Path, tmp_path: Path) -> None:
    key, certificate = pieces()
    _, other = pieces()
    rsa_key, rsa_certificate = openssl_pair(tmp_path)
    for pem, sentence in (
        (key + other, ANOTHER),
        (key + other + certificate, ANOTHER),
        (key + certificate[:60] + certificate[70:], DAMAGED),
        (key + certificate[:300], DAMAGED),
        (key + b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", DAMAGED),
        (key + certificate.replace(b"END CERT", b"END CART"), DAMAGED),
        (key + certificate + other[:200], DAMAGED),
    ):
        assert verdict(directory, pem) == f"{directory / 'tls.pem'}: {sentence}"
    for pem in (key + rsa_certificate, rsa_key + certificate):
        assert verdict(directory, pem).startswith(f"{directory / 'tls.pem'}: expected ")


def test_a_locked_key_is_refused_before_anybody_is_asked_for_its_passphrase(
    directory: Path, tmp_path: Path
) -> None:
    key, certificate = pieces()
    (tmp_path / "key").write_bytes(key)
    locked = openssl("pkey", "-in", tmp_path / "key", "-aes256", "-passout", "pass:secret")
    said = verdict(directory, locked + certificate)
    assert said.endswith("expected a key without passphrase: nobody is there to type it")
