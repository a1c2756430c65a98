"""An order and its signatures as text: bytes in, values out.

    panicdoor order 1
    door: web1 SHA256:TJHTMnH5fkD48dHFfooRtZyOfoMQJ5IuBeNMujJhfT8
    fresh: challenge aadq-caqd-6enx-hcig-x4ir-mkkx
    by: alice
    do: freeze user batch
    why: fork bomb of user batch, ticket 4711

Rules:
- the lines stand in this order, each once; `until:` comes before `why:`, with `fresh: seq` only;
- undone is only what terminals do: CR LF and CR NUL become LF, blanks at the end of a line and
  empty lines at both ends go, one LF ends it. What is then not printable ASCII refuses it all;
- what results is what was signed and what is hashed: the id of an order never depends on its
  signatures, which others can change without breaking them;
- whatever is wrong raises OrderError with one line that repeats nothing of what came.

PROTOCOL.orders.md has the grammar. Whether anything of it is true is judged elsewhere.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from panicdoor.errors import CommandError, OrderError
from panicdoor.orders.sshsig import (
    ARMOR_LINE_MAX,
    BEGIN,
    END,
    SshSignature,
    dearmor,
    parse,
    unbase64,
)
from panicdoor.words import parse as parse_words

FIRST: Final = "panicdoor order 1"
SIG: Final = "sig: "

LINE_MAX: Final = 160  # characters; an order must show on a screen as it is
SEALED_MAX: Final = 8192  # bytes of an order with its signatures, as they came
SIG_LINE_MAX: Final = 3000  # characters of a `sig:` line: RSA of 16384 bits has 2834
SIGNATURES_MAX: Final = 8  # nobody's policy wants more, and each costs a verification
MAC_SIZE: Final = 32  # bytes, of HMAC-SHA256

# Patterns of what stands in receipts, too.
NAME: Final = r"[a-z0-9][a-z0-9.-]{0,31}"
PRINCIPAL: Final = r"[a-z0-9._@-]{1,64}"
DIGEST: Final = r"SHA256:[A-Za-z0-9+/]{43}"

_KEYS: Final = ("door", "fresh", "by", "do", "until", "why")
_DOOR: Final = re.compile(rf"(?:({NAME}) ({DIGEST})|([a-z0-9.*?-]{{1,32}})@({NAME}))")
_FRESH: Final = re.compile(r"(?:challenge ([a-z2-7-]{24,40})|seq ([1-9][0-9]{0,14}))")
_BY: Final = re.compile(PRINCIPAL)
_UNTIL: Final = re.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")
_SIG: Final = re.compile(
    rf"sig: ({PRINCIPAL}) (?:ssh|code (0|[1-9][0-9]{{0,2}})) ([A-Za-z0-9+/=]+)"
)
_QUOTED: Final = re.compile(r"'[^']*'")
_PRINTABLE: Final = re.compile(rb"[\x20-\x7e\n]*")
_TYPED_END: Final = re.compile(rb"\r[\n\0]")
_LINE_END: Final = re.compile(rb"\r?\n|\r\0")


@dataclass(frozen=True, slots=True)
class OneDoor:
    """An order for the door with this name and this key (`SHA256:...`)."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """An order for every door of a fleet whose name fits the pattern (`*` and `?`)."""

    pattern: str
    fleet: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """Fresh because it holds what the door gave out a moment ago."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Fresh because its number exceeds its author's last; `until` is seconds since 1970."""

    number: int
    until: int


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done, as it was written; `text` is canonical, and `id` its hash."""

    text: str
    id: str
    door: OneDoor | Fleet
    fresh: Challenge | Sequence
    by: str
    words: tuple[str, ...]
    why: str

    def is_for(self, name: str, fingerprint: str, fleet: str) -> bool:
        """Return whether the door of that name, key and fleet (or `""`) is meant."""
        if isinstance(self.door, OneDoor):
            return self.door == OneDoor(name, fingerprint)
        return self.door.fleet == fleet and matches(self.door.pattern, name)


@dataclass(frozen=True, slots=True)
class Bare:
    """A signature of a `sig: NAME ssh` line: the blob inside only, since the door has the key."""

    principal: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Code:
    """The MAC of a `sig: NAME code` line, made with the code of that number on NAME's sheet."""

    principal: str
    number: int
    mac: bytes


Signature = SshSignature | Bare | Code


@dataclass(frozen=True, slots=True)
class Sealed:
    """An order and 1 to SIGNATURES_MAX signatures; nothing of them is proved yet."""

    order: Order
    signatures: tuple[Signature, ...]


