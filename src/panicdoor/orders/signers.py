"""Who there is: OpenSSH's allowed_signers file, read strictly. Text in, principals and keys out.

    NAME namespaces="order@panicdoor,login@panicdoor"[,valid-after="..."][,valid-before="..."] KEY
    NAME,NAME,... cert-authority,namespaces="..."[,...] KEY

What ssh-keygen(1) has under ALLOWED SIGNERS, and of it only what cannot be misread:
- a key belongs to one literal name, and may sign only in namespaces that are written out;
- times are UTC, with the Z that says so;
- RSA has 2048 bits at least, DSA is unknown, and an unknown option is not skipped;
- a line that is wrong is skipped, said with its number, and disables no other. Of two lines with
  the same key the first stands: the key of an authority never signs by itself.

An authority's line lists the names that its certificates may be for. A certificate speaks for the
one name in it that the line lists; with two of them nobody could say who signed, so it speaks for
nobody. What is revoked (`krl`) is not found, in whatever line it stands.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from panicdoor.errors import ConfigError
from panicdoor.keys import KINDS, PublicKey, parse_public_key
from panicdoor.orders.certificates import Certificate
from panicdoor.orders.certificates import parse as parse_certificate
from panicdoor.orders.krl import NOTHING_REVOKED, Krl
from panicdoor.printable import escape_line

ORDER: Final = "order@panicdoor"  # namespace of orders
LOGIN: Final = "login@panicdoor"  # namespace of logins by ssh

FILE_MAX: Final = 1 << 20  # bytes; SIGNERS_MAX of the longest usual keys (RSA of 4096 bits)
SIGNERS_MAX: Final = 1024  # keys; all of them stay in memory
NAMES_MAX: Final = 1024  # names that one authority's certificates may be for, likewise
REMARKS_MAX: Final = 32  # lines that are said to be wrong; then only their number
NEVER: Final = 2**53  # seconds since 1970, beyond every date

_SHOWN_MAX: Final = 40  # characters of a wrong word that are shown
_NAMES: Final = re.compile(r"[a-z0-9._@-]{1,64}(?:,[a-z0-9._@-]{1,64})*")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._@:/+-]{1,64}")
_OPTIONS: Final = ("namespaces", "valid-after", "valid-before", "cert-authority")
_OPTION: Final = re.compile(r'([a-z-]+)(?:="([^"\\]*)")?(,|$)')
_LINE: Final = re.compile(r'[ \t]*(\S+)[ \t]+(?:((?:[^ \t"]|"[^"]*")+)[ \t]+)?(\S+)[ \t]+(\S.*)')
_TIME: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})?)?Z")


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and whose it is. `after` and `before` are seconds since 1970, both included."""

    principal: str
    key: PublicKey
    namespaces: frozenset[str]
    after: int
    before: int
    line: int

    def valid(self, namespace: str, now: float) -> bool:
        """Return whether the key may sign in that namespace at that time (since 1970)."""
        return namespace in self.namespaces and self.after <= now <= self.before


@dataclass(frozen=True, slots=True)
class _Line:
    """What one line says: `names` has one, unless the key is of an authority."""

    names: tuple[str, ...]
    authority: bool
    key: PublicKey
    namespaces: frozenset[str]
    after: int
    before: int
    number: int

    def signer(self) -> Signer:
        return self._signer(self.names[0], self.key, self.after, self.before)

    def certified(self, certificate: Certificate) -> Signer | None:
        """Return whom a certificate of this authority is for, if its authority did sign it."""
        names = [name for name in certificate.names if name in self.names]
        if len(names) != 1:
            return None
        after, before = max(self.after, certificate.after), min(self.before, certificate.before - 1)
        key = PublicKey(certificate.kind, certificate.key)
        return self._signer(names[0], key, after, before)

    def _signer(self, name: str, key: PublicKey, after: int, before: int) -> Signer:
        return Signer(name, key, self.namespaces, after, before, self.number)


@dataclass(frozen=True, slots=True)
class Remark:
    """A line, counted from 1, that was skipped, and why; `principal` may be empty."""

    line: int
    principal: str
    text: str

    def __str__(self) -> str:
        """Return a sentence without its end."""
        return f"line {self.line} is skipped: {self.text}"


class Signers:
    """Everybody in one file, by the blobs of their public keys."""

    def __init__(
        self, lines: dict[bytes, _Line], remarks: tuple[Remark, ...], krl: Krl = NOTHING_REVOKED
    ) -> None:
        self.remarks: Final = remarks
        self._krl = krl
        self._signers = {b: line.signer() for b, line in lines.items() if not line.authority}
        self._authorities = {b: line for b, line in lines.items() if line.authority}

    def find(self, blob: bytes, namespace: str, now: float) -> Signer | None:
        """Return who signs with this key or certificate in that namespace at that time.

        `now` is seconds since 1970. The key of the Signer is a plain one, in either case.
        """
        signer, certificate = self._signers.get(blob), None
        if signer is None and (certificate := parse_certificate(blob)) is not None:
            authority = self._authorities.get(certificate.authority)
            signer = authority.certified(certificate) if authority is not None else None
        if signer is None or not signer.valid(namespace, now):
            return None
        if self._krl.revokes(signer.key.blob, certificate):
            return None
        # Last: everything else costs less than to verify a signature, and strangers ask, too.
        return signer if certificate is None or certificate.authentic() else None

    def of(self, principal: str, namespace: str, now: float) -> Iterator[Signer]:
        """Yield the plain keys of somebody that may sign in that namespace at that time."""
        for blob, signer in self._signers.items():
            if signer.principal == principal and self.find(blob, namespace, now):
                yield signer

    def __len__(self) -> int:
        """Return how many keys there are, those of authorities included."""
        return len(self._signers) + len(self._authorities)

    @property
    def named(self) -> frozenset[str]:
        """All names in the file, those on lines that were skipped included."""
        return (
            frozenset(signer.principal for signer in self._signers.values())
            | frozenset(name for line in self._authorities.values() for name in line.names)
            | frozenset(name for remark in self.remarks for name in remark.principal.split(","))
        ) - {""}


