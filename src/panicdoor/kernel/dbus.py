"""The little of D-Bus that asking one question takes (D-Bus specification 0.43).

    with connect("/run/systemd/private", 0.5) as bus:
        reader = bus.call(Call("org.freedesktop.systemd1", "/org/...", "...", "ListUnits"))

Everything has one deadline, set when the connection is made: a service that hangs is a finding.
What comes back is bounded and checked; what does not fit is DBusError.
"""

import os
import socket
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple

MESSAGE_MAX: Final = 4 << 20  # bytes of an answer: some 20,000 units
LINE_MAX: Final = 512  # bytes of a line of the authentication

_FIXED: Final = struct.Struct("<BBBBIII")  # order, type, flags, version, body, serial, fields
_U32: Final = struct.Struct("<I")
_LITTLE: Final = ord("l")
_VERSION: Final = 1
_CALL, _RETURN, _ERROR = 1, 2, 3  # message types
_PATH, _INTERFACE, _MEMBER, _REPLY_TO, _TO, _SIGNATURE = 1, 2, 3, 5, 6, 8  # header fields
_SERIAL: Final = 1  # one connection, one question
_MESSAGES_MAX: Final = 1000  # signals that may come before the answer


class DBusError(Exception):
    """What came back is no answer; the sentence says why."""


class Call(NamedTuple):
    """Whom to ask for what. `texts` is the one argument: an array of strings."""

    to: str
    path: str
    interface: str
    member: str
    texts: tuple[str, ...] = ()


class Reader:
    """Reads one body from its beginning, value after value. Raises DBusError at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int, align: int) -> bytes:
        at = -(-self._at // align) * align
        piece = self._data[at : at + size]
        if len(piece) < size:
            raise DBusError("an answer that is too short")
        self._at = at + size
        return piece

    def u8(self) -> int:
        """Return a byte."""
        return self._take(1, 1)[0]

    def u32(self) -> int:
        """Return an unsigned number of 32 bits."""
        number: int = _U32.unpack(self._take(4, 4))[0]
        return number

    def text(self) -> str:
        """Return a string, or an object path."""
        return self._take(self.u32() + 1, 1)[:-1].decode("utf-8", "replace")

    def signature(self) -> str:
        """Return a signature."""
        return self._take(self.u8() + 1, 1)[:-1].decode("latin-1")

    def structs(self) -> Iterator[None]:
        """Yield before each struct of an array of structs; the caller reads it."""
        size = self.u32()
        self._take(0, 8)
        end = self._at + size
        if end > len(self._data):
            raise DBusError("an array that is longer than its answer")
        while self._at < end:
            self._take(0, 8)
            yield


def message(call: Call) -> bytes:
    """Return the bytes of a method call."""
    body = _strings(call.texts)
    fields = b""
    for code, kind, value in (
        (_PATH, b"o", call.path),
        (_INTERFACE, b"s", call.interface),
        (_MEMBER, b"s", call.member),
        (_TO, b"s", call.to),
        (_SIGNATURE, b"g", "as"),
    ):
        fields += b"\0" * (-len(fields) % 8)
        fields += bytes([code, 1]) + kind + b"\0"
        data = value.encode("utf-8")
        fields += bytes([len(data)]) if kind == b"g" else _U32.pack(len(data))
        fields += data + b"\0"
    head = _FIXED.pack(_LITTLE, _CALL, 0, _VERSION, len(body), _SERIAL, len(fields))
    return head + fields + b"\0" * (-(len(head) + len(fields)) % 8) + body


def _strings(texts: tuple[str, ...]) -> bytes:
    array = b""
    for text in texts:
        data = text.encode("utf-8")
        array += b"\0" * (-len(array) % 4) + _U32.pack(len(data)) + data + b"\0"
    return _U32.pack(len(array)) + array


class Bus:
    """A connection that was let in."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._socket = connection
        self._until = until
        self._rest = b""

    def __enter__(self) -> "Bus":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def authenticate(self) -> bool:
        """Say who we are, and return whether we are let in. Raises OSError, DBusError."""
        uid = str(os.geteuid()).encode("ascii").hex().encode("ascii")
        # In one piece: systemd loses sight of what comes in the same packet as a later BEGIN.
        self._send(b"\0AUTH EXTERNAL " + uid + b"\r\nBEGIN\r\n")
        while b"\r\n" not in self._rest:
            if len(self._rest) > LINE_MAX:
                raise DBusError("it does not speak D-Bus")
            self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        if line.startswith((b"OK", b"REJECTED", b"ERROR", b"DATA")):
            return line.startswith(b"OK")
        raise DBusError("it does not speak D-Bus")

    def call(self, call: Call) -> Reader:
        """Ask, and return the body of the answer. Raises OSError, DBusError."""
        self._send(message(call))
        for _ in range(_MESSAGES_MAX):
            kind, reply_to, body = self._message()
            if reply_to == _SERIAL and kind in (_RETURN, _ERROR):
                if kind == _ERROR:
                    raise DBusError(f"it answers with an error: {Reader(body).text()[:200]}")
                return Reader(body)
        raise DBusError("it says everything but the answer")

    def _message(self) -> tuple[int, int, bytes]:
        order, kind, _, version, size, _, fields = _FIXED.unpack(self._exactly(_FIXED.size))
        if order != _LITTLE or version != _VERSION or size + fields > MESSAGE_MAX:
            raise DBusError("it does not speak D-Bus")
        head = self._exactly(fields + -fields % 8)[:fields]
        return kind, _reply_to(head), self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _more(self) -> None:
        self._socket.settimeout(max(0.001, self._until - time.monotonic()))
        data = self._socket.recv(64 << 10)
        if not data:
            raise DBusError("it closes the connection")
        self._rest += data

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(max(0.001, self._until - time.monotonic()))
        self._socket.sendall(data)


def _reply_to(fields: bytes) -> int:
    reader = Reader(fields)
    try:
        while True:
            reader._take(0, 8)
            code, kind = reader.u8(), reader.signature()
            if code == _REPLY_TO and kind == "u":
                return reader.u32()
            if kind == "g":
                reader.signature()
            elif kind == "u":
                reader.u32()
            else:
                reader.text()
    except DBusError:
        return 0


def connect(path: str, seconds: float) -> Bus:
    """Connect to a socket of the file system; everything on it ends `seconds` from now.

    Raises OSError: FileNotFoundError where there is none, TimeoutError where its queue is full.
    """
    until = time.monotonic() + seconds
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(seconds)
        made.connect(path)
    except OSError:
        made.close()
        raise
    return Bus(made, until)
