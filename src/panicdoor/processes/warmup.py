"""Warm-up: what would be done for the first time later is done before ready is announced.

What is done for the first time imports, allocates and faults in pages. On a host without disk or
memory that is the moment at which a process stops for good, so it happens here: once before any
fork, so that all processes share what it leaves behind, and then in each stream, which speaks
every protocol against itself.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
import time
from typing import Final, Protocol

from panicdoor import keys
from panicdoor.commands.registry import Context, Here, call
from panicdoor.documentation.manual import Manual
from panicdoor.errors import CommandError
from panicdoor.kernel import accounts, socket_table
from panicdoor.messages import Ping, Pong
from panicdoor.processes.clock import now_text
from panicdoor.processes.connection import Connection
from panicdoor.processes.place import Place
from panicdoor.processes.wires import Wire
from panicdoor.protocols.base import READ_MAX, Part, parts_of
from panicdoor.protocols.base import Protocol as Speaker
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import Lines
from panicdoor.roles import SUPERVISOR

ROUNDS: Final = 2  # the second finds what the first has made room for
REHEARSALS: Final = 20  # Python has specialised what runs so often: then that, too, is shared
WARM_UP_S: Final = 3.0  # seconds at most: a monitor that is dead costs every question two
CLOSE_S: Final = 0.02  # seconds for what was closed to be noticed
MONITOR: Final = "monitor"
LOOPBACK: Final = "127.0.0.1"

TEXT: Final = (
    b"help\r\nhelp ping\r\nabout\r\nabout --json\r\ndoc\r\ndoc 2\r\ndoc --json\r\nping\r\n"
    b"challenge\r\norder ping\r\nno such\r\n'\r\ndoc 9\r\n"
)
HTTP: Final = b"".join(
    b"GET %b HTTP/1.1\r\nHost: door\r\nAccept: %b\r\n\r\n" % pair
    for pair in (
        (b"/", b"text/html"),
        (b"/", b"*/*"),
        (b"/", b"application/json"),
        (b"/ping", b"text/html"),
        (b"/help/ping.txt", b"*/*"),
        (b"/favicon.ico", b"*/*"),
        (b"/%zz", b"*/*"),
    )
)
CLEAR: Final = (
    b"\0" + TEXT,
    b"\xff\xfb\x1f\xff\xfd\x03\xff\xfa\x1f\0P\0\x18\xff\xf0\xff\xf6" + TEXT,
    b"panicdoor order 1\nsig: nobody\n",
    b"",
    HTTP,
    b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 3\r\n\r\nabc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\xff\xfa" + b"x" * 1024,
    b"x" * 4096,
    b"\x16\x03\x01\0\x04junk",
)
SSH: Final = b"SSH-2.0-x\r\n"  # in the clear it is handed over, and others may never answer it
INSIDE_TLS: Final = (b"\0" + TEXT, HTTP, b"", SSH)


class Adopter(Protocol):
    """Whoever takes a connected socket in: a stream."""

    def adopt(self, sock: socket.socket, address: str, here: Here) -> Connection:
        """Serve a client."""


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# Made at import, before any fork: with its first context OpenSSL fills a megabyte of tables.
_CLIENT: Final = _client_context()


def rehearse(manual: Manual) -> None:
    """Do before any fork what most processes do first: once, and for all of them.

    The key is made for this and forgotten. OpenSSL's random numbers start anew after a fork.
    """
    accounts.remember()
    for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        with contextlib.suppress(OSError):  # the first question may make the kernel load a module
            socket_table.read(protocol)
    keys.identity_from(keys.generate_identity()[0])
    here = Here(LOOPBACK, 1)
    context = Context(manual, here, now_text(), lambda: "")
    for text in (*CLEAR, SSH):
        for speaker in (Lines(manual.greeting(here)), Http()):
            if text:
                speaker.receive_data(text)
            speaker.receive_eof()
            _answer(speaker, context)
    if sys.version_info < (3, 12):
        # It counts references to the names of all that was looked up so far, and whoever looks
        # something else up in its place writes to them; later versions do not count those.
        sys._clear_type_cache()
    for _ in range(REHEARSALS):
        _wait_and_hear()


def _wait_and_hear() -> None:
    """Do once what every place does all the time: wait, and hear what is said."""
    loop = asyncio.SelectorEventLoop()
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours = Wire(MONITOR, SUPERVISOR, ends[0].detach())
    theirs = Wire(SUPERVISOR, MONITOR, ends[1].detach())

    def hear(wire: Wire) -> None:
        for message in wire.receive():
            if isinstance(message, Ping):
                wire.send(Pong(message.n))
            else:
                loop.stop()

    for wire in (ours, theirs):
        loop.add_reader(wire.fileno(), hear, wire)
    loop.call_later(0, theirs.send, Ping(1))
    loop.call_later(WARM_UP_S, loop.stop)
    loop.run_forever()
    loop.close()
    ours.close()
    theirs.close()


def _answer(protocol: Speaker, context: Context) -> None:
    """Answer all that was asked, from what is at hand."""
    while True:
        protocol.data_to_send()
        request = protocol.next_request()
        if request is None:
            return
        try:
            parts = parts_of(call(context, request.words or ("doc",)))
        except CommandError as error:
            parts = iter([Part(f"{error}\n", end=True, code=2)])
        for part in parts:
            protocol.send(part)


def warm_up(stream: Adopter, place: Place) -> None:
    """Speak everything, a few times, with an end in sight.

    One client after another: what many at once need would stay allocated for good.
    """
    give_up = time.monotonic() + WARM_UP_S
    talks = [(text, None) for text in CLEAR] + [(text, _CLIENT) for text in INSIDE_TLS]
    for _ in range(ROUNDS):
        silent, ours = socket.socketpair()
        stream.adopt(ours, LOOPBACK, Here(LOOPBACK, 1)).expire()
        for text, context in talks:
            client = Client(stream, place, text, context)
            if not client.done and (left := give_up - time.monotonic()) > 0:
                place.run_for(left)
            client.close()
        handed_over = Client(stream, place, SSH, None)
        silent.close()
        place.run_for(CLOSE_S)
        handed_over.close()


class Client:
    """The other side of one conversation: says everything, ends its input, reads to the end.

    At the end it stops the loop, which runs for it.
    """

    def __init__(
        self, stream: Adopter, place: Place, text: bytes, context: ssl.SSLContext | None
    ) -> None:
        self.done = self._said = False
        self._loop = place.loop
        self._text = text
        self._sock, ours = socket.socketpair()
        self._sock.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing) if context else None
        self._loop.add_reader(self._sock, self._readable)
        if self._tls is None:
            self._sock.send(text)
            self._sock.shutdown(socket.SHUT_WR)
        else:
            self._shake_hands(self._tls)
        stream.adopt(ours, LOOPBACK, Here(LOOPBACK, 1))

    def close(self) -> None:
        """Leave."""
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_MAX)
        except OSError:
            data = b""
        if not data:
            self.done = True
            self._loop.remove_reader(self._sock)
            self._loop.stop()
        elif self._tls is not None:
            self._incoming.write(data)
            self._shake_hands(self._tls)

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        try:
            tls.do_handshake()
            if not self._said:
                self._said = True
                tls.write(self._text)
                tls.unwrap()
            while tls.read(READ_MAX):
                pass
        except ssl.SSLError:
            pass  # more must come first, or it has ended
        try:
            self._sock.send(self._outgoing.read())
            if self._said:
                self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused and closed already
