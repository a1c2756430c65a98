"""One tcp connection, whatever it speaks: the only place where sockets and protocols meet.

Bare non-blocking sockets behind one epoll; a small buffer, so that nobody's flood keeps the
others waiting; at most one request at a time; nothing is read while the answer has not been
taken. At the end we half-close and read on for a while, because unread bytes at close(2) become a
reset, and the reset would eat the answer.
"""

import select
import socket
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from select import EPOLLERR, EPOLLIN, EPOLLOUT
from typing import Final
from typing import Protocol as TypingProtocol

from panicdoor.commands.registry import Here
from panicdoor.processes.desk import Asked, Desk, Prepared
from panicdoor.protocols import detect
from panicdoor.protocols.base import READ_MAX, Part, Protocol
from panicdoor.protocols.detect import Stage, Way, Where

SILENCE_S: Final = 0.6  # a lost first segment comes back after 204-250 ms plus the round trip
IDLE_S: Final = 300.0  # seconds a client may say nothing: somebody reads, thinks, telephones
WRITE_S: Final = 30.0  # seconds in which a client must take some of what is written to it
DRAIN_S: Final = 5.0  # seconds a client has to close after we did
SSH_BUSY: Final = "ssh is busy here; try again in a moment, or connect with telnet."
DRAIN_MAX: Final = 64 * 1024  # bytes read and thrown away while it does
WRITES: Final = 4  # writes to one client before others have their turn: it may pipeline requests


class Host(TypingProtocol):
    """What a connection needs of the process it lives in."""

    epoll: select.epoll
    desk: Desk

    def now(self) -> float:
        """Return the time that deadlines are in."""

    def greeting(self, here: Here) -> str:
        """Return what is said to a client that says nothing."""

    def protocol(self, way: Way, here: Here, greeted: bool) -> Protocol:
        """Return a new conversation of that kind."""

    def report(self, error: BaseException) -> None:
        """Record a bug."""

    def hand_over(self, sock: socket.socket, peer: str, here: Here) -> bool:
        """Give a client that speaks ssh to the process for that; False where it has no room."""

    def gone(self, fd: int) -> None:
        """The connection of this descriptor is about to be closed."""


class State(Enum):
    """Where a connection stands."""

    DETECTING = "detecting"
    TALKING = "talking"
    DRAINING = "draining"
    CLOSED = "closed"


