"""The certificate of a new door, with openssl as the judge of what we make."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from panicdoor.certificates import generate_tls
from panicdoor.keys import check_tls

NOW = datetime(2026, 11, 24, 3, 12, tzinfo=UTC)


def run(*command: str | Path) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True
    ).stdout


def test_certificate_as_openssl_and_python_take_it(tmp_path: Path) -> None:
    pem = generate_tls("web1", ["192.0.2.10", "::1", "0.0.0.0", "::", "::1"], NOW)
    check_tls(pem)
    file = tmp_path / "tls.pem"
    file.write_bytes(pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
    text = run("openssl", "x509", "-in", file, "-noout", "-text")
    assert "NIST CURVE: P-256" in text
    assert "DNS:web1, IP Address:192.0.2.10, IP Address:0:0:0:0:0:0:0:1\n" in text
    assert "Not Before: Jan  1 00:00:00 1970 GMT" in text
    assert "Not After : Nov 24 03:12:00 2046 GMT" in text
    (tmp_path / "cert.pem").write_bytes(pem[pem.index(b"-----BEGIN CERT") :])
    for check in (["-verify_ip", "192.0.2.10"], ["-verify_hostname", "web1"]):
        said = run("openssl", "verify", *check, "-CAfile", tmp_path / "cert.pem", file)
        assert said.endswith("OK\n")


def test_certificate_made_while_the_clock_was_wrong() -> None:
    pem = generate_tls("web1", [], datetime(1970, 1, 1, tzinfo=UTC))
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_after_utc >= datetime(2045, 12, 31, tzinfo=UTC)


def test_certificate_after_2049() -> None:
    pem = generate_tls("web1", [], datetime(2040, 1, 1, tzinfo=UTC))
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc.year >= 2059


def test_certificate_names_one_address_once() -> None:
    pem = generate_tls("a", ["127.0.0.1", "127.0.0.1"], NOW)
    extensions = x509.load_pem_x509_certificate(pem).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]