class Stage(Enum):
    """How far a sealed order has come, by its first bytes. OVER and WRONG are for good."""

    TEXT = "text"
    SIGNATURE = "signature"  # one has begun
    SEALED = "sealed"  # one has ended: it may be judged, or another may follow
    OVER = "over"  # what follows is something else
    WRONG = "wrong"  # no more bytes make an order of it; `parse_sealed` says why


@dataclass(frozen=True, slots=True)
class Progress:
    """What stands in some bytes: how many whole signatures, and where the last of them ends."""

    stage: Stage
    signatures: int
    length: int


def hashed(data: bytes) -> str:
    """Return `SHA256:` and the hash in base64, unpadded: as OpenSSH writes fingerprints."""
    digest = hashlib.sha256(data).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def canonical(data: bytes) -> str:
    """Return the text that was signed, with what terminals did to it undone. Raises OrderError."""
    if len(data) > SEALED_MAX:
        raise OrderError(f"an order has at most {SEALED_MAX} characters with its signatures")
    text = _TYPED_END.sub(b"\n", data)
    if not _PRINTABLE.fullmatch(text):
        raise OrderError("an order is printable ASCII and line feeds, and nothing else")
    lines = [line.rstrip(b" ") for line in text.split(b"\n")]
    return b"\n".join(lines).strip(b"\n").decode("ascii") + "\n"


def parse_order(data: bytes) -> Order:
    """Return the order that `data` is, without signatures. Raises OrderError."""
    return _order(canonical(data))


def parse_sealed(data: bytes) -> Sealed:
    """Return the order and its signatures, both in `data`. Raises OrderError."""
    lines = canonical(data).split("\n")[:-1]
    begins = (at for at, line in enumerate(lines) if line == BEGIN or line.startswith(SIG))
    at = next(begins, len(lines))
    order = _order("\n".join(lines[:at]).strip("\n") + "\n")
    found: list[Signature] = []
    while at < len(lines):
        end = at
        if lines[at] == BEGIN:
            while lines[end] != END:
                end += 1
                if end == len(lines):
                    raise OrderError("the end of a signature is missing")
            found.append(parse(dearmor(lines[at : end + 1])))
        elif lines[at]:
            found.append(_sig(lines[at]))
        if len(found) > SIGNATURES_MAX:
            raise OrderError(f"an order has at most {SIGNATURES_MAX} signatures")
        at = end + 1
    if not found:
        raise OrderError("the order has no signature")
    return Sealed(order, tuple(found))


def progress(data: bytes) -> Progress:
    """Return how far the sealed order has come that begins with `data`.

    Only `data` counts, however it arrived. A line counts when its end is there: at the end of
    input, give a line feed more. OVER may be followed by anything; `length` says where it begins.
    """
    stage, inside, count, length, at = Stage.TEXT, "", 0, 0, 0
    for end in _LINE_END.finditer(data, 0, SEALED_MAX + 1):
        line = data[at : end.start()].rstrip(b" ").decode("latin-1")
        stage, inside = _step(stage, inside, line, count)
        if stage in (Stage.WRONG, Stage.OVER):
            return Progress(stage, count, length)
        at = end.end()
        if stage is Stage.SEALED and line:
            count, length = count + 1, at
    if len(data) > SEALED_MAX:
        return Progress(Stage.WRONG, count, length)
    rest = data[at:].rstrip(b" \r").decode("latin-1")
    return Progress(_glimpse(stage, inside, rest), count, length)


def matches(pattern: str, name: str) -> bool:
    """Return whether `name` is what `pattern` says: `*` is any characters, `?` is one."""
    # Where a star has failed, only the last one is tried again: quadratic at the worst.
    p = n = 0
    star, tried = -1, 0
    while n < len(name):
        if p < len(pattern) and pattern[p] == "*":
            star, tried, p = p, n, p + 1
        elif p < len(pattern) and pattern[p] in ("?", name[n]):
            p, n = p + 1, n + 1
        elif star >= 0:
            tried, p = tried + 1, star + 1
            n = tried
        else:
            return False
    return not pattern[p:].strip("*")


def _step(stage: Stage, inside: str, line: str, count: int) -> tuple[Stage, str]:
    """Return the stage after a whole line, and what the next line is inside of."""
    if inside == BEGIN:
        if line == END:
            return Stage.SEALED, SIG
        return (Stage.SIGNATURE if len(line) <= ARMOR_LINE_MAX else Stage.WRONG), inside
    if not line and inside != FIRST:
        return stage, inside
    if not inside:
        return (Stage.TEXT, FIRST) if line == FIRST else (Stage.WRONG, inside)
    if line == BEGIN or line.startswith(SIG):
        if count == SIGNATURES_MAX or len(line) > SIG_LINE_MAX:
            return Stage.WRONG, inside
        return (Stage.SIGNATURE, BEGIN) if line == BEGIN else (Stage.SEALED, SIG)
    if inside == SIG:
        return Stage.OVER, inside
    return (Stage.TEXT if len(line) <= LINE_MAX else Stage.WRONG), inside


