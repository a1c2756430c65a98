"""The contract of every protocol, and the three values that cross it.

A protocol does no I/O and knows no clock. Whoever owns the socket feeds it bytes, takes at most
one request at a time from it, hands it the parts of the answer, and writes what it wants written:

    receive_data / receive_eof / receive_silence  ->  next_request  ->  send ...  ->  data_to_send

Rules that hold for all of them, and that tests/protocols/test_contract.py checks:
- any cut of the incoming bytes means the same;
- no bytes raise anything: what a peer does wrong is answered with one short line, then `closed`;
- what is kept for a peer is bounded, whatever it sends and however slowly it reads.

The owner's side of it: read only while `hungry`, at most READ_MAX bytes at a time; after each
`receive_...`, each last part and each `data_to_send` that returned something, look at `cancelled`,
`next_request` and `data_to_send` again, for room for one thing may have let the next one in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final
from typing import Protocol as TypingProtocol

from panicdoor.errors import CommandError

READ_MAX: Final = 4096  # bytes a protocol takes at once; more would keep the others waiting
WRITE_MAX: Final = 4096  # bytes waiting to be written, beyond which a protocol takes up nothing new


class Form(Enum):
    """How an answer is to be written."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for: a command as words, the text of an order, or all there is to read.

    With neither words nor order it is the whole documentation, for those who have no screen of
    24 lines.
    """

    words: tuple[str, ...] = ()
    form: Form = Form.TEXT
    order: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer. `code` counts in the last one: 0 done, 1 refused or failed, 2 usage.

    `top` says that a round of a watch begins with it: a screen is drawn anew.
    """

    text: str
    end: bool = False
    code: int = 0
    top: bool = False


class Protocol(TypingProtocol):
    """One conversation with one client."""

    @property
    def closed(self) -> bool:
        """True when nothing more will be read: write what is left, then close."""

    @property
    def hungry(self) -> bool:
        """False while more input would only be stored: leave it in the kernel until then."""

    @property
    def opening(self) -> bool:
        """True while it is not known what the client speaks: its silence is then told early."""

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes; 1 to READ_MAX of them, never after `receive_eof`."""

    def receive_eof(self) -> None:
        """The client has sent its last byte. It may still read."""

    def receive_silence(self) -> None:
        """Nothing has come since the last byte, for too long.

        While `opening`, that is as long as a client that speaks first would not be silent; later,
        as long as a client may be idle. May be told again and again.
        """

    def next_request(self) -> Request | None:
        """Return the next request, once.

        None while there is none, while one is being answered, and while WRITE_MAX bytes or more
        wait to be written.
        """

    def cancelled(self) -> bool:
        """Return True, once, when the client has taken back the request being answered.

        The work behind it is to be stopped; a last part must still be sent, and ends it.
        """

    def send(self, part: Part) -> None:
        """Take the next part of the answer to the request being answered; ignored once `closed`."""

    def data_to_send(self) -> bytes:
        """Return, once, the bytes to be written."""


def parts_of(texts: Iterator[str]) -> Iterator[Part]:
    """Return a command's texts as parts, the last one marked; a CommandError becomes the last."""
    last = ""
    try:
        for text in texts:
            if last:
                yield Part(last)
            last = text
    except CommandError as error:
        yield Part(f"{last}{error}\n", end=True, code=1)
    else:
        yield Part(last, end=True)
