"""TLS around a conversation, without a socket: an SSLObject between two memory buffers.

Inside, the table of `detect` holds again, but for TLS and ssh, which are refused: one layer is
enough. Silence counts from the end of the handshake. TLS gives privacy here and no authority: the
certificate is the door's own, and nobody is asked for one.

Plaintext is encrypted when it is about to be written, and ciphertext is decrypted when what is
inside is hungry: neither is ever piled up. A transport that ends without a close_notify is taken
as the end of input: what may be done in here, anybody may do, so cutting it short gains nothing.
"""

import ssl
from collections.abc import Callable
from enum import Enum
from typing import Final

from panicdoor.protocols.base import READ_MAX, WRITE_MAX, Part, Protocol, Request
from panicdoor.protocols.detect import Refusal, Way, Where, refused, step
from panicdoor.protocols.detect import Stage as Undecided
from panicdoor.protocols.lines import encode

HANDSHAKE_MAX: Final = 16 * 1024  # bytes from the client; OpenSSL alone would keep 128 KiB

Choose = Callable[[Way, bool], Protocol]


class Stage(Enum):
    """How far the conversation is."""

    HANDSHAKE = "handshake"
    DECIDING = "deciding"  # what is spoken inside
    INSIDE = "inside"
    ENDING = "ending"  # the client's side has ended, ours not yet
    CLOSED = "closed"


def restrict(context: ssl.SSLContext) -> None:
    """Set what a door's context must not do. Once, before the first connection."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation costs its asker nothing, and compression has told secrets (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0  # nobody comes back soon enough to pay for them
    context.set_alpn_protocols(["http/1.1"])


class Tls:
    """One connection of a client that began with TLS.

    `choose(way, greeted)` makes the protocol inside, for LINES and HTTP; `greeting` is written
    on silence, before that is known.
    """

    __slots__ = (
        "_choose",
        "_eof",
        "_first",
        "_from_peer",
        "_greeting",
        "_inside",
        "_received",
        "_said",
        "_ssl",
        "_stage",
        "_to_peer",
        "_undecided",
    )

    def __init__(self, context: ssl.SSLContext, choose: Choose, greeting: str) -> None:
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._from_peer, self._to_peer, server_side=True)
        self._stage = Stage.HANDSHAKE
        self._undecided = Undecided.WAITING
        self._choose = choose
        self._greeting = greeting
        self._received = 0  # bytes, during the handshake
        self._first = b""  # plaintext that does not decide yet
        self._said = b""  # plaintext of ours from before there is an inside
        self._inside: Protocol | None = None
        self._eof = False  # of the transport

    @property
    def closed(self) -> bool:
        """True when nothing more will be read: write what is left, then close."""
        if self._inside is not None and self._inside.closed:
            return True
        return self._stage is Stage.CLOSED

    @property
    def hungry(self) -> bool:
        """False while more ciphertext would only be stored."""
        return not self._eof and self._wants()

    @property
    def opening(self) -> bool:
        """True while it is not known what is spoken inside."""
        return self._stage in (Stage.HANDSHAKE, Stage.DECIDING)

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of ciphertext."""
        if self.closed:
            return
        if self._stage is Stage.HANDSHAKE:
            self._received += len(data)
            if self._received > HANDSHAKE_MAX:
                self._stage = Stage.CLOSED
                return
        self._from_peer.write(data)
        self._pump()

    def receive_eof(self) -> None:
        """The transport has ended: so has what is inside, if its own end did not come first."""
        self._eof = True
        self._pump()

    def receive_silence(self) -> None:
        """Greet what says nothing inside; before the end of the handshake, nothing."""
        if self._stage is Stage.DECIDING:
            self._decide(silent=True)
        elif self._inside is not None:
            self._inside.receive_silence()

    def next_request(self) -> Request | None:
        """Return the next request from inside, once."""
        if self._inside is None or self._stage is Stage.CLOSED:
            return None
        return self._inside.next_request()

    def cancelled(self) -> bool:
        """Return True, once, when the request being answered was taken back."""
        return False if self._inside is None else self._inside.cancelled()

    def send(self, part: Part) -> None:
        """Take the next part of the answer."""
        if self._inside is not None and self._stage is not Stage.CLOSED:
            self._inside.send(part)
            self._pump()

    def data_to_send(self) -> bytes:
        """Return, once, the ciphertext to be written; the last one ends with close_notify."""
        if self._stage is not Stage.CLOSED:
            self._encrypt()
        data = self._to_peer.read()
        if data:
            self._pump()
        return data

    def _wants(self) -> bool:
        """Whether more plaintext can be taken."""
        if self._stage in (Stage.ENDING, Stage.CLOSED) or self._to_peer.pending >= WRITE_MAX:
            return False
        return self._inside is None or self._inside.hungry

    def _pump(self) -> None:
        """Decrypt what has come, as far as the inside can take it."""
        try:
            if self._stage is Stage.HANDSHAKE:
                self._ssl.do_handshake()
                self._stage = Stage.DECIDING
            while self._wants():
                if data := self._ssl.read(READ_MAX):
                    self._deliver(data)
                else:
                    self._end()
        except ssl.SSLWantReadError:
            if self._eof:
                self._end()
        except ssl.SSLZeroReturnError:
            self._end()
        except OSError:
            # A bad record, or whatever else OpenSSL complains of: it has written its alert.
            self._stage = Stage.CLOSED

    def _encrypt(self) -> None:
        try:
            self._write(self._said)
            self._said = b""
            if self._inside is not None:
                self._write(self._inside.data_to_send())
                if self._inside.closed:
                    self._stage = Stage.CLOSED
                    self._ssl.unwrap()
        except ssl.SSLWantReadError:
            pass  # the other side's close_notify, which nobody waits for
        except OSError:
            self._stage = Stage.CLOSED

    def _write(self, data: bytes) -> None:
        for at in range(0, len(data), WRITE_MAX):
            self._ssl.write(data[at : at + WRITE_MAX])

    def _deliver(self, data: bytes) -> None:
        if self._inside is not None:
            self._inside.receive_data(data)
            return
        self._first += data
        self._decide()

    def _end(self) -> None:
        """The client's side has ended: say so inside, or give up where there is no inside."""
        if self._stage is Stage.HANDSHAKE:
            self._stage = Stage.CLOSED
            return
        if self._stage is Stage.DECIDING:
            self._decide(eof=True)
        self._stage = Stage.ENDING
        if self._inside is not None:
            self._inside.receive_eof()

    def _decide(self, eof: bool = False, silent: bool = False) -> None:
        """Greet or choose the inside, as the table of `detect` says."""
        self._undecided, greet, way = step(self._undecided, self._first, eof, silent)
        if greet:
            self._said = encode(self._greeting.removesuffix("\n") + "\n")
        if way is None:
            return
        line = refused(way, Where.INSIDE)
        greeted = self._undecided is Undecided.GREETED
        self._inside = Refusal(line) if line else self._choose(way, greeted)
        self._stage = Stage.INSIDE
        first, self._first = self._first, b""
        if first:
            self._inside.receive_data(first)
