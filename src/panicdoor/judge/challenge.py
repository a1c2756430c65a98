"""Challenges: what makes an order fresh without a clock, a disk or a table of what was given out.

    challenge = base32(low 16 bits of the minute, 24-bit nonce, first 10 bytes of the MAC)
    MAC       = HMAC-SHA256(secret, "challenge" minute nonce scope)

The MAC covers the whole minute, 64 bits big-endian, so no challenge is good again when the low
bits come round. The secret dies with the process, and every challenge with it. Time and
randomness are arguments.
"""

import hmac
from base64 import b32encode
from typing import Final

SECRET_SIZE: Final = 32  # bytes, as the hash has
NONCE_SIZE: Final = 3  # bytes; enough that those given out in one minute differ
MAC_SIZE: Final = 10  # bytes; 80 bits, to be guessed online within its 15 minutes
GROUP: Final = 4  # characters between hyphens, as people read them aloud
MINUTE: Final = 60  # seconds
START_MAX: Final = 2**63  # seconds; the minute stays in 64 bits for longer than any host lives


class Challenges:
    """The challenges of one process.

    `secret` is SECRET_SIZE random bytes. `start` is a random count of seconds below START_MAX,
    to which the time since boot is added: neither the minute nor the moment at which it changes
    tells how long the host has been up. Raises ValueError for other sizes.
    """

    def __init__(self, secret: bytes, start: int) -> None:
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"the secret has {len(secret)} bytes, not {SECRET_SIZE}")
        if not 0 <= start < START_MAX:
            raise ValueError(f"the start is not below {START_MAX}")
        self._secret = secret
        self._start = start

    def mint(self, now: float, nonce: bytes, scope: bytes) -> str:
        """Return a challenge of this minute, 24 characters in six groups.

        `now` is seconds of CLOCK_BOOTTIME, `nonce` NONCE_SIZE fresh random bytes (ValueError for
        another size), `scope` the ASCII of the client's prefix over udp and empty over tcp.
        """
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"the nonce has {len(nonce)} bytes, not {NONCE_SIZE}")
        minute = ((self._start + int(now)) // MINUTE).to_bytes(8, "big")
        mac = hmac.digest(self._secret, b"challenge" + minute + nonce + scope, "sha256")
        text = b32encode(minute[-2:] + nonce + mac[:MAC_SIZE]).decode("ascii").lower()
        return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))
