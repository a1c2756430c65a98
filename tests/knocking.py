"""Clients that never rest: what one of them misses while a door's processes die is counted."""

import socket
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.running import LOOPBACK, Door, descriptors

PATIENCE = 2.0  # seconds


def by_tcp(door: Door) -> bool:
    """Fetch the documentation with a zero byte."""
    return b"PANICDOOR" in door.talk(b"\0", PATIENCE)


def by_udp(door: Door, patience: float = PATIENCE) -> bool:
    """Fetch a page of it by datagram."""
    return b" page 1/" in door.datagram(b"\0" * 400, patience)


# With the seconds between two: machines have more to do, and datagrams have a budget.
WAYS = {"tcp": (by_tcp, 0.003), "udp": (by_udp, 0.04)}


class Knocking:
    """Asks for the documentation, one connection and one datagram after the other.

    `answered` counts by way; `failed` has what went wrong since it was last emptied.
    """

    def __init__(self, door: Door) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self._door = door
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._knock, args=(way,)) for way in WAYS]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def take_failures(self) -> list[str]:
        """Return what failed, and begin anew."""
        failed, self.failed = self.failed, []
        return failed

    def _knock(self, way: str) -> None:
        ask, pause = WAYS[way]
        while not self._over.wait(pause):
            try:
                if not ask(self._door):
                    raise ConnectionResetError("an end without an answer")
            except OSError as error:
                self.failed.append(f"{way}: {type(error).__name__}")
            else:
                self.answered[way] += 1


class Visitor:
    """A client with a connection that it keeps, and the stream that has it."""

    def __init__(self, door: Door) -> None:
        self.socket = door.connect()
        try:
            self.present()  # so that it has been accepted
            self.stream = _holder(door, self.socket)
        except BaseException:
            self.socket.close()
            raise

    def present(self) -> None:
        """Have an answer of the stream itself. Raises OSError when the connection has ended."""
        self._say(b"about\r\n", b"reached ")

    def served(self) -> None:
        """Have an answer of the monitor. Raises OSError when the connection has ended."""
        self._say(b"ping\r\n", b"pong from ")

    def _say(self, command: bytes, wanted: bytes) -> None:
        self.socket.sendall(command)
        answer = b""
        while wanted not in answer or not answer.endswith(b"\n"):
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("the end")
            answer += data

    def close(self) -> None:
        """Leave."""
        self.socket.close()


def _holder(door: Door, client: socket.socket) -> str:
    """Return the place that holds the other end of a connection, by /proc/net/tcp."""
    ours, theirs = f":{client.getsockname()[1]:04X}", f":{door.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = [r[9] for r in rows if r[1].endswith(theirs) and r[2].endswith(ours)]
    for name, pid in door.places().items():
        if f"socket:[{inodes[0]}]" in descriptors(pid).values():
            return name
    raise LookupError(f"nobody has the connection from {LOOPBACK}{ours}")
