"""Dates and names of certificates, beside a whole library for them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panicdoor.kernel.x509 import PEM_MAX, Certificate, CertificateError, parse, pem_blocks

KEY = generate_private_key(SECP256R1())
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def made(
    begins: datetime, ends: datetime, name: str = "web1", alternatives: tuple[str, ...] = ()
) -> library.Certificate:
    subject = library.Name([library.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = (
        library.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(library.Name([library.NameAttribute(NameOID.COMMON_NAME, "issuer")]))
        .public_key(KEY.public_key())
        .serial_number(1 << 100)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(library.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if alternatives:
        names = [library.DNSName(one) for one in alternatives]
        builder = builder.add_extension(library.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def der(certificate: library.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


DER = der(made(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    "ends",
    [
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 11, 24, 3, 12, 7, tzinfo=UTC),
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),  # the last of the two-digit years
        datetime(2050, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),  # "no end": RFC 5280, 4.1.2.5
    ],
)
def test_dates(ends: datetime) -> None:
    begins = datetime(1970, 1, 1, tzinfo=UTC)
    assert parse(der(made(begins, ends))) == Certificate(begins, ends, ("web1",))


def test_names() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    both = made(day, day, "web1", ("web1", "www.example.com", "*.example.com"))
    assert parse(der(both)).names == ("web1", "www.example.com", "*.example.com")
    assert parse(der(made(day, day, "", ("only.example.com",)))).names == ("only.example.com",)
    assert parse(der(made(day, day, ""))).names == ()
    assert parse(der(made(day, day, "\x1b[2J\n"))).names == ("\x1b[2J\n",)


def test_pem() -> None:
    text = made(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    pem = text.public_bytes(Encoding.PEM)
    key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert list(pem_blocks(b"junk\n" + pem + key + pem)) == [der(text)] * 2
    assert len(list(pem_blocks(pem * (PEM_MAX + 5)))) == PEM_MAX
    assert list(pem_blocks(key)) == []
    with pytest.raises(CertificateError, match="base64"):
        list(pem_blocks(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_certificates_of_this_machine() -> None:
    if not BUNDLE.exists():
        pytest.skip("this machine has no bundle of trusted certificates")
    text = BUNDLE.read_bytes()[:200_000]
    mine = [parse(block) for block in pem_blocks(text)]
    end = b"-----END CERTIFICATE-----"
    theirs = [library.load_pem_x509_certificate(part + end) for part in text.split(end)[:-1]]
    assert len(mine) == min(PEM_MAX, len(theirs)) > 10
    for one, other in zip(mine, theirs, strict=False):
        assert one.begins == other.not_valid_before_utc
        assert one.ends == other.not_valid_after_utc
        names = other.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        for name in names:
            value = name.value if isinstance(name.value, bytes) else name.value.encode()
            assert value.decode("latin-1") in one.names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x85\x00\x00\x00\x00\x00",
        b"\x30\x82\xff\xff\x30",
        b"\x1f\x01\x00",
        DER[:100],
        DER.replace(b"270101000000Z", b"27010100000AZ"),
        DER.replace(b"270101000000Z", b"271301000000Z"),
    ],
)
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(CertificateError):
        parse(data)


@settings(max_examples=400, deadline=None, database=None)
@example(DER)
@given(
    st.binary(max_size=100)
    | st.tuples(st.integers(0, len(DER) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda cut: DER[: cut[0]] + cut[1] + DER[cut[0] + len(cut[1]) :]
    )
)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        assert all(isinstance(name, str) for name in parse(data).names)
    except CertificateError:
        return


@settings(max_examples=100, deadline=None, database=None)
@given(st.binary(max_size=60))
def test_no_pem_raises_anything_else(inner: bytes) -> None:
    text = b"-----BEGIN CERTIFICATE-----" + inner + b"-----END CERTIFICATE-----"
    for data in (inner, text):
        try:
            list(pem_blocks(data))
        except CertificateError:
            continue
