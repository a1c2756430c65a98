"""Who there is: OpenSSH's allowed_signers file, read strictly. Text in, principals and keys out.

    NAME namespaces="order@panicdoor,login@panicdoor"[,valid-after="..."][,valid-before="..."] KEY

What ssh-keygen(1) has under ALLOWED SIGNERS, and of it only what cannot be misread:
- a key belongs to one literal name, and may sign only in namespaces that are written out;
- times are UTC, with the Z that says so;
- RSA has 2048 bits at least, DSA is unknown, and an unknown option is not skipped;
- a line that is wrong is skipped, said with its number, and disables no other. Of two lines with
  the same key the first stands.

Certificates are not taken yet: a line with cert-authority is skipped as any other.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from panicdoor.errors import ConfigError
from panicdoor.keys import KINDS, PublicKey, parse_public_key
from panicdoor.printable import escape_line

ORDER: Final = "order@panicdoor"  # namespace of orders
LOGIN: Final = "login@panicdoor"  # namespace of logins by ssh

FILE_MAX: Final = 1 << 20  # bytes; SIGNERS_MAX of the longest usual keys (RSA of 4096 bits)
SIGNERS_MAX: Final = 1024  # keys; all of them stay in memory
REMARKS_MAX: Final = 32  # lines that are said to be wrong; then only their number
NEVER: Final = 2**53  # seconds since 1970, beyond every date

_SHOWN_MAX: Final = 40  # characters of a wrong word that are shown
_PRINCIPAL: Final = re.compile(r"[a-z0-9._@-]{1,64}")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._@:/+-]{1,64}")
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

    def __init__(self, signers: dict[bytes, Signer], remarks: tuple[Remark, ...]) -> None:
        self.remarks: Final = remarks
        self._signers = signers

    def find(self, blob: bytes, namespace: str, now: float) -> Signer | None:
        """Return whose key this is, if it may sign in that namespace at that time."""
        signer = self._signers.get(blob)
        return signer if signer is not None and signer.valid(namespace, now) else None

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._signers)

    @property
    def named(self) -> frozenset[str]:
        """All names in the file, those on lines that were skipped included."""
        return frozenset(signer.principal for signer in self._signers.values()) | {
            remark.principal for remark in self.remarks if remark.principal
        }


NOBODY: Final = Signers({}, ())


def parse(data: bytes, file: str = "allowed_signers") -> Signers:
    """Return the signers of `data`, the contents of `file`.

    Raises ConfigError, naming `file`, only where it cannot be such a file at all: too large.
    """
    if len(data) > FILE_MAX:
        raise ConfigError(f"{file}: expected at most {FILE_MAX} bytes")
    found: dict[bytes, Signer] = {}
    remarks: list[Remark] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        text = raw.decode("utf-8", "replace").rstrip("\r")
        if not text.strip(" \t") or text.lstrip(" \t").startswith("#"):
            continue
        try:
            signer = _signer(text, number)
            if signer.key.blob in found:
                raise ConfigError(
                    f"the key of line {found[signer.key.blob].line} stands here again"
                )
            if len(found) >= SIGNERS_MAX:
                raise ConfigError(f"there are {SIGNERS_MAX} keys already")
            found[signer.key.blob] = signer
        except ConfigError as wrong:
            name = (text.split(None, 1) or [""])[0]
            principal = name if _PRINCIPAL.fullmatch(name) else ""
            remarks.append(Remark(number, principal, str(wrong)))
    return Signers(found, tuple(remarks))


def _signer(text: str, number: int) -> Signer:
    """Return what one line says. Raises ConfigError."""
    if "\0" in text:
        raise ConfigError("there is a NUL in it")
    if text.startswith("\ufeff"):
        raise ConfigError("there is a byte order mark before it")
    match = _LINE.fullmatch(text)
    if match is None:
        raise ConfigError('expected NAME namespaces="..." KEY')
    principal, options, kind, rest = match.groups()
    if not _PRINCIPAL.fullmatch(principal):
        raise ConfigError(
            "expected one literal name of a-z, 0-9, '.', '_', '@' and '-', at most 64,"
            f" got {_show(principal)}"
        )
    if options is None or kind not in KINDS:
        # Without options the pattern takes the kind for them: say what is missing.
        if match[2] in KINDS or options is None:
            raise ConfigError('expected namespaces="..." before the key')
        raise ConfigError(f"expected one of {', '.join(KINDS)}, got {_show(kind)}")
    namespaces, after, before = _options(options)
    try:
        key = parse_public_key(f"{kind} {rest}", "the key")
    except ConfigError as wrong:
        raise ConfigError(str(wrong)) from None
    return Signer(principal, key, namespaces, after, before, number)


def _options(text: str) -> tuple[frozenset[str], int, int]:
    """Return namespaces, valid-after and valid-before. Raises ConfigError."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None or (match[3] and match.end() == len(text)):
            raise ConfigError('expected options such as namespaces="...", separated by commas')
        name, value = match[1], match[2]
        if name == "cert-authority":
            raise ConfigError("certificates are not taken yet")
        if name not in ("namespaces", "valid-after", "valid-before") or value is None:
            raise ConfigError(
                'expected namespaces="...", valid-after="..." or valid-before="...",'
                f" got {_show(name)}"
            )
        if name in found:
            raise ConfigError(f"{name} is there twice")
        found[name] = value
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
    return frozenset(namespaces), after, before


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
