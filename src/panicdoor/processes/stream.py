"""The tcp frontend: accepts, admits, and keeps the deadlines of its connections.

Both streams accept from the same listening sockets, so that one which is stopped or choked is not
the end of tcp. Each has its share of the strangers' pool: when that is full a newcomer takes the
slot of one of the fullest crowd.
"""

import asyncio
import resource
import socket
import ssl
import time
from typing import Final

from panicdoor.commands.registry import Here
from panicdoor.processes.admission import Admission
from panicdoor.processes.connection import Connection
from panicdoor.processes.desk import Desk
from panicdoor.processes.place import Place
from panicdoor.processes.warmup import warm_up
from panicdoor.protocols.base import Protocol
from panicdoor.protocols.detect import Way
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import Lines
from panicdoor.protocols.tls import Tls, restrict

STRANGERS: Final = 4096  # connections of strangers, per door: at 4 KiB each they stay affordable
OPERATORS: Final = 512  # connections from networks that grants name, per door
OWN_FDS: Final = 64  # descriptors a stream needs besides connections, with room to spare
ACCEPTS: Final = 16  # connections accepted before those that are here have their turn
TICK_S: Final = 0.05  # seconds between two looks at the deadlines
PAUSE_S: Final = 0.1  # seconds without accepting when the kernel had no descriptor for one more
HERES_MAX: Final = 256  # addresses of this host that are remembered as reached


def run(place: Place) -> None:
    """Be a stream."""
    stream = Stream(place)
    place.give_up_rights()
    stream.open()
    place.serve(lambda: warm_up(stream, place))


class Stream:
    """All connections of one process."""

    def __init__(self, place: Place) -> None:
        self.loop: asyncio.AbstractEventLoop = place.loop
        self.desk = Desk(place)
        self.report = place.report
        self._place = place
        self._tls = _context(place.world.holdings.secrets["tls"])
        self._listeners = [socket.socket(fileno=fd) for fd in place.world.holdings.listeners["tcp"]]
        strangers, operators = _shares(place.role.n)
        self._admission = Admission(strangers, operators, place.world.door.operators)
        self._connections: dict[int, Connection] = {}
        self._heres: dict[tuple[str, int], Here] = {}
        self._ticking = False

    def open(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            self.loop.add_reader(listener, self._accept, listener)

    # What a connection needs: connection.Host

    def now(self) -> float:
        """Return the time that deadlines are in."""
        return time.monotonic()

    def greeting(self, here: Here) -> str:
        """Return what is said to a client that says nothing."""
        return self.desk.manual.greeting(here)

    def protocol(self, way: Way, here: Here, greeted: bool) -> Protocol:
        """Return a new conversation of that kind."""
        if way is Way.HTTP:
            return Http()
        greeting = self.greeting(here)
        if way is Way.TLS:
            return Tls(self._tls, lambda way, greeted: self.protocol(way, here, greeted), greeting)
        return Lines(greeting, greeted)

    def gone(self, fd: int) -> None:
        """A connection is about to be closed."""
        if self._connections.pop(fd, None) is not None:
            self._admission.leave(fd)

    # Accepting

    def adopt(self, sock: socket.socket, address: str, here: Here) -> Connection:
        """Take a connected socket in, and let go of another where there is no slot left."""
        sock.setblocking(False)
        fd = sock.fileno()
        victim = self._admission.enter(fd, address)
        connection = self._connections[fd] = Connection(sock, address, here, self)
        if victim is not None:
            self._connections[victim].close()
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_S, self._tick)
        connection.start()
        return connection

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._out_of_descriptors(listener)
                return
            try:
                self.adopt(sock, address[0], self._here(sock))
            except OSError:
                sock.close()  # it has gone already

    def _here(self, sock: socket.socket) -> Here:
        """Return the address that a client reached; the usual ones are made once."""
        name = sock.getsockname()[:2]
        here = self._heres.get(name)
        if here is None:
            if len(self._heres) >= HERES_MAX:
                self._heres.clear()
            here = self._heres[name] = Here(*name)
        return here

    def _out_of_descriptors(self, listener: socket.socket) -> None:
        """Make room by dropping one connection, and do not spin until there is some."""
        for connection in self._connections.values():
            connection.close()
            break
        self.loop.remove_reader(listener)
        self.loop.call_later(PAUSE_S, self.loop.add_reader, listener, self._accept, listener)

    def _tick(self) -> None:
        now = time.monotonic()
        for connection in [c for c in self._connections.values() if c.deadline <= now]:
            connection.expire()
        self._ticking = bool(self._connections)
        if self._ticking:
            self.loop.call_later(TICK_S, self._tick)


def _context(fd: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    restrict(context)
    context.load_cert_chain(f"/proc/self/fd/{fd}")
    return context


def _shares(streams: int) -> tuple[int, int]:
    """Return how many strangers and operators one of so many streams may hold."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(2, limit - OWN_FDS)
    strangers, operators = STRANGERS // streams, OPERATORS // streams
    if strangers + operators > room:
        strangers, operators = room - room // 8, room // 8
    return strangers, max(1, operators)
