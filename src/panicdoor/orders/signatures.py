"""Signatures of ssh keys: is this one of that key, over these bytes?

Stricter than ssh is elsewhere: an algorithm fits its key and nothing else, RSA is signed with
SHA-2, a key in a token must have been touched, and no byte is left over anywhere. Whatever is
wrong is the same answer, False.

Formats: RFC 4253 section 6.6, RFC 5656 (ecdsa), RFC 8332 (rsa-sha2), RFC 8709 (ed25519) and
OpenSSH's PROTOCOL.u2f (sk).
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from panicdoor.keys import ED25519, RSA_MIN
from panicdoor.orders.sshwire import Reader

RSA_MAX: Final = 16384  # bits: OpenSSH makes no larger ones, and each doubling costs four times
TOUCHED: Final = 0x01  # flag of a token: somebody was there
VERIFIED: Final = 0x04  # flag of a token: and gave its PIN, or a finger that it knows

SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_ECDSA: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
ECDSA: Final[dict[str, tuple[ec.EllipticCurve, HashAlgorithm]]] = {
    "ecdsa-sha2-nistp256": (ec.SECP256R1(), SHA256()),
    "ecdsa-sha2-nistp384": (ec.SECP384R1(), SHA384()),
    "ecdsa-sha2-nistp521": (ec.SECP521R1(), SHA512()),
}
RSA: Final[dict[str, HashAlgorithm]] = {"rsa-sha2-256": SHA256(), "rsa-sha2-512": SHA512()}

# The kind of key that each algorithm signs with; what is not here is refused.
ALGORITHMS: Final[dict[str, str]] = {
    ED25519: ED25519,
    SK_ED25519: SK_ED25519,
    SK_ECDSA: SK_ECDSA,
    **{name: name for name in ECDSA},
    **dict.fromkeys(RSA, "ssh-rsa"),
}


def fits(algorithm: str, key: bytes) -> bool:
    """Return whether the public key (a blob) is of the kind that `algorithm` signs with."""
    kind = ALGORITHMS.get(algorithm)
    return kind is not None and key.startswith(len(kind).to_bytes(4, "big") + kind.encode())


def verify(key: bytes, algorithm: str, signature: bytes, data: bytes, pin: bool = False) -> bool:
    """Return whether `signature` (a blob) is one over `data`, of that algorithm and that key.

    With `pin`, a token must have verified who holds it; it means nothing to other keys. A token's
    counter is part of what it signs; any value is taken, since some tokens never count.
    """
    if not fits(algorithm, key):
        return False
    try:
        reader = Reader(signature)
        if reader.text() != algorithm:
            return False
        signed = reader.string()
        if algorithm in (SK_ED25519, SK_ECDSA):
            flags = reader.take(1)
            counter = reader.take(4)
            reader.end()
            wanted = TOUCHED | VERIFIED if pin else TOUCHED
            if flags[0] & wanted != wanted:
                return False
            public = Reader(key)
            application = _application(public)
            data = _digest(application) + flags + counter + _digest(data)
        else:
            reader.end()
        _check(key, algorithm, signed, data)
    except (ValueError, InvalidSignature):
        return False
    return True


def _check(key: bytes, algorithm: str, signed: bytes, data: bytes) -> None:
    """Raise InvalidSignature or ValueError unless the bare signature is right."""
    public = Reader(key)
    kind = public.text()
    if algorithm in RSA:
        e, n = public.mpint(), public.mpint()
        public.end()
        size = (n.bit_length() + 7) // 8
        if not RSA_MIN <= n.bit_length() <= RSA_MAX or len(signed) > size:
            raise ValueError("RSA of that size is not taken")
        # Signers may leave out zeros in front, which OpenSSH puts back.
        rsa.RSAPublicNumbers(e, n).public_key().verify(
            signed.rjust(size, b"\0"), data, padding.PKCS1v15(), RSA[algorithm]
        )
    elif kind in (ED25519, SK_ED25519):
        point = public.string()
        _end_of_key(public, kind)
        ed25519.Ed25519PublicKey.from_public_bytes(point).verify(signed, data)
    else:
        curve, hash_ = ECDSA["ecdsa-sha2-nistp256" if kind == SK_ECDSA else kind]
        named, point = public.text(), public.string()
        _end_of_key(public, kind)
        if named != kind.removesuffix("@openssh.com").rpartition("-")[2]:
            raise ValueError("the curve is another")
        numbers = Reader(signed)
        r, s = numbers.mpint(), numbers.mpint()
        numbers.end()
        found = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        found.verify(encode_dss_signature(r, s), data, ec.ECDSA(hash_))


def _application(public: Reader) -> bytes:
    """Return the last field of a token's public key: who may use it, `ssh:...`."""
    if public.text() == SK_ECDSA:
        public.string()
    public.string()
    return public.string()


def _end_of_key(public: Reader, kind: str) -> None:
    if kind in (SK_ED25519, SK_ECDSA) and not public.string().startswith(b"ssh:"):
        raise ValueError("the token's key is for something else")
    public.end()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
