"""The keys a door and its signers have: bytes in, values out.

Rules:
- a key that is not exactly what is asked for is refused with one sentence, which never repeats
  what was in the file: it may have been a private key;
- nothing here reads a file, a clock or a name service.

Formats: OpenSSH's PROTOCOL.key (private keys), sshd(8) AUTHORIZED_KEYS FILE FORMAT and RFC 4253
section 6.6 (public keys).
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from panicdoor.errors import ConfigError

FILE_MAX: Final = 32 * 1024  # bytes; the largest key of 16384 bits has half of that
RSA_MIN: Final = 2048  # bits; what is shorter is within reach of those who are paid for it

ED25519: Final = "ssh-ed25519"
KINDS: Final = (
    ED25519,
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)

_OPENSSH: Final = (b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as OpenSSH writes it. `comment` is printable ASCII, or empty."""

    kind: str
    blob: bytes
    comment: str = ""

    @property
    def line(self) -> str:
        """The line of a .pub file, without line feed."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()

    @property
    def fingerprint(self) -> str:
        """What `ssh-keygen -l` prints: SHA256: and the hash of the blob in base64, unpadded."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def generate_identity(comment: str = "panicdoor") -> tuple[bytes, str]:
    """Return a new ed25519 key: the OpenSSH private file, and the line of its .pub with LF."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, PublicKey(ED25519, _blob(key), comment).line + "\n"


def identity_from(data: bytes, file: str = "identity") -> Ed25519PrivateKey:
    """Return the key in `data`, the contents of an OpenSSH private key file.

    Raises ConfigError, naming `file`, unless it is exactly one ed25519 key without passphrase.
    """
    _check_bytes(data, file, "an OpenSSH private key")
    text = data.strip()
    if text.startswith(tuple(kind.encode() + b" " for kind in KINDS)):
        raise ConfigError(f"{file}: expected the private key, got a public one")
    if not text.startswith(_OPENSSH[0]):
        if text.startswith(b"-----BEGIN "):
            raise ConfigError(f"{file}: expected a private key in OpenSSH's own format")
        raise ConfigError(f"{file}: expected an OpenSSH private key")
    if not text.endswith(_OPENSSH[1]) or text.count(b"-----BEGIN") > 1:
        raise ConfigError(f"{file}: expected one whole OpenSSH private key and nothing after it")
    try:
        key = load_ssh_private_key(text, None)
    except TypeError:
        raise ConfigError(
            f"{file}: expected a key without passphrase: nobody is there to type it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{file}: expected an OpenSSH private key, this one is damaged") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: expected an ed25519 key, got another kind")
    return key


def check_pair(
    identity: Ed25519PrivateKey,
    public: bytes | str,
    file: str = "identity.pub",
    private: str = "identity",
) -> None:
    """Raise ConfigError, naming both files, unless the line `public` is of the key `identity`."""
    if parse_public_key(public, file).blob != _blob(identity):
        raise ConfigError(
            f"{file}: expected the public half of {private}: ssh-keygen -y -f {private} prints it"
        )


def fingerprint(public: bytes | str, file: str = "identity.pub") -> str:
    """Return the fingerprint of a public key line, as `ssh-keygen -l` prints it."""
    return parse_public_key(public, file).fingerprint


def parse_public_key(data: bytes | str, file: str) -> PublicKey:
    """Return the one key in `data`, the contents of a .pub file.

    Raises ConfigError, naming `file`, for anything but one line of one of KINDS: certificates, DSA,
    RSA below RSA_MIN bits, options before the key, and private keys above all.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "backslashreplace")
    _check_bytes(data, file, "a line such as ssh-ed25519 AAAA...")
    text = data.decode("utf-8", "replace")
    if "PRIVATE KEY-----" in text or text.startswith("PuTTY-User-Key-File"):
        raise ConfigError(
            f"{file}: expected a public key, got a private one: keep that where it is"
        )
    if text.startswith("---- BEGIN SSH2 PUBLIC KEY"):
        raise ConfigError(f"{file}: expected OpenSSH's format: ssh-keygen -i -f FILE converts it")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise ConfigError(f"{file}: expected one public key, got {len(lines)} lines")
    kind, encoded, comment = ([*lines[0].split(None, 2), "", "", ""])[:3]
    if kind.endswith("-cert-v01@openssh.com"):
        raise ConfigError(f"{file}: expected a plain public key, got a certificate")
    if kind == "ssh-dss":
        raise ConfigError(f"{file}: expected another kind of key: DSA is too weak")
    if kind not in KINDS:
        raise ConfigError(f"{file}: expected a line that begins with one of {', '.join(KINDS)}")
    return PublicKey(kind, _checked_blob(kind, encoded, file), _comment(comment))


