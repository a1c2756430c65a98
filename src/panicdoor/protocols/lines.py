"""The text protocol: what telnet, nc and a bare socket speak, and how orders are handed in.

A zero byte where a line would begin asks for the documentation; a line is a command (`words`);
the line `panicdoor order 1` begins an order, which is collected as it is, not judged, and handed
on at the end of each of its signatures. No prompt is ever printed: one before an ssh banner would
break ssh, and automata need none.

Requests are taken strictly in order. Only what interrupts is out of band, as TELNET has it: it
drops every line not yet taken, and takes back the request being answered.
"""

from enum import Enum
from typing import Final

from panicdoor.errors import CommandError, ProtocolError
from panicdoor.printable import escape
from panicdoor.protocols.base import WRITE_MAX, Part, Request
from panicdoor.protocols.telnet import ERASE, IAC, KILL, Codec, Kind
from panicdoor.words import LINE_MAX, parse

ORDER_MAX: Final = 8192  # bytes of a sealed order: the text and eight signatures
ORDER_LINE_MAX: Final = 160  # bytes; an order must show on a screen as it is

NUL, END_OF_TEXT, END_OF_TRANSMISSION = b"\0", 0x03, 0x04  # the last two: Ctrl-C and Ctrl-D
DELETE: Final = b"\x7f"

MEANINGLESS: Final = b" \t\n" + ERASE + DELETE + KILL  # where a line begins

LEAVE: Final = frozenset(("quit", "exit", "bye"))
ORDER: Final = b"panicdoor order 1"
SIGNATURE: Final = (b"-----BEGIN SSH SIGNATURE-----", b"sig: ")
SIGNED: Final = b"-----END SSH SIGNATURE-----"

# What a client that ends its input without a word is taken to have typed.
NOTHING_SENT: Final = b"doc\ndoc 2\n"

GOODBYE: Final = "Goodbye."
CANCELLED: Final = "Cancelled."
UNSIGNED: Final = "The order has no signature, or only half of one. Nothing was done."


class Stage(Enum):
    """What the next line is taken for."""

    NEW = "new"  # nothing came yet
    LINES = "lines"
    ORDER = "order"  # the middle of one
    SEALED = "sealed"  # after a signature: another one, or else a command
    CLOSED = "closed"


class Turn(Enum):
    """Whose turn it is."""

    IDLE = "idle"  # the client's
    READY = "ready"  # a request waits for the owner
    ANSWERING = "answering"
    INTERRUPTED = "interrupted"  # the client has taken it back, the owner does not know it
    CANCELLED = "cancelled"  # the owner knows it


class Event(Enum):
    """What passes the turn on."""

    MADE = "made"
    TAKEN = "taken"
    INTERRUPT = "interrupt"
    TOLD = "told"
    ENDED = "ended"


TURNS: Final[dict[tuple[Turn, Event], Turn]] = {
    (Turn.IDLE, Event.MADE): Turn.READY,
    (Turn.READY, Event.TAKEN): Turn.ANSWERING,
    (Turn.INTERRUPTED, Event.TOLD): Turn.CANCELLED,
    (Turn.ANSWERING, Event.ENDED): Turn.IDLE,
    (Turn.INTERRUPTED, Event.ENDED): Turn.IDLE,
    (Turn.CANCELLED, Event.ENDED): Turn.IDLE,
    (Turn.IDLE, Event.INTERRUPT): Turn.IDLE,
    (Turn.READY, Event.INTERRUPT): Turn.IDLE,
    (Turn.ANSWERING, Event.INTERRUPT): Turn.INTERRUPTED,
    (Turn.INTERRUPTED, Event.INTERRUPT): Turn.INTERRUPTED,
    (Turn.CANCELLED, Event.INTERRUPT): Turn.CANCELLED,
}

BUSY: Final = (Turn.ANSWERING, Turn.INTERRUPTED, Turn.CANCELLED)


