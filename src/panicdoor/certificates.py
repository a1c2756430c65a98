"""The certificate a new door makes for itself: RFC 5280, on `cryptography`.

Apart from `keys`, because only `init` needs it: a running door has no room for what it imports.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A certificate is believed by the client's clock, and that of a machine whose battery is empty
# begins at 1970. The end is counted from here where our own clock is the wrong one.
_TLS_FROM: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TLS_BUILT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TLS_LASTS: Final = timedelta(days=7305)  # twenty years


def generate_tls(name: str, addresses: Iterable[str], now: datetime) -> bytes:
    """Return a new TLS key (ECDSA P-256: browsers take no ed25519) and its certificate, as PEM.

    The certificate is for `name` and those literal `addresses` that mean one machine, signed by
    itself, valid from 1970 until twenty years after `now` (aware), RFC 5280 section 4.1.2.5.
    """
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"panicdoor {name}")])
    hosts = sorted(
        {host for text in addresses if not (host := ip_address(text)).is_unspecified}, key=str
    )
    alternatives = [x509.DNSName(name), *(x509.IPAddress(host) for host in hosts)]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_TLS_FROM)
        .not_valid_after(max(now, _TLS_BUILT) + _TLS_LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
