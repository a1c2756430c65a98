"""The contract of every protocol, and the three values that cross it.

A protocol does no I/O and knows no clock. Whoever owns the socket feeds it bytes, takes at most
one request at a time from it, hands it the parts of the answer, and writes what it wants written:

    receive_data / receive_eof / receive_silence  ->  next_request  ->  send ...  ->  data_to_send

Rules that hold for all of them, and that tests/protocols/test_contract.py checks:
- any cut of the incoming bytes means the same;
- no bytes raise anything: what a peer does wrong is answered with one short line, then `closed`;
- what is kept for a peer is bounded, whatever it sends and however slowly it reads.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol as TypingProtocol


class Form(Enum):
    """How an answer is to be written."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for: a command as words, or the text of an order."""

    words: tuple[str, ...] = ()
    form: Form = Form.TEXT
    order: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer. `code` counts in the last one: 0 done, 1 refused or failed, 2 usage."""

    text: str
    end: bool = False
    code: int = 0


class Protocol(TypingProtocol):
    """One conversation with one client."""

    @property
    def closed(self) -> bool:
        """True when nothing more will be read: write what is left, then close."""

    @property
    def hungry(self) -> bool:
        """False while more input would only be stored: leave it in the kernel until then."""

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; never empty, never after `receive_eof`."""

    def receive_eof(self) -> None:
        """The client has sent its last byte. It may still read."""

    def receive_silence(self) -> None:
        """The client has been silent for as long as a client that speaks first would not be."""

    def next_request(self) -> Request | None:
        """Return the next request, once; None while there is none or one is being answered."""

    def send(self, part: Part) -> None:
        """Take the next part of the answer to the request being answered."""

    def data_to_send(self) -> bytes:
        """Return, once, the bytes to be written."""
