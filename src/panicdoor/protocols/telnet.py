"""TELNET (RFC 854, 855) as far as saying no goes: bytes from the wire become text and signals.

Every option is refused, each time it is offered or asked for, and nothing is ever asked for: with
no request of ours outstanding, and no option ever on, RFC 1143 asks for no more. The first IAC is
therefore always the client's. Subnegotiations are skipped, without keeping a byte of them.

Whatever a client ends its lines with (CR LF, CR NUL, CR or LF) becomes one LF. The editing
functions EC and EL become the characters that a terminal without TELNET would send for them.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

from panicdoor.errors import ProtocolError

SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, SB, WILL, WONT, DO, DONT, IAC = range(240, 256)

ERASE: Final = b"\b"
KILL: Final = b"\x15"  # what stty calls `kill`: forget this line

COMMANDS_MAX: Final = 2000  # a session; real clients send under 30, and each costs us an answer
SUBNEGOTIATION_MAX: Final = 512  # bytes; the longest in use, an environment, is not wanted here

PRESENT: Final = b"\r\n[panicdoor is here]\r\n"


class Kind(Enum):
    """What a piece of the decoded stream is."""

    DATA = "data"
    REPLY = "reply"  # to be written, as it is
    INTERRUPT = "interrupt"


Piece = tuple[Kind, bytes]


class State(Enum):
    """Where in the grammar the next byte stands."""

    DATA = "data"
    COMMAND = "command"  # after IAC
    OPTION = "option"  # after IAC WILL, and its like
    SUBNEGOTIATION = "subnegotiation"  # after IAC SB
    SUBCOMMAND = "subcommand"  # after IAC in there


NEGOTIATION: Final[dict[int, int | None]] = {WILL: DONT, DO: WONT, WONT: None, DONT: None}

FUNCTIONS: Final[dict[int, Piece]] = {
    AYT: (Kind.REPLY, PRESENT),
    IP: (Kind.INTERRUPT, b""),
    BRK: (Kind.INTERRUPT, b""),
    EC: (Kind.DATA, ERASE),
    EL: (Kind.DATA, KILL),
}


class Codec:
    """The receiving side of one TELNET connection."""

    __slots__ = ("_after_cr", "_commands", "_skipped", "_state", "_verb")

    def __init__(self) -> None:
        self._state = State.DATA
        self._verb = 0
        self._commands = 0
        self._skipped = 0
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what `data` means, in order; the iterator must be exhausted.

        Raises ProtocolError, after everything before it was yielded, for a session with more than
        COMMANDS_MAX commands or a subnegotiation of more than SUBNEGOTIATION_MAX bytes.
        """
        at = 0
        while at < len(data):
            if self._state is State.DATA:
                end = _find_iac(data, at)
                if end > at and (text := self._lines(data[at:end])):
                    yield Kind.DATA, text
                if end < len(data):
                    self._state = State.COMMAND
                at = end + 1
            elif self._state is State.SUBNEGOTIATION:
                end = _find_iac(data, at)
                self._skip(end - at)
                if end < len(data):
                    self._state = State.SUBCOMMAND
                at = end + 1
            else:
                if piece := self._byte(data[at]):
                    yield piece
                at += 1

    def _byte(self, byte: int) -> Piece | None:
        state, self._state = self._state, State.DATA
        if state is State.OPTION:
            answer = NEGOTIATION[self._verb]
            return None if answer is None else (Kind.REPLY, bytes((IAC, answer, byte)))
        if state is State.SUBCOMMAND:
            if byte != SE:
                self._state = State.SUBNEGOTIATION
                self._skip(1)
            return None
        if byte == IAC:
            self._after_cr = False
            return Kind.DATA, bytes((IAC,))
        return self._command(byte)

    def _command(self, byte: int) -> Piece | None:
        self._commands += 1
        if self._commands > COMMANDS_MAX:
            raise ProtocolError(f"A session may have {COMMANDS_MAX} telnet commands.")
        if byte in NEGOTIATION:
            self._verb = byte
            self._state = State.OPTION
        elif byte == SB:
            self._skipped = 0
            self._state = State.SUBNEGOTIATION
        elif byte in (EC, EL):
            self._after_cr = False
        return FUNCTIONS.get(byte)

    def _skip(self, n: int) -> None:
        self._skipped += n
        if self._skipped > SUBNEGOTIATION_MAX:
            raise ProtocolError(
                f"A telnet subnegotiation may have {SUBNEGOTIATION_MAX} bytes here."
            )

    def _lines(self, text: bytes) -> bytes:
        """Return a run of data with every end of line as LF, across cuts."""
        if self._after_cr and text[0] in b"\n\0":
            text = text[1:]
            self._after_cr = False
        if not text:
            return text
        self._after_cr = text.endswith(b"\r")
        if b"\r" not in text:
            return text
        return text.replace(b"\r\n", b"\n").replace(b"\r\0", b"\n").replace(b"\r", b"\n")


def _find_iac(data: bytes, at: int) -> int:
    end = data.find(IAC, at)
    return len(data) if end < 0 else end