class Lines:
    """One conversation in lines of text.

    `greeting` is written on silence, to a client that begins with TELNET, and before what a
    client gets that says nothing at all; never twice, and not if it was `greeted` before.
    """

    __slots__ = (
        "_codec",
        "_final",
        "_greeting",
        "_midline",
        "_order",
        "_out",
        "_request",
        "_stage",
        "_turn",
        "_waiting",
        "_zero",
    )

    def __init__(self, greeting: str, greeted: bool = False) -> None:
        self._codec = Codec()
        self._stage = Stage.NEW
        self._turn = Turn.IDLE
        self._greeting: str | None = None if greeted else greeting
        self._waiting = bytearray()  # decoded, not yet taken
        self._zero = False  # the last byte taken was a zero; those that follow mean nothing more
        self._order: bytearray | None = None
        self._request: Request | None = None
        self._final: str | None = None  # input has ended, and this is the last line to be said
        self._midline = False  # the answer being given still lacks its line end
        self._out = b""

    @property
    def closed(self) -> bool:
        """True when nothing more will be read: write what is left, then close."""
        return self._stage is Stage.CLOSED

    @property
    def hungry(self) -> bool:
        """False while more input would only be stored; a request being answered is no reason."""
        return (
            self._stage is not Stage.CLOSED
            and self._final is None
            and len(self._waiting) <= LINE_MAX
            and len(self._out) < WRITE_MAX
        )

    @property
    def opening(self) -> bool:
        """True while nothing was said on either side."""
        return self._stage is Stage.NEW and self._greeting is not None

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._final is not None:
            return
        if self._stage is Stage.NEW:
            self._stage = Stage.LINES
            if data[0] == IAC:
                self._greet()
        try:
            for kind, piece in self._codec.feed(data):
                if self._stage is Stage.CLOSED:
                    return
                if kind is Kind.REPLY:
                    self._reply(piece)
                elif kind is Kind.INTERRUPT:
                    self._interrupt()
                else:
                    self._keep(piece)
        except ProtocolError as error:
            self._finish(str(error))

    def receive_eof(self) -> None:
        """Answer what was asked for, then close; to a client that said nothing, explain."""
        if self._stage is Stage.NEW:
            self._stage = Stage.LINES
            self._greet()
            self._waiting += NOTHING_SENT
        self._finish("")

    def receive_silence(self) -> None:
        """Greet, if nothing was said on either side."""
        if self._stage is Stage.NEW:
            self._greet()

    def next_request(self) -> Request | None:
        """Return the next request, once."""
        if self._turn is not Turn.READY or len(self._out) >= WRITE_MAX:
            return None
        self._pass(Event.TAKEN)
        self._midline = True
        request, self._request = self._request, None
        return request

    def cancelled(self) -> bool:
        """Return True, once, when the request being answered was interrupted."""
        if self._turn is not Turn.INTERRUPTED:
            return False
        self._pass(Event.TOLD)
        return True

    def send(self, part: Part) -> None:
        """Take the next part of the answer; what follows a cancellation is not shown."""
        if self._stage is Stage.CLOSED:
            return
        if self._turn not in BUSY:
            raise RuntimeError("a part of an answer that nobody asked for")
        if self._turn is not Turn.CANCELLED:
            self._write(part.text)
        if part.end:
            if self._midline:
                self._write("\n")
            if self._turn is Turn.CANCELLED:
                self._say(CANCELLED)
            self._pass(Event.ENDED)
            self._advance()

    def data_to_send(self) -> bytes:
        """Return, once, the bytes to be written."""
        data, self._out = self._out, b""
        if data:
            self._advance()
        return data

    def _pass(self, event: Event) -> None:
        self._turn = TURNS[self._turn, event]

    def _write(self, text: str) -> None:
        if text:
            self._midline = not text.endswith("\n")
            self._out += encode(text)

    def _say(self, line: str) -> None:
        self._write(line + "\n")

    def _greet(self) -> None:
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            self._say(greeting.removesuffix("\n"))

    def _reply(self, reply: bytes) -> None:
        """Write what TELNET wants written; not for ever to a client that does not read."""
        if len(self._out) < 2 * WRITE_MAX:
            self._out += reply

    def _keep(self, piece: bytes) -> None:
        if self._turn in BUSY and END_OF_TEXT in piece:
            self._interrupt()
            piece = piece[piece.rindex(END_OF_TEXT) + 1 :]
        self._waiting += piece
        self._advance()

    def _interrupt(self) -> None:
        self._waiting.clear()
        self._zero = False
        self._order = self._request = None
        self._stage = Stage.LINES
        self._pass(Event.INTERRUPT)

    def _finish(self, final: str) -> None:
        """Take no more input; say `final` after everything that came before it."""
        if self._final is None:
            self._final = final
            self._advance()

    def _close(self, line: str) -> None:
        if line:
            self._say(line)
        self._stage = Stage.CLOSED
        self._order = self._request = None
        self._waiting.clear()

    def _request_is(self, request: Request) -> None:
        self._request = request
        self._pass(Event.MADE)

    def _advance(self) -> None:
        """Take lines until there is none, one makes a request, or enough waits to be written."""
        while self._turn is Turn.IDLE and self._stage is not Stage.CLOSED:
            if len(self._out) >= WRITE_MAX:
                return
            if self._take():
                continue
            if self._final is not None:
                half = self._stage is Stage.ORDER and not self._final
                self._close(UNSIGNED if half else self._final)
            return

    def _take(self) -> bool:
        """Take the next line, or what stands for one; False if there is none yet."""
        waiting = self._waiting
        if self._zero and waiting:
            waiting[:] = waiting.lstrip(NUL)
            self._zero = not waiting
        if self._stage is Stage.LINES and waiting[:1] in MEANINGLESS:
            # At once, not line by line: a flood of empty lines must not cost more than another.
            waiting[:] = waiting.lstrip(MEANINGLESS)
        if not waiting:
            return False
        if waiting[0] == END_OF_TRANSMISSION:
            self._close(GOODBYE)
            return True
        if waiting[:1] == NUL and self._stage is not Stage.ORDER:
            self._zero = True
            self._typed_nothing_but(("doc",))
            return True
        end = _first(waiting, b"\n\x03")
        if end > (ORDER_LINE_MAX if self._stage is Stage.ORDER else LINE_MAX):
            self._too_long()
            return True
        if end == len(waiting) and self._final != "":
            return False
        line, ending = bytes(waiting[:end]), waiting[end : end + 1]
        del waiting[: end + 1]
        if ending == b"\x03":
            self._forget(line)
        else:
            self._line(line)
        return True

    def _typed_nothing_but(self, words: tuple[str, ...]) -> None:
        del self._waiting[:1]
        self._order = None
        self._stage = Stage.LINES
        self._request_is(Request(words))

    def _too_long(self) -> None:
        limit = ORDER_LINE_MAX if self._stage is Stage.ORDER else LINE_MAX
        kind = "a line of an order" if self._stage is Stage.ORDER else "a line"
        self._close(f"Too long: {kind} may have {limit} characters.")

    def _forget(self, line: bytes) -> None:
        """Ctrl-C: forget the line or the order that was begun; with nothing begun, leave."""
        if line or self._stage is Stage.ORDER:
            self._order = None
            self._stage = Stage.LINES
        else:
            self._close(GOODBYE)

    def _line(self, line: bytes) -> None:
        if self._stage is Stage.SEALED and line.startswith(SIGNATURE):
            self._stage = Stage.ORDER
        if self._stage is Stage.ORDER:
            self._order_line(line)
            return
        typed = _edited(line).strip(b" \t")
        if typed == ORDER:
            self._order = bytearray(ORDER + b"\n")
            self._stage = Stage.ORDER
        elif typed:
            self._order = None
            self._stage = Stage.LINES
            self._command(typed.decode("latin-1"))

    def _order_line(self, line: bytes) -> None:
        order = self._order = self._order or bytearray()
        order += line + b"\n"
        if len(order) > ORDER_MAX:
            self._close(f"Too long: an order may have {ORDER_MAX} characters with its signatures.")
        elif line.rstrip() == SIGNED or line.startswith(b"sig: "):
            self._stage = Stage.SEALED
            self._request_is(Request(order=order.decode("latin-1")))

    def _command(self, line: str) -> None:
        try:
            words = parse(line)
        except CommandError as error:
            self._say(str(error))
            return
        if len(words) == 1 and words[0] in LEAVE:
            self._close(GOODBYE)
        elif words:
            self._request_is(Request(words))


def encode(text: str) -> bytes:
    """Return `text` as a terminal may be given it: escaped, and every line ends in CR LF."""
    return escape(text).replace("\n", "\r\n").encode("ascii")


def _first(data: bytearray, ends: bytes) -> int:
    """Return where the first of `ends` stands in `data`, or its length."""
    return min(at if (at := data.find(end)) >= 0 else len(data) for end in ends)


def _edited(line: bytes) -> bytes:
    """Return a typed line as it looked to whoever typed it, after erasing and killing."""
    if ERASE not in line and DELETE not in line and KILL not in line:
        return line
    left = bytearray()
    for byte in line.rpartition(KILL)[2]:
        if byte in ERASE + DELETE:
            del left[-1:]
        else:
            left.append(byte)
    return bytes(left)