class Connection:
    """One client. What wakes it is the event loop, the desk, or its deadline."""

    __slots__ = (
        "_asked", "_awaited", "_delivered", "_desk", "_eof", "_first", "_here", "_host", "_out",
        "_protocol", "_pumping", "_silent", "_sock", "_stage", "_writes", "deadline", "peer",
        "state",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, peer: str, here: Here, host: Host) -> None:
        self.peer = peer
        self.state = State.DETECTING
        self.deadline = host.now() + SILENCE_S
        self._sock = sock
        self._host = host
        self._desk = host.desk
        self._here = here
        self._stage = Stage.WAITING
        self._first: bytes | None = None
        self._protocol: Protocol | None = None
        self._asked: Asked | Prepared | None = None
        self._delivered = self._pumping = self._eof = self._silent = False
        self._awaited = self._writes = 0
        self._out = b""

    def start(self) -> None:
        """Look whether something came with the connection, and wait for what did not.

        Where the kernel has no room to watch it, it ends here.
        """
        self._guarded(self._start)

    def ready(self, events: int) -> None:
        """Something happened on the socket."""
        if events & EPOLLERR or not self._awaited:
            self.close()
        elif self._awaited == EPOLLOUT:
            self._guarded(self._write_on)
        elif self.state is State.TALKING:
            self._guarded(self._read)
        elif self.state is State.DETECTING:
            self._guarded(self._look)
        elif self.state is State.DRAINING:
            self._guarded(self._drain)

    def expire(self) -> None:
        """The deadline has passed."""
        self._guarded(self._expire)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do something that may fail because of the client; whatever else fails is a bug."""
        try:
            act()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
        except Exception as error:
            self._host.report(error)
            self.close()

    def _start(self) -> None:
        self._host.epoll.register(self._sock.fileno(), EPOLLIN)
        self._awaited = EPOLLIN
        self._look()

    def _write_on(self) -> None:
        out, self._out = self._out, b""
        self.deadline = self._host.now() + IDLE_S
        self._write(out)
        if self.state is State.DETECTING and not self._out:
            self._await(EPOLLIN)  # that was the greeting
        self._pump()

    def _expire(self) -> None:
        protocol = self._protocol
        if self._awaited == EPOLLOUT or self.state is State.DRAINING:
            self.close()
        elif protocol is None:
            self._look(silent=True)
        elif self._asked is not None:
            self.deadline = self._host.now() + IDLE_S  # the answer has a deadline of its own
        else:
            given_up = self._silent or not protocol.opening
            self._silent = True
            self.deadline = self._host.now() + IDLE_S
            protocol.receive_silence()
            self._pump()
            if given_up and self.state is State.TALKING and not self._out:
                self.close()

    def close(self) -> None:
        """End at once; harmless when it has ended already."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
        self._host.gone(self._sock.fileno())
        self._sock.close()

    # Detecting

    def _look(self, silent: bool = False) -> None:
        """Decide what the client speaks, without taking a byte from the socket."""
        first = b""
        try:
            first = self._sock.recv(detect.PEEK_MAX, socket.MSG_PEEK)
            # It may have spoken in time, while we were stopped or busy with others.
            silent = silent and first == self._first
        except BlockingIOError:
            if not silent:
                raise
        # Nothing new although it was readable: the end of input is behind those bytes.
        eof = not silent and (not first or first == self._first)
        stage, greet, way = detect.step(self._stage, first, eof, silent)
        self._stage = stage
        if greet:
            self._write(self._host.greeting(self._here).replace("\n", "\r\n").encode("ascii"))
            self.deadline = self._host.now() + IDLE_S
        if way is not None:
            self._begin(way)
        elif silent and not greet:
            self.close()
        elif first:
            if self._first is None:
                self.deadline = self._host.now() + SILENCE_S
            self._first = first
            self._await_bytes(len(first) + 1)

    def _await_bytes(self, count: int) -> None:
        """Let the kernel wake us only when so many bytes are there: what is peeked at stays."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _begin(self, way: Way) -> None:
        if self._first is not None:
            self._await_bytes(1)
            self._first = None
        late = self._stage is Stage.GREETED
        line = detect.refused(way, Where.LATE if late else Where.CLEAR)
        if way is Way.TLS:
            self._here = replace(self._here, secure=True)
        if way is Way.SSH and line is None:
            # The greeting goes first, so a client that takes none of it cannot be handed over.
            if not self._out and self._host.hand_over(self._sock, self.peer, self._here):
                self.close()
                return
            line = SSH_BUSY
        if line is not None:
            self._protocol = detect.Refusal(line)
        else:
            self._protocol = self._host.protocol(way, self._here, late)
        self.state = State.TALKING
        self.deadline = self._host.now() + IDLE_S
        self._read()

    # Talking

    def _read(self) -> None:
        protocol = self._protocol
        if protocol is None or protocol.closed or self._eof:
            self._pump()
            return
        if not protocol.hungry or self._out:
            self._await(0)
            return
        data = self._sock.recv(READ_MAX)
        if data:
            protocol.receive_data(data)
            self._silent = False
            self.deadline = self._host.now() + (SILENCE_S if protocol.opening else IDLE_S)
        else:
            self._eof = True
            self._await(0)
            protocol.receive_eof()
        self._pump()

    def _pump(self) -> None:
        """Move what can be moved: bytes out, the next request to the desk, the next part back."""
        protocol = self._protocol
        if protocol is None or self._pumping:
            return
        self._pumping = True
        try:
            self._writes = 0
            while self.state is State.TALKING and not self._out and self._writes < WRITES:
                if not self._step(protocol):
                    break
        finally:
            self._pumping = False
        if self.state is not State.TALKING or self._out:
            return
        if self._writes >= WRITES:
            self.deadline = self._host.now() + WRITE_S
            self._await(EPOLLOUT)  # at once, if there is room: after the others
        elif protocol.closed:
            self._finish()
        else:
            self._await(EPOLLIN if protocol.hungry and not self._eof else 0)

    def _step(self, protocol: Protocol) -> bool:
        """Move one thing; False where everything waits for somebody else."""
        data = protocol.data_to_send()
        if data:
            self._write(data)
            return True
        if self._asked is None:
            request = None if protocol.closed else protocol.next_request()
            if request is None:
                return False
            way = "tls" if self._here.secure else "tcp"
            self._asked = self._desk.ask(request, self._here, way, self.peer, "", self._deliver)
        elif protocol.closed or protocol.cancelled():
            self._asked.cancel()
            self._asked = None
            protocol.send(Part("", end=True, code=1))
            return True
        elif not self._delivered:
            return False
        self._delivered = False
        self._asked.more()
        return True

    def _deliver(self, part: Part) -> None:
        """Take a part from the desk: at once, or when the monitor has said it."""
        self._guarded(lambda: self._take(part))

    def _take(self, part: Part) -> None:
        if self._protocol is None or self.state is not State.TALKING:
            return
        self._protocol.send(part)
        self._delivered = not part.end
        if part.end:
            self._asked = None
        self.deadline = self._host.now() + IDLE_S
        self._pump()

    def _write(self, data: bytes) -> None:
        self._writes += 1
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            self._out = data[sent:]
            self.deadline = self._host.now() + WRITE_S
            self._await(EPOLLOUT)

    def _await(self, events: int) -> None:
        """Be told of these events, and of errors, from now on."""
        if self._awaited != events:
            self._awaited = events
            self._host.epoll.modify(self._sock.fileno(), events)

    # The end

    def _finish(self) -> None:
        if self._eof:
            self.close()
            return
        self.state = State.DRAINING
        self.deadline = self._host.now() + DRAIN_S
        self._sock.shutdown(socket.SHUT_WR)
        self._protocol = None
        self._await(EPOLLIN)

    def _drain(self) -> None:
        """Read and forget, so that what we wrote arrives."""
        for _ in range(DRAIN_MAX // READ_MAX):
            if not self._sock.recv(READ_MAX):
                break
        self.close()
