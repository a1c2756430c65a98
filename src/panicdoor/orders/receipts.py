"""Receipts: the door's signed answer to an order that ran. Text and bytes, both ways, no I/O.

    panicdoor receipt 1
    door: web1 SHA256:TJHTMnH5fkD48dHFfooRtZyOfoMQJ5IuBeNMujJhfT8
    order: SHA256:n3pYKlpBN6DeC7EdXEoaE1bvxr5bLimciaP9uqOQ9ks
    signers: alice
    result: done
    detail: frozen: 412 processes of user batch
    output: SHA256:Z5PACFTr6IGsx5Q5aFaaw1ntvz67zm851OXxybeIPmc 58
    time: 2026-11-23T02:13:20Z
    journal: 2 2c7f0d3d...613b

What is signed is this text, each line with its LF, in the namespace receipt@panicdoor. There is
one spelling of it: a line that is missing, repeated, unknown or elsewhere is refused, and so is
any byte after the signature. `detail:` is left out where there is nothing to say; ` volatile`
after the hash says that the journal's line had not reached the disk.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor.errors import OrderError, ProtocolError
from panicdoor.orders.sshsig import BEGIN, dearmor, parse, sign, verify
from panicdoor.orders.text import DIGEST, NAME, PRINCIPAL, hashed
from panicdoor.printable import escape_line

NAMESPACE: Final = "receipt@panicdoor"
FIRST: Final = "panicdoor receipt 1"
DETAIL_MAX: Final = 150  # characters: the line stays within the 160 of an order's
RECEIPT_MAX: Final = 2048  # bytes with the signature; eight long names of signers fit

_RECEIPT: Final = re.compile(
    rf"""{FIRST}
door: ({NAME}) ({DIGEST})
order: ({DIGEST})
signers: ({PRINCIPAL}(?: {PRINCIPAL}){{0,7}})
result: (done|failed)
(?:detail: ([\x21-\x7e][\x20-\x7e]{{0,{DETAIL_MAX - 1}}})
)?output: ({DIGEST}) (0|[1-9][0-9]{{0,14}})
time: ([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}Z)
journal: ([1-9][0-9]{{0,17}}) ([0-9a-f]{{64}})( volatile)?
"""
)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed, as its hash (`SHA256:...`) and its length in bytes."""

    hash: str
    length: int

    @classmethod
    def of(cls, data: bytes) -> "Output":
        """Return the hash and length of what was printed."""
        return cls(hashed(data), len(data))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an order. `time` is like 2026-11-23T02:13:20Z.

    `line` and `hash` are those of the entry in the journal that says that the order was accepted.
    """

    name: str
    fingerprint: str
    order: str
    signers: tuple[str, ...]
    done: bool
    detail: str
    output: Output
    time: str
    line: int
    hash: str
    volatile: bool = False

    @property
    def text(self) -> str:
        """The text that is signed. `detail` is escaped, and cut to DETAIL_MAX characters."""
        detail = escape_line(self.detail).strip(" ")[:DETAIL_MAX].rstrip(" ")
        return "\n".join(
            [
                FIRST,
                f"door: {self.name} {self.fingerprint}",
                f"order: {self.order}",
                f"signers: {' '.join(self.signers)}",
                f"result: {'done' if self.done else 'failed'}",
                *([f"detail: {detail}"] if detail else []),
                f"output: {self.output.hash} {self.output.length}",
                f"time: {self.time}",
                f"journal: {self.line} {self.hash}{' volatile' if self.volatile else ''}",
                "",
            ]
        )


def seal(receipt: Receipt, identity: Ed25519PrivateKey) -> str:
    """Return the receipt with the door's signature.

    Raises ValueError, and signs nothing, where a value would break the format.
    """
    if _RECEIPT.fullmatch(receipt.text) is None:
        raise ValueError("not a receipt")
    return receipt.text + sign(identity, NAMESPACE, receipt.text.encode("ascii"))


def read(data: bytes, keys: Sequence[bytes]) -> Receipt:
    """Return the receipt in `data`, which one of `keys` (blobs of the door's key) has signed.

    Raises ProtocolError. CR LF is taken for LF, as telnet writes it; nothing else is forgiven.
    """
    if len(data) > RECEIPT_MAX:
        raise ProtocolError(f"a receipt has at most {RECEIPT_MAX} bytes")
    try:
        text, begin, armor = data.replace(b"\r\n", b"\n").decode("ascii").partition(BEGIN)
    except UnicodeDecodeError:
        raise ProtocolError("the receipt is not ASCII") from None
    match = _RECEIPT.fullmatch(text)
    if match is None:
        raise ProtocolError("this is no receipt: a line is missing, unknown or repeated")
    try:
        signature = parse(dearmor((begin + armor.removesuffix("\n")).split("\n")))
    except OrderError as error:
        raise ProtocolError(f"the receipt: {error}") from None
    message, receipt = text.encode("ascii"), _receipt(match)
    if signature.namespace != NAMESPACE or signature.key not in keys:
        raise ProtocolError("the receipt is signed by another key, or as something else")
    if not verify(signature.key, NAMESPACE, signature.signature, message, signature.hash):
        raise ProtocolError("the receipt's signature does not fit what it says")
    if receipt.fingerprint != hashed(signature.key):
        raise ProtocolError("the receipt names another key than the one that signed it")
    return receipt


def _receipt(match: re.Match[str]) -> Receipt:
    name, fingerprint, order, signers, result, detail, hash_, length, time, line, link, volatile = (
        match.groups()
    )
    return Receipt(
        name,
        fingerprint,
        order,
        tuple(signers.split(" ")),
        result == "done",
        detail or "",
        Output(hash_, int(length)),
        time,
        int(line),
        link,
        volatile is not None,
    )
