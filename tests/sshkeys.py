"""Keys and signatures as an ssh client makes them, without a client."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from panicdoor.orders.sshwire import mpint, string

CURVES: dict[str, tuple[Any, Any]] = {
    "nistp256": (ec.SECP256R1(), SHA256()),
    "nistp384": (ec.SECP384R1(), SHA384()),
    "nistp521": (ec.SECP521R1(), SHA512()),
}
HASHES: dict[str, Any] = {"ssh-rsa": SHA1(), "rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512()}


class Key:
    """A private key: its public blob, the algorithms it is used with, and how it signs."""

    def __init__(
        self, blob: bytes, algorithms: tuple[str, ...], bare: Callable[[bytes, str], bytes]
    ) -> None:
        self.blob = blob
        self.algorithm = algorithms[0]
        self.algorithms = algorithms
        self._bare = bare

    def sign(self, data: bytes, algorithm: str = "") -> bytes:
        """Return a signature blob."""
        algorithm = algorithm or self.algorithm
        return string(algorithm.encode()) + self._bare(data, algorithm)

    def line(self, kind: str = "") -> str:
        """The key as it stands in a .pub file."""
        kind = kind or self.blob[4 : 4 + self.blob[3]].decode()
        return f"{kind} {b64encode(self.blob).decode()}"


@dataclass(frozen=True)
class Exchange:
    """A key exchange: what was hashed, and the hash."""

    transcript: bytes
    hash: bytes


def exchange(
    host: bytes, challenge: str, client: object = "", *, digest: str = "sha256", version: str = ""
) -> Exchange:
    """Return the key exchange of one `client` with the host of this key (a blob)."""
    version = version or f"SSH-2.0-panicdoor {challenge}"
    parts = (
        b"SSH-2.0-client", version.encode(), b"\x14client", b"\x14server", host,
        f"ours {client}".encode(), b"theirs", b"shared",
    )  # fmt: skip
    transcript = b"".join(map(string, parts))
    return Exchange(transcript, hashlib.new(digest, transcript).digest())


def ed25519_key() -> Key:
    private = ed25519.Ed25519PrivateKey.generate()
    blob = string(b"ssh-ed25519") + string(private.public_key().public_bytes_raw())
    return Key(blob, ("ssh-ed25519",), lambda data, _: string(private.sign(data)))


def ecdsa_key(curve: str = "nistp256") -> Key:
    of, hash_ = CURVES[curve]
    private = ec.generate_private_key(of)
    name = f"ecdsa-sha2-{curve}".encode()
    blob = string(name) + string(curve.encode()) + string(_point(private))

    def bare(data: bytes, _: str) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hash_)))
        return string(mpint(r) + mpint(s))

    return Key(blob, (name.decode(),), bare)


def rsa_key(bits: int = 2048) -> Key:
    private = rsa.generate_private_key(65537, bits)
    numbers = private.public_key().public_numbers()
    blob = string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)

    def bare(data: bytes, algorithm: str) -> bytes:
        return string(private.sign(data, padding.PKCS1v15(), HASHES[algorithm]))

    return Key(blob, ("rsa-sha2-512", "rsa-sha2-256"), bare)


def sk_ed25519_key(flags: int = 1, application: bytes = b"ssh:") -> Key:
    private = ed25519.Ed25519PrivateKey.generate()
    kind = b"sk-ssh-ed25519@openssh.com"
    point = private.public_key().public_bytes_raw()
    blob = string(kind) + string(point) + string(application)

    def bare(data: bytes, _: str) -> bytes:
        tail = bytes([flags]) + (7).to_bytes(4, "big")
        return string(private.sign(_digest(application) + tail + _digest(data))) + tail

    return Key(blob, (kind.decode(),), bare)


def sk_ecdsa_key(flags: int = 1, application: bytes = b"ssh:") -> Key:
    private = ec.generate_private_key(ec.SECP256R1())
    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
    blob = string(kind) + string(b"nistp256") + string(_point(private)) + string(application)

    def bare(data: bytes, _: str) -> bytes:
        tail = bytes([flags]) + (7).to_bytes(4, "big")
        signed = private.sign(_digest(application) + tail + _digest(data), ec.ECDSA(SHA256()))
        r, s = decode_dss_signature(signed)
        return string(mpint(r) + mpint(s)) + tail

    return Key(blob, (kind.decode(),), bare)


def _point(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def certificate(
    key: Key,
    authority: Key,
    *,
    names: tuple[str, ...] = ("alice",),
    type: int = 1,
    serial: int = 0,
    id: bytes = b"",
    after: int = 0,
    before: int = 2**64 - 1,
    options: bytes = b"",
    reserved: bytes = b"",
    after_it: bytes = b"",
    signer: Key | None = None,
    algorithm: str = "",
) -> Key:
    """Return `key` in a certificate, each field as it is wanted (OpenSSH's PROTOCOL.certkeys)."""
    kind = key.blob[4 : 4 + key.blob[3]]
    name = kind.removesuffix(b"@openssh.com") + b"-cert-v01@openssh.com"
    signed = (
        string(name) + string(b"nonce") + key.blob[4 + len(kind) :] + serial.to_bytes(8, "big")
        + type.to_bytes(4, "big") + string(id) + string(b"".join(string(n.encode()) for n in names))
        + after.to_bytes(8, "big") + before.to_bytes(8, "big") + string(options) + string(b"")
        + string(reserved) + string(authority.blob)
    )  # fmt: skip
    blob = signed + string((signer or authority).sign(signed, algorithm)) + after_it
    return Key(blob, key.algorithms, key._bare)


# One maker for each kind of key that is taken.
MAKERS: dict[str, Callable[[], Key]] = {
    "ed25519": ed25519_key,
    "nistp256": ecdsa_key,
    "nistp384": lambda: ecdsa_key("nistp384"),
    "nistp521": lambda: ecdsa_key("nistp521"),
    "rsa": rsa_key,
    "sk-ed25519": sk_ed25519_key,
    "sk-ecdsa": sk_ecdsa_key,
}