NOBODY: Final = Signers({}, ())


def parse(data: bytes, file: str = "allowed_signers", krl: Krl = NOTHING_REVOKED) -> Signers:
    """Return the signers of `data`, the contents of `file`, without those that `krl` revokes.

    Raises ConfigError, naming `file`, only where it cannot be such a file at all: too large.
    """
    if len(data) > FILE_MAX:
        raise ConfigError(f"{file}: expected at most {FILE_MAX} bytes")
    found: dict[bytes, _Line] = {}
    remarks: list[Remark] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        text = raw.decode("utf-8", "replace").rstrip("\r")
        if not text.strip(" \t") or text.lstrip(" \t").startswith("#"):
            continue
        try:
            line = _line(text, number)
            if line.key.blob in found:
                raise ConfigError(
                    f"the key of line {found[line.key.blob].number} stands here again"
                )
            if len(found) >= SIGNERS_MAX:
                raise ConfigError(f"there are {SIGNERS_MAX} keys already")
            found[line.key.blob] = line
        except ConfigError as wrong:
            name = (text.split(None, 1) or [""])[0]
            principal = name if _NAMES.fullmatch(name) else ""
            remarks.append(Remark(number, principal, str(wrong)))
    return Signers(found, tuple(remarks), krl)


def _line(text: str, number: int) -> _Line:
    """Return what one line says. Raises ConfigError."""
    if "\0" in text:
        raise ConfigError("there is a NUL in it")
    if text.startswith("\ufeff"):
        raise ConfigError("there is a byte order mark before it")
    match = _LINE.fullmatch(text)
    if match is None:
        raise ConfigError('expected NAME namespaces="..." KEY')
    principal, options, kind, rest = match.groups()
    if not _NAMES.fullmatch(principal):
        raise ConfigError(
            "expected one literal name of a-z, 0-9, '.', '_', '@' and '-', at most 64,"
            f" got {_show(principal)}"
        )
    if options is None or kind not in KINDS:
        # Without options the pattern takes the kind for them: say what is missing.
        if match[2] in KINDS or options is None:
            raise ConfigError('expected namespaces="..." before the key')
        raise ConfigError(f"expected one of {', '.join(KINDS)}, got {_show(kind)}")
    authority, namespaces, after, before = _options(options)
    names = tuple(principal.split(","))
    if len(names) > 1 and not authority:
        raise ConfigError(f"expected one literal name before a key, got {_show(principal)}")
    if len(names) > NAMES_MAX:
        raise ConfigError(f"expected at most {NAMES_MAX} names, got {len(names)}")
    try:
        key = parse_public_key(f"{kind} {rest}", "the key")
    except ConfigError as wrong:
        raise ConfigError(str(wrong)) from None
    return _Line(names, authority, key, namespaces, after, before, number)


def _options(text: str) -> tuple[bool, frozenset[str], int, int]:
    """Return cert-authority, namespaces, valid-after and valid-before. Raises ConfigError."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None or (match[3] and match.end() == len(text)):
            raise ConfigError('expected options such as namespaces="...", separated by commas')
        name, value = match[1], match[2]
        if name not in _OPTIONS or (value is None) is not (name == "cert-authority"):
            raise ConfigError(
                'expected namespaces="...", valid-after="...", valid-before="..." or'
                f" cert-authority, got {_show(name)}"
            )
        if name in found:
            raise ConfigError(f"{name} is there twice")
        found[name] = value or ""
        at = match.end()
    if "namespaces" not in found:
        raise ConfigError('expected namespaces="..." before the key')
    namespaces = found["namespaces"].split(",")
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigError(
                f"expected namespaces written out, such as {LOGIN}, got {_show(namespace)}"
            )
    after = _moment("valid-after", found.get("valid-after"), 0)
    before = _moment("valid-before", found.get("valid-before"), NEVER)
    if before <= after:
        raise ConfigError("expected valid-before to be later than valid-after")
    return "cert-authority" in found, frozenset(namespaces), after, before


def _moment(name: str, text: str | None, otherwise: int) -> int:
    """Return a time in seconds since 1970. Raises ConfigError, naming `name`."""
    if text is None:
        return otherwise
    if match := _TIME.fullmatch(text):
        year, month, day, hour, minute, second = (int(digits or 0) for digits in match.groups())
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            return max(0, int(moment.timestamp()))
        except ValueError:
            pass
    raise ConfigError(f"{name}: expected a time of UTC, YYYYMMDD[HHMM[SS]]Z, got {_show(text)}")


def _show(text: str) -> str:
    shown = escape_line(text)
    return f"'{shown}'" if len(shown) <= _SHOWN_MAX else f"'{shown[:_SHOWN_MAX]}...'"
