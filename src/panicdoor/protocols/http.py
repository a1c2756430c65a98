"""HTTP/1.1 (RFC 9110, 9112) on h11: the door for browsers, curl and automata. Only reading.

The words of a command are the segments of the path: `/help/ping` asks for `help ping`. No words,
`/` or `/index`, ask for the whole documentation. A suffix of the last segment says the form of
the answer, .html, .json or .txt; without one the Accept header does; else it is text. What cannot
be answered is answered with one line of text. Request bodies are never read: the answer to a
request that has one, or that is wrong, ends the connection.

The status says what the last part's code says, as far as it is known when the answer begins:

    0 done -> 200    1 refused or failed -> 403    2 usage -> 404    3 nothing answered -> 503

An answer of several parts has begun before its code is known: it is 200, and sent in chunks.
"""

import re
from enum import Enum
from typing import Final, NamedTuple

import h11

from panicdoor.errors import CommandError
from panicdoor.printable import escape
from panicdoor.protocols.base import WRITE_MAX, Form, Part, Request
from panicdoor.protocols.detect import METHODS
from panicdoor.words import LINE_MAX, join

HEAD_MAX: Final = 8192  # bytes, request line and headers; browsers send under 2 KiB
TARGET_MAX: Final = 3 * LINE_MAX  # bytes; a line of words, with every byte percent-encoded
REQUESTS_MAX: Final = 100  # a connection; then the slot is free for others

REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

WHY: Final = {
    400: "this is not a request that can be understood.",
    404: "there is nothing of that name. The documentation is at /",
    405: "only GET and HEAD are answered here.",
    408: "the request did not come to its end.",
    414: f"the address may have {TARGET_MAX} bytes.",
    431: f"the head of a request may have {HEAD_MAX} bytes.",
    501: "this door does not know that method or transfer coding.",
    505: "this door speaks HTTP/1.1 and HTTP/1.0.",
}

STATUS: Final = {0: 200, 1: 403, 2: 404, 3: 503}  # by the code of an answer's last part

TYPES: Final = {
    Form.TEXT: "text/plain; charset=us-ascii",
    Form.HTML: "text/html; charset=utf-8",
    Form.JSON: "application/json; charset=utf-8",
}

ALWAYS: Final = (
    ("Server", "panicdoor"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'",
    ),
)

SUFFIXES: Final = {".html": Form.HTML, ".json": Form.JSON, ".txt": Form.TEXT}

ACCEPTED: Final = {
    "text/html": Form.HTML,
    "application/xhtml+xml": Form.HTML,
    "application/json": Form.JSON,
    "text/plain": Form.TEXT,
}

FIXED: Final = {
    "/robots.txt": (200, "User-agent: *\nDisallow: /\n"),
    "/favicon.ico": (404, "404 Not Found: this door has no icon.\n"),
}

