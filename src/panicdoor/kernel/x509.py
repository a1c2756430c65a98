"""Until when a certificate is valid, and whose it is: as much of DER as that needs.

RFC 5280, section 4.1: Certificate, TBSCertificate, Validity, and of the extensions the subject's
alternative names (4.2.1.6). Signatures are not looked at: this reads a calendar, it trusts
nobody. A whole library for certificates would stay in memory all year for this one question.
"""

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

PEM_MAX: Final = 64  # certificates of one file that are looked at: a chain has less than ten
NAMES_MAX: Final = 20  # names of one certificate that are kept

_SEQUENCE, _OCTETS, _OBJECT = 0x30, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # [0] and [3] of TBSCertificate
_FIELDS: Final = 5  # serial number, algorithm, issuer, validity, subject
_DNS_NAME: Final = 0x82  # [2] of GeneralName
_COMMON_NAME: Final = b"\x55\x04\x03"  # 2.5.4.3
_ALTERNATIVE_NAMES: Final = b"\x55\x1d\x11"  # 2.5.29.17
_LONG: Final = 0x80  # a length of this and more says how many bytes the length has
_LENGTH_BYTES: Final = 4
_HIGH_TAG: Final = 0x1F
_CENTURY_TURN: Final = 50  # RFC 5280, 4.1.2.5.1: a year below is of this century
_TIMES: Final = {
    _UTC_TIME: re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
    _GENERALIZED_TIME: re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
}
_PEM: Final = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]*?)"
    rb"-----END (?:TRUSTED |X509 )?CERTIFICATE-----"
)


class CertificateError(Exception):
    """These bytes are no certificate."""


class Certificate(NamedTuple):
    """What a calendar needs to know. Times are aware; `names` are not checked and may be empty."""

    begins: datetime
    ends: datetime
    names: tuple[str, ...]


class _Value(NamedTuple):
    tag: int
    content: bytes


def pem_blocks(text: bytes) -> Iterator[bytes]:
    """Yield the certificates of a PEM file (RFC 7468), at most PEM_MAX. Raises CertificateError.

    Keys and whatever else is there are not looked at.
    """
    for found, block in enumerate(_PEM.finditer(text)):
        if found == PEM_MAX:
            return
        try:
            yield binascii.a2b_base64(block[1])
        except binascii.Error as error:
            raise CertificateError("the base64 of a certificate is broken") from error


def parse(data: bytes) -> Certificate:
    """Return what one DER certificate says. Raises CertificateError."""
    fields = _values(_of(_first(_of(_first(data), _SEQUENCE)), _SEQUENCE))
    if fields and fields[0].tag == _VERSION:
        del fields[0]
    if len(fields) < _FIELDS:
        raise CertificateError("a certificate ends too early")
    _, _, _, validity, subject, *rest = fields
    times = _values(_of(validity, _SEQUENCE))
    if len(times) != 2:  # noqa: PLR2004 - from, and until
        raise CertificateError("a validity is two times")
    names: list[str] = []
    # A certificate with a name that cannot be read still ends on its day.
    with suppress(CertificateError):
        names += islice(_common_names(_of(subject, _SEQUENCE)), NAMES_MAX)
        names += islice(_alternative_names(rest), NAMES_MAX)
    return Certificate(_time(times[0]), _time(times[1]), tuple(dict.fromkeys(names)))


def _common_names(subject: bytes) -> Iterator[str]:
    for group in _values(subject):
        for attribute in _values(group.content):
            pair = _values(attribute.content)
            if pair[:1] == [_Value(_OBJECT, _COMMON_NAME)] and len(pair) > 1:
                yield pair[1].content.decode("latin-1")


def _alternative_names(fields: list[_Value]) -> Iterator[str]:
    for field in fields:
        if field.tag != _EXTENSIONS:
            continue
        for extension in _values(_of(_first(field.content), _SEQUENCE)):
            parts = _values(extension.content)
            if parts[:1] != [_Value(_OBJECT, _ALTERNATIVE_NAMES)]:
                continue
            names = _values(_of(_first(_of(parts[-1], _OCTETS)), _SEQUENCE))
            yield from (n.content.decode("latin-1") for n in names if n.tag == _DNS_NAME)


def _time(value: _Value) -> datetime:
    pattern = _TIMES.get(value.tag)
    found = pattern.fullmatch(value.content) if pattern else None
    if found is None:
        raise CertificateError("a time is not one of RFC 5280")
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if value.tag == _UTC_TIME:
        year += 2000 if year < _CENTURY_TURN else 1900
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise CertificateError("a time that no calendar has") from error


def _of(value: _Value, tag: int) -> bytes:
    if value.tag != tag:
        raise CertificateError(f"tag {value.tag:#x} where {tag:#x} is needed")
    return value.content


def _first(data: bytes) -> _Value:
    """Return the first value; what follows it is of no interest."""
    value, _ = _value(data, 0)
    return value


def _values(data: bytes) -> list[_Value]:
    found = []
    at = 0
    while at < len(data):
        value, at = _value(data, at)
        found.append(value)
    return found


def _value(data: bytes, at: int) -> tuple[_Value, int]:
    """Return the value at an offset, and where the next one begins: X.690, 8.1 and 10.1."""
    if len(data) - at < 2:  # noqa: PLR2004 - a tag and a length
        raise CertificateError("a value ends too early")
    tag, size = data[at], data[at + 1]
    at += 2
    if tag & _HIGH_TAG == _HIGH_TAG:
        raise CertificateError("a tag of several bytes, which no certificate has")
    if size >= _LONG:
        count = size - _LONG
        if not 0 < count <= min(_LENGTH_BYTES, len(data) - at):
            raise CertificateError("a length that DER does not allow")
        size = int.from_bytes(data[at : at + count], "big")
        at += count
    if size > len(data) - at:
        raise CertificateError(f"a value of {size} bytes in {len(data) - at}")
    return _Value(tag, data[at : at + size]), at + size
