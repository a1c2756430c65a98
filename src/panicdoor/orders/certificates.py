"""OpenSSH's certificates: a blob in, what it says out, and whether its authority signed it.

Taken is what `ssh-keygen -s` writes for people, and no more of it than can be judged here:
- of type user, with at least one name: one without names would be for everybody;
- without critical options: each of them limits it in a way that nobody here enforces;
- without anything in the reserved field, and without a byte left over.

Extensions say what an sshd may allow; nothing here asks for them.

Format: OpenSSH's PROTOCOL.certkeys.
"""

from dataclasses import dataclass
from typing import Final

from panicdoor.keys import ED25519, KINDS
from panicdoor.orders.signatures import verify
from panicdoor.orders.sshwire import Reader, string

SUFFIX: Final = "-cert-v01@openssh.com"
USER: Final = 1  # the type of a certificate for a person; 2 is for a host
NAMES_MAX: Final = 256  # OpenSSH's own limit

# What a public key has after its kind, in fields; in a certificate they follow the nonce.
FIELDS: Final = {
    ED25519: 1,
    "sk-ssh-ed25519@openssh.com": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
    "ssh-rsa": 2,
}
_OF: Final = {kind.removesuffix("@openssh.com") + SUFFIX: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. `after` and `before` are seconds since 1970, `before` excluded."""

    kind: str
    key: bytes
    serial: int
    id: bytes
    names: tuple[str, ...]
    after: int
    before: int
    authority: bytes
    signed: bytes
    signature: bytes

    def authentic(self) -> bool:
        """Return whether the key that it names as its authority has signed it."""
        try:
            algorithm = Reader(self.signature).text()
        except ValueError:
            return False
        return verify(self.authority, algorithm, self.signature, self.signed)


def plain(algorithm: str) -> str:
    """Return the algorithm that signs, of one that also says that the key is in a certificate.

    `""` for what says no such thing. RSA has names of its own there: RFC 8332, and OpenSSH's.
    """
    if not algorithm.endswith(SUFFIX):
        return ""
    return _OF.get(algorithm, algorithm.removesuffix(SUFFIX))


def parse(blob: bytes) -> Certificate | None:
    """Return what a certificate says; None for what is none, or not taken."""
    try:
        return _parse(Reader(blob), blob)
    except ValueError:
        return None


def _parse(reader: Reader, blob: bytes) -> Certificate:
    kind = _OF.get(reader.text())
    if kind is None:
        raise ValueError("expected a certificate of a known kind")
    reader.string()  # the nonce: it makes no two certificates alike
    key = string(kind.encode("ascii")) + b"".join(
        string(reader.string()) for _ in range(FIELDS[kind])
    )
    serial = reader.uint64()
    if reader.uint32() != USER:
        raise ValueError("expected a certificate for a user")
    id_, names = reader.string(), _names(reader.string())
    after, before = reader.uint64(), reader.uint64()
    options, _extensions, reserved = reader.string(), reader.string(), reader.string()
    if options or reserved:
        raise ValueError("critical options are not taken")
    authority, signature = reader.string(), reader.string()
    reader.end()
    signed = blob[: -len(string(signature))]
    return Certificate(kind, key, serial, id_, names, after, before, authority, signed, signature)


def _names(data: bytes) -> tuple[str, ...]:
    """Return the names a certificate is for."""
    found: list[str] = []
    reader = Reader(data)
    while not reader.ended:
        found.append(reader.text())
    if not 0 < len(found) <= NAMES_MAX:
        raise ValueError(f"expected 1 to {NAMES_MAX} names")
    return tuple(found)
