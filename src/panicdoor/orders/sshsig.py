"""SSHSIG, the signatures of `ssh-keygen -Y sign`: bytes and armor, both ways, without I/O.

One spelling of everything: the version is 1, the reserved field empty, the hash sha256 or sha512,
no byte is left over, and base64 has its padding and no bits beside. Where ssh-keygen reads more
than it writes, this reads only what it writes, and armor in lines of another width.

Format: OpenSSH's PROTOCOL.sshsig.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor.errors import OrderError
from panicdoor.keys import ED25519
from panicdoor.orders import signatures
from panicdoor.orders.sshwire import Reader, string

MAGIC: Final = b"SSHSIG"
VERSION: Final = 1
HASH: Final = "sha512"  # what ssh-keygen takes, and what is meant where no name can be said
HASHES: Final[dict[str, Callable[[bytes], Any]]] = {
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}

BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
END: Final = "-----END SSH SIGNATURE-----"
ARMOR_LINE: Final = 70  # characters of base64 in a line, as ssh-keygen writes them
ARMOR_LINE_MAX: Final = 76  # what others write, from MIME (RFC 2045 section 6.8)

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature with what it says of itself: nothing of it is proved yet.

    `key` is the blob of a public key or of a certificate, `signature` the blob inside.
    """

    key: bytes
    namespace: str
    hash: str
    signature: bytes


def parse(blob: bytes) -> SshSignature:
    """Return what `blob`, which was in the armor, says. Raises OrderError."""
    reader = Reader(blob)
    try:
        magic, version = reader.take(len(MAGIC)), reader.uint32()
        key, namespace, reserved = reader.string(), reader.text(), reader.string()
        hash_, signature = reader.text(), reader.string()
        reader.end()
    except ValueError:
        raise OrderError("the signature is damaged") from None
    if magic != MAGIC or version != VERSION or reserved:
        raise OrderError("the signature is not one of ssh-keygen -Y sign")
    if hash_ not in HASHES:
        raise OrderError("the signature's hash is neither sha256 nor sha512")
    return SshSignature(key, namespace, hash_, signature)


def pack(signature: SshSignature) -> bytes:
    """Return the blob that `parse` reads."""
    return (
        MAGIC
        + VERSION.to_bytes(4, "big")
        + string(signature.key)
        + string(signature.namespace.encode("ascii"))
        + string(b"")
        + string(signature.hash.encode("ascii"))
        + string(signature.signature)
    )


def armor(blob: bytes) -> str:
    """Return the lines of a .sig file, each with its LF."""
    text = base64.b64encode(blob).decode("ascii")
    lines = [text[at : at + ARMOR_LINE] for at in range(0, len(text), ARMOR_LINE)]
    return "\n".join([BEGIN, *lines, END, ""])


def dearmor(lines: Sequence[str]) -> bytes:
    """Return the blob in the lines from BEGIN to END, both included, without line ends.

    Raises OrderError unless every line between them has 1 to ARMOR_LINE_MAX characters of base64.
    """
    between = lines[1:-1]
    if not between or lines[0] != BEGIN or lines[-1] != END:
        raise OrderError("the signature's armor is not whole")
    if not all(0 < len(line) <= ARMOR_LINE_MAX for line in between):
        raise OrderError(f"a line of a signature's armor has 1 to {ARMOR_LINE_MAX} characters")
    return unbase64("".join(between))


def unbase64(text: str) -> bytes:
    """Return the bytes that have this one spelling (RFC 4648 section 4). Raises OrderError."""
    try:
        data = base64.b64decode(text, validate=True) if _BASE64.fullmatch(text) else b""
    except ValueError:
        data = b""
    if not data or base64.b64encode(data).decode("ascii") != text:
        raise OrderError("the base64 of a signature is damaged")
    return data


def signed_data(namespace: str, message: bytes, hash_: str = HASH) -> bytes:
    """Return the bytes that a key signs for `message`. `hash_` is one of HASHES."""
    return (
        MAGIC
        + string(namespace.encode("ascii"))
        + string(b"")
        + string(hash_.encode("ascii"))
        + string(HASHES[hash_](message).digest())
    )


def verify(
    key: bytes,
    namespace: str,
    signature: bytes,
    message: bytes,
    hash_: str = HASH,
    pin: bool = False,
) -> bool:
    """Return whether `signature` (the blob inside) is one of that key over `message`.

    `key` is the blob of a plain public key. With `pin`, a key in a token must have asked for its
    PIN or a finger.
    """
    try:
        algorithm = Reader(signature).text()
    except ValueError:
        return False
    data = signed_data(namespace, message, hash_)
    return signatures.verify(key, algorithm, signature, data, pin)


def sign(identity: Ed25519PrivateKey, namespace: str, message: bytes) -> str:
    """Return the armored signature of the door's key, as ssh-keygen would make it."""
    kind = string(ED25519.encode("ascii"))
    key = kind + string(identity.public_key().public_bytes_raw())
    signed = kind + string(identity.sign(signed_data(namespace, message)))
    return armor(pack(SshSignature(key, namespace, HASH, signed)))
