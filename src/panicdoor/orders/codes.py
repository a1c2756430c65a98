"""Paper codes: one-time keys that are printed and never sent. Randomness is an argument.

A code has 26 characters of Crockford's base32, 130 bits, so guessing is hopeless and no slow hash
is needed. Its characters, as they are printed, are the key of an HMAC-SHA256 over the text of an
order (RFC 2104):

    openssl dgst -sha256 -hmac CODE -binary o.txt | base64

Whose a code is, and whether it is spent, is kept elsewhere. It must be kept itself, since both
sides make the MAC with it.
"""

import hmac
import re
from typing import Final

from panicdoor.errors import OrderError

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 26  # characters: 130 bits
GROUP: Final = 5  # characters that are printed together; blanks and hyphens mean nothing
TYPED_MAX: Final = 80  # characters of a typed code with everything between

_LOOKALIKES: Final = str.maketrans("oil", "011")
_CODE: Final = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def make(random: bytes) -> str:
    """Return a code of LENGTH fresh random bytes. Raises ValueError for another number of them."""
    if len(random) != LENGTH:
        raise ValueError(f"a code is made of {LENGTH} random bytes")
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in random)


def printed(code: str) -> str:
    """Return a code in groups, as it stands on paper."""
    return " ".join(code[at : at + GROUP] for at in range(0, LENGTH, GROUP))


def typed(text: str) -> str:
    """Return the code that somebody typed: in any case, in groups or not, o for 0, i and l for 1.

    Raises OrderError, which never repeats it, for what cannot be one.
    """
    code = text.lower().replace(" ", "").replace("-", "").translate(_LOOKALIKES)
    if len(text) > TYPED_MAX or not _CODE.fullmatch(code):
        raise OrderError(f"a code has {LENGTH} letters and digits")
    return code


def mac(code: str, text: str) -> bytes:
    """Return the MAC of an order's canonical text."""
    return hmac.digest(code.encode("ascii"), text.encode("ascii"), "sha256")


def fits(code: str, text: str, found: bytes) -> bool:
    """Return whether `found` is the MAC of that text, in a time that does not tell how near."""
    return hmac.compare_digest(mac(code, text), found)


def same(code: str, other: str) -> bool:
    """Return whether two codes are the same, in a time that does not tell how near."""
    return hmac.compare_digest(code.encode("ascii"), other.encode("ascii"))