def _glimpse(stage: Stage, inside: str, rest: str) -> Stage:
    """Return the stage with the beginning of a line after it."""
    if not rest:
        return stage
    if inside == BEGIN:
        return stage if len(rest) <= ARMOR_LINE_MAX else Stage.WRONG
    if not inside:
        return stage if FIRST.startswith(rest) else Stage.WRONG
    begun = rest.startswith(SIG)
    if inside == SIG and not (begun or SIG.startswith(rest) or BEGIN.startswith(rest)):
        return Stage.OVER
    if len(rest) > (SIG_LINE_MAX if begun else LINE_MAX):
        return Stage.WRONG
    return Stage.SIGNATURE if begun or inside == SIG else stage


def _order(text: str) -> Order:
    """Return the order that a canonical text is. Raises OrderError."""
    lines = text.split("\n")[:-1]
    if lines[0] != FIRST:
        raise OrderError(f"an order begins with the line: {FIRST}")
    if any(len(line) > LINE_MAX for line in lines):
        raise OrderError(f"a line of an order has at most {LINE_MAX} characters")
    values = _values(lines[1:])
    door = _door(values["door"])
    fresh = _fresh(values["fresh"], values.get("until"))
    if isinstance(door, Fleet) and isinstance(fresh, Challenge):
        raise OrderError("an order for a fleet is made with seq: a challenge is one door's")
    if not _BY.fullmatch(values["by"]):
        raise OrderError("by: expected one name of a-z, 0-9, '.', '_', '@' and '-', at most 64")
    words, why = _words(values["do"]), values["why"]
    return Order(text, hashed(text.encode("ascii")), door, fresh, values["by"], words, why)


def _values(lines: list[str]) -> dict[str, str]:
    """Return the value of each key. Raises OrderError for another order, or another key."""
    found: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(": ")
        if key not in _KEYS or not colon:
            raise OrderError(f"a line of an order begins with one of {', '.join(_KEYS)}")
        if key in found:
            raise OrderError(f"{key}: is there twice")
        if found and _KEYS.index(key) < _KEYS.index(next(reversed(found))):
            raise OrderError(f"{key}: stands too late; the order is {', '.join(_KEYS)}")
        if value.startswith(" "):
            raise OrderError(f"{key}: one blank stands before its value")
        found[key] = value
    for key in _KEYS:
        if key not in found and key != "until":
            raise OrderError(f"{key}: is missing")
    return found


def _door(value: str) -> OneDoor | Fleet:
    match = _DOOR.fullmatch(value)
    if match is None:
        raise OrderError("door: expected NAME SHA256:..., as the door prints it, or PATTERN@FLEET")
    return Fleet(match[3], match[4]) if match[4] else OneDoor(match[1], match[2])


def _fresh(value: str, until: str | None) -> Challenge | Sequence:
    match = _FRESH.fullmatch(value)
    if match is None:
        raise OrderError("fresh: expected a challenge, as the door prints it, or seq NUMBER")
    if match[1]:
        if until is not None:
            raise OrderError("until: stands with fresh: seq only; a challenge ends by itself")
        return Challenge(match[1])
    if until is None:
        raise OrderError("until: is missing, as fresh: seq wants it")
    if when := _UNTIL.fullmatch(until):
        year, month, day, hour, minute, second = map(int, when.groups())
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            return Sequence(int(match[2]), int(moment.timestamp()))
        except ValueError:
            pass
    raise OrderError("until: expected a time of UTC such as 2026-11-23T03:00:00Z")


def _words(value: str) -> tuple[str, ...]:
    try:
        words = parse_words(value)
    except CommandError as error:
        raise OrderError(f"do: {error}") from None
    if "  " in _QUOTED.sub("''", value):
        raise OrderError("do: one blank stands between two words")
    return words


def _sig(line: str) -> Bare | Code:
    """Return what a `sig:` line has. Raises OrderError."""
    match = _SIG.fullmatch(line) if len(line) <= SIG_LINE_MAX else None
    if match is None:
        raise OrderError("a signature is armored, or sig: NAME ssh ..., or sig: NAME code N ...")
    principal, number, data = match[1], match[2], unbase64(match[3])
    if number is None:
        return Bare(principal, data)
    if len(data) != MAC_SIZE:
        raise OrderError("the MAC of a code is damaged")
    return Code(principal, int(number), data)