_ORIGIN: Final = re.compile(r"https?://[^/?#]+(?=[/?]|$)", re.IGNORECASE)
_ENCODED: Final = re.compile(r"%(?:([0-9A-Fa-f]{2})|)")
_QUALITY: Final = re.compile(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


class Stage(Enum):
    """How far the conversation is; an answer goes READY, ANSWERING, and STREAMING if in parts."""

    READING = "reading"
    READY = "ready"
    ANSWERING = "answering"
    STREAMING = "streaming"
    CLOSED = "closed"


class Page(NamedTuple):
    """What a path asks for."""

    words: tuple[str, ...]
    form: Form | None


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The request is answered with this status and the sentence for it."""

    def __init__(self, status: int, why: str = "") -> None:
        super().__init__(why or WHY[status])
        self.status = status


class Http:
    """One connection of a client that speaks HTTP."""

    __slots__ = (
        "_ending",
        "_eof",
        "_fed",
        "_form",
        "_h11",
        "_head",
        "_midline",
        "_out",
        "_request",
        "_served",
        "_stage",
        "_waiting",
    )

    opening = False

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        self._stage = Stage.READING
        self._waiting = b""  # not yet given to h11
        self._fed = 0  # bytes of the current head that h11 has
        self._eof = False
        self._served = 0
        self._ending = False  # the connection ends with the answer being given
        self._head = False  # the request was HEAD
        self._form = Form.TEXT
        self._midline = False
        self._request: Request | None = None
        self._out = b""

    @property
    def closed(self) -> bool:
        """True when nothing more will be read: write what is left, then close."""
        return self._stage is Stage.CLOSED

    @property
    def hungry(self) -> bool:
        """False while a request is being answered: the next one can wait in the kernel."""
        return self._stage is Stage.READING and not self._eof and len(self._out) < WRITE_MAX

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._stage is not Stage.CLOSED:
            self._waiting += data
            self._advance()

    def receive_eof(self) -> None:
        """Answer the requests that are complete, then close."""
        self._eof = True
        self._advance()

    def receive_silence(self) -> None:
        """Close an idle connection; a request that has only half come is told so first."""
        if self._stage is Stage.READING:
            if self._fed or self._waiting:
                self._refuse(Refused(408))
            else:
                self._close()

    def next_request(self) -> Request | None:
        """Return the next request, once."""
        if self._stage is not Stage.READY or len(self._out) >= WRITE_MAX:
            return None
        self._stage = Stage.ANSWERING
        request, self._request = self._request, None
        return request

    def cancelled(self) -> bool:
        """Return False: HTTP has no way to take a request back but to close."""
        return False

    def send(self, part: Part) -> None:
        """Take the next part of the answer; text is escaped, HTML and JSON are sent as they are."""
        if self._stage is Stage.CLOSED:
            return
        if self._stage not in (Stage.ANSWERING, Stage.STREAMING):
            raise RuntimeError("a part of an answer that nobody asked for")
        body = self._body(part)
        if self._stage is Stage.ANSWERING and part.end:
            self._answer(STATUS.get(part.code, 500), TYPES[self._form], body)
        else:
            if self._stage is Stage.ANSWERING:
                self._begin(200, TYPES[self._form])
                self._stage = Stage.STREAMING
            self._write_body(body)
            if part.end:
                self._end()
        self._advance()

    def data_to_send(self) -> bytes:
        """Return, once, the bytes to be written."""
        data, self._out = self._out, b""
        if data:
            self._advance()
        return data

    def _advance(self) -> None:
        """Read requests until one is for the owner, or enough waits to be written."""
        while self._stage is Stage.READING and len(self._out) < WRITE_MAX:
            # h11 looks at its limit only when a head is still incomplete: giving it no more than
            # the limit makes the limit independent of how the bytes were cut.
            room = HEAD_MAX - self._fed
            piece, self._waiting = self._waiting[:room], self._waiting[room:]
            if piece:
                self._h11.receive_data(piece)
                self._fed += len(piece)
            try:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._take(event)
                elif self._fed >= HEAD_MAX:
                    raise Refused(431 if b"\n" in self._h11.trailing_data[0] else 414)
                elif self._eof and self._fed:
                    raise Refused(400)
                elif self._eof:
                    self._close()
                else:
                    return
            except Refused as answer:
                self._refuse(answer)
            except h11.RemoteProtocolError as error:
                # h11's frames hold the error that holds them, and every line of a head with them.
                error.__traceback__ = None
                status = error.error_status_hint
                self._refuse(Refused(status if status in WHY else 400))

    def _take(self, request: h11.Request) -> None:
        """Make a Request of what h11 has read, or answer at once; may raise Refused."""
        self._served += 1
        self._head = request.method == b"HEAD"
        headers = {bytes(name) for name, _ in request.headers}
        self._ending = (
            self._served >= REQUESTS_MAX
            or b"transfer-encoding" in headers
            or any(n == b"content-length" and int(v) for n, v in request.headers)
        )
        if request.http_version not in (b"1.1", b"1.0"):
            raise Refused(505)
        if len(request.target) > TARGET_MAX:
            raise Refused(414)
        if request.method not in (b"GET", b"HEAD"):
            raise Refused(405 if request.method in METHODS else 501)
        if not self._ending:
            self._h11.next_event()  # the end of a message without a body
        path = _path(request.target.decode("ascii"))
        if fixed := FIXED.get(path):
            self._form = Form.TEXT
            self._answer(fixed[0], TYPES[Form.TEXT], fixed[1].encode("ascii"))
            return
        page = read_path(path)
        accept = b",".join(v for n, v in request.headers if n == b"accept")
        self._form = page.form or read_accept(accept.decode("latin-1"))
        self._request = Request(page.words, self._form)
        self._stage = Stage.READY

    def _refuse(self, refused: Refused) -> None:
        """Answer what was wrong with a request, and end the connection."""
        status = refused.status
        self._ending = True
        line = f"{status} {REASONS[status]}: {refused}\n"
        extra = (("Allow", "GET, HEAD"),) if status == 405 else ()  # noqa: PLR2004
        self._answer(status, TYPES[Form.TEXT], escape(line).encode("ascii"), extra)

    def _answer(
        self, status: int, kind: str, body: bytes, extra: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._begin(status, kind, (*extra, ("Content-Length", str(len(body)))))
        self._write_body(body)
        self._end()

    def _begin(self, status: int, kind: str, extra: tuple[tuple[str, str], ...] = ()) -> None:
        headers = [*ALWAYS, ("Content-Type", kind), *extra]
        if self._ending:
            headers.append(("Connection", "close"))
        self._out += self._h11.send(
            h11.Response(status_code=status, headers=headers, reason=REASONS[status])
        )

    def _body(self, part: Part) -> bytes:
        if self._form is not Form.TEXT:
            return part.text.encode("utf-8", "replace")
        text = part.text
        if text:
            self._midline = not text.endswith("\n")
        if part.end and self._midline:
            text += "\n"
            self._midline = False
        return escape(text).encode("ascii")

    def _write_body(self, body: bytes) -> None:
        if body and not self._head:
            self._out += self._h11.send(h11.Data(data=body))

    def _end(self) -> None:
        self._out += self._h11.send(h11.EndOfMessage())
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            self._close()
            return
        self._h11.start_next_cycle()
        self._fed = len(self._h11.trailing_data[0])
        self._head = False
        self._stage = Stage.READING

    def _close(self) -> None:
        self._stage = Stage.CLOSED
        self._waiting = b""
        self._request = None


def _path(target: str) -> str:
    """Return the path of a request target in origin or absolute form (RFC 9112 3.2)."""
    origin = _ORIGIN.match(target)
    path, _, query = (target[origin.end() :] if origin else target).partition("?")
    if query:
        raise Refused(400, "no query is understood here.")
    return path or "/"


def read_path(path: str) -> Page:
    """Return the words of a path, and the form that its suffix asks for.

    Raises Refused (400) for a path that no words stand for, (404) for one with an empty segment.
    """
    if not path.startswith("/"):
        raise Refused(400)
    path = path.removesuffix("/") or "/index"
    form = None
    for suffix, of_suffix in SUFFIXES.items():
        if path.endswith(suffix):
            path, form = path.removesuffix(suffix), of_suffix
            break
    if path == "/index":
        return Page((), form)
    words = tuple(_decoded(segment) for segment in path[1:].split("/"))
    if not all(words):
        raise Refused(404)
    try:
        join(words)
    except CommandError as error:
        raise Refused(400, f"no words make that path: {error}.") from None
    return Page(words, form)


def _decoded(segment: str) -> str:
    """Undo percent-encoding; what is not ASCII then is no word, and `join` says so."""

    def character(match: re.Match[str]) -> str:
        if match[1] is None:
            raise Refused(400, "a percent sign must be followed by two hexadecimal digits.")
        return chr(int(match[1], 16))

    return _ENCODED.sub(character, segment)


def read_accept(accept: str) -> Form:
    """Return the form that an Accept header wants most (RFC 9110 12.5.1), the first of equals."""
    best, form = 0.0, Form.TEXT
    for choice in accept.split(","):
        kind, *parameters = choice.split(";")
        wanted = ACCEPTED.get(kind.strip().lower())
        if wanted is None:
            continue
        quality = 1.0
        for parameter in parameters:
            if match := _QUALITY.fullmatch(parameter):
                quality = float(match[1])
        if quality > best:
            best, form = quality, wanted
    return form
