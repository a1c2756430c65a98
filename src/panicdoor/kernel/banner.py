"""Whether a server on this host says its first words: connect(2), and wait a little.

An ssh server speaks first (RFC 4253, 4.2), and to do so it needs a new process, memory and mostly
a disk; so a banner proves more than a listening socket does. Nothing is sent.
"""

import errno
import os
import select
import socket
import time
from typing import Final, NamedTuple

BANNER_MAX: Final = 255  # bytes: RFC 4253, 4.2


class Said(NamedTuple):
    """What came within the time: `error` says what came instead of words, "" for words."""

    text: str
    error: str
    seconds: float


class Connection:
    """A connection that is being made. It never blocks; `finish` waits until a moment."""

    def __init__(self, family: int, host: str, port: int) -> None:
        self._began = time.monotonic()
        self._failed = 0
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        code = self._socket.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            self._failed = code

    def finish(self, seconds: float) -> Said:
        """Wait for the first line until `seconds` after the connection was begun; then close."""
        try:
            return self._finish(self._began + seconds)
        finally:
            self._socket.close()

    def _finish(self, until: float) -> Said:
        if self._failed:
            return self._said("", os.strerror(self._failed).lower())
        if not self._wait(select.POLLOUT, until):
            return self._said("", "does not answer")
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            return self._said("", os.strerror(code).lower())
        data = b""
        while b"\n" not in data and len(data) < BANNER_MAX:
            if not self._wait(select.POLLIN, until):
                return self._said("", "accepts, then says nothing")
            try:
                piece = self._socket.recv(BANNER_MAX)
            except BlockingIOError:
                continue
            except OSError as error:
                return self._said("", f"breaks off: {error.strerror}")
            if not piece:
                return self._said("", "accepts, then closes")
            data += piece
        return self._said(data.partition(b"\n")[0].rstrip(b"\r").decode("latin-1"), "")

    def _wait(self, event: int, until: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(max(0.0, 1000 * (until - time.monotonic()))))

    def _said(self, text: str, error: str) -> Said:
        return Said(text[:BANNER_MAX], error, time.monotonic() - self._began)