def check_tls(pem: bytes, file: str = "tls.pem") -> None:
    """Raise ConfigError, naming `file`, unless `pem` has one key for TLS and a certificate in it.

    The key is ECDSA (P-256, P-384, P-521) or RSA of RSA_MIN bits, without passphrase. Whether
    the certificate is whole, and this key's, is for the TLS library to say that will use them.
    """
    _check_bytes(pem, file, "a private key and a certificate in PEM")
    keys = re.findall(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----", pem)
    if len(keys) != 1:
        raise ConfigError(f"{file}: expected one PRIVATE KEY block, got {len(keys)}")
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError(f"{file}: expected a CERTIFICATE block beside the key, got none")
    if keys == [b"OPENSSH "]:
        raise ConfigError(f"{file}: expected a TLS key, got an OpenSSH one")
    if keys == [b"ENCRYPTED "] or b"Proc-Type: 4,ENCRYPTED" in pem:
        raise ConfigError(f"{file}: expected a key without passphrase: nobody is there to type it")
    try:
        key = load_pem_private_key(_key_block(pem), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{file}: expected a private key, this one is damaged") from None
    if not isinstance(key, (EllipticCurvePrivateKey, RSAPrivateKey)):
        raise ConfigError(f"{file}: expected an ECDSA or RSA key: browsers take no other")
    if isinstance(key, RSAPrivateKey) and key.key_size < RSA_MIN:
        raise ConfigError(f"{file}: expected RSA of {RSA_MIN} bits, got {key.key_size}")


def _check_bytes(data: bytes, file: str, expected: str) -> None:
    """Raise ConfigError for what no key file of any kind has in it."""
    if not data.strip():
        raise ConfigError(f"{file}: expected {expected}, the file is empty")
    if len(data) > FILE_MAX:
        raise ConfigError(f"{file}: expected {expected}, at most {FILE_MAX} bytes")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{file}: expected {expected}, not behind a byte order mark")
    if b"\0" in data:
        raise ConfigError(f"{file}: expected {expected}, there are NUL bytes in it")


def _blob(key: Ed25519PrivateKey) -> bytes:
    """Return the public half of `key` in the form of RFC 8709 section 4."""
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _checked_blob(kind: str, encoded: str, file: str) -> bytes:
    """Return the decoded second word of a public key line whose first is `kind`."""
    try:
        blob = base64.b64decode(encoded, validate=True)
        # Only one spelling: base64 has several for the same bytes, and lists compare lines.
        whole = base64.b64encode(blob).decode() == encoded
        key = load_ssh_public_key(f"{kind} {encoded}".encode()) if whole else None
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise ConfigError(f"{file}: expected a whole {kind} key, this one is damaged")
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_MIN:
        raise ConfigError(f"{file}: expected RSA of {RSA_MIN} bits, got {key.key_size}")
    return blob


def _comment(text: str) -> str:
    """Return a comment that may stand in a file of printable ASCII, or none."""
    return text.strip() if text.isascii() and text.isprintable() else ""


def _key_block(pem: bytes) -> bytes:
    """Return the one private key block of `pem`."""
    match = re.search(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [^\n]*", pem, re.S)
    return match[0] if match else b""
