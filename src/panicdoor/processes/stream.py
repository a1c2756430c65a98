"""The tcp frontend: accepts, admits, and keeps the deadlines of its connections.

Both streams accept from the same listening sockets, so that one which is stopped or choked is not
the end of tcp. Each has its share of the strangers' pool: when that is full a newcomer takes the
slot of one of the fullest crowd.
"""

import contextlib
import errno
import functools
import resource
import select
import socket
import ssl
import time
from typing import Final

from panicdoor.commands.registry import Here
from panicdoor.kernel import sockets
from panicdoor.messages import Handover
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
FDS_WANTED: Final = STRANGERS // 2 + OPERATORS // 2 + OWN_FDS
ACCEPTS: Final = 16  # connections accepted before those that are here have their turn
TICK_S: Final = 0.05  # seconds between two looks at the deadlines
EVENTS: Final = 64  # clients looked at before those that connect have their turn
NAP_S: Final = 0.005  # seconds that the slower of two streams leaves a busy queue to the other
NO_ROOM_S: Final = 0.1  # seconds without accepting where it can only fail: else it would spin
FULL_HOST: Final = frozenset({errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
FULL: Final = FULL_HOST | {errno.EMFILE}
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
        self._place = place
        self.epoll = select.epoll()
        self.desk = Desk(place)
        self.greeting = functools.lru_cache(HERES_MAX)(self.desk.manual.greeting)
        self.report = place.report
        self._loop = place.loop
        self._tls = _context(place.world.holdings.secrets["tls"])
        self._listeners = [socket.socket(fileno=fd) for fd in place.world.holdings.listeners["tcp"]]
        for listener in self._listeners:
            listener.setblocking(False)  # again: it is shared, even with one that is taken over
        self._fixed = {
            listener: Here(*listener.getsockname()[:2])
            for listener in self._listeners
            if listener.getsockname()[0] not in ("0.0.0.0", "::")  # noqa: S104
        }
        strangers, operators = _shares(place.role.n)
        self._admission = Admission(strangers, operators, self.desk.door.operators)
        self.desk.changed = lambda door: self._admission.know(door.operators)
        self._connections: dict[int, Connection] = {}
        self._heres: dict[tuple[str, int], Here] = {}
        self._ticking = False
        # One descriptor for the event loop, however many clients: its own bookkeeping for each
        # would cost as much as serving them.
        self._loop.add_reader(self.epoll.fileno(), self._turn)

    def open(self) -> None:
        """Accept, from now on."""
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _turn(self) -> None:
        for fd, events in self.epoll.poll(0, EVENTS):
            connection = self._connections.get(fd)
            if connection is not None:
                connection.ready(events)

    # What a connection needs: connection.Host

    def now(self) -> float:
        """Return the time that deadlines are in."""
        return time.monotonic()

    def protocol(self, way: Way, here: Here, greeted: bool) -> Protocol:
        """Return a new conversation of that kind."""
        if way is Way.HTTP:
            return Http()
        greeting = self.greeting(here)
        if way is Way.TLS:
            return Tls(self._tls, lambda way, greeted: self.protocol(way, here, greeted), greeting)
        return Lines(greeting, greeted)

    def hand_over(self, sock: socket.socket, peer: str, here: Here) -> bool:
        """Give a client that speaks ssh to the process for that; False where it has no room."""
        message = Handover(peer, here.address, here.port)
        if not self._place.hand_over("ssh", message, sock.fileno()):
            return False
        # The copy keeps the socket alive, and with it this epoll's interest in it.
        self.epoll.unregister(sock.fileno())
        return True

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
            self._loop.call_later(TICK_S, self._tick)
        connection.start()
        return connection

    def _accept(self, listener: socket.socket) -> None:
        for accepted in range(ACCEPTS):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                if not accepted:
                    self._pause(listener, NAP_S)  # another stream was quicker, and may go on
                return
            except OSError as error:
                # What is none of these is the failure of one connection (accept(2)): go on.
                full = error.errno in FULL and not self._make_room()
                if error.errno == errno.EINVAL:
                    self._listen_again(listener)
                elif not full and error.errno not in FULL_HOST:
                    continue
                self._pause(listener, NO_ROOM_S)
                return
            try:
                self.adopt(sock, address[0], self._fixed.get(listener) or self._here(sock))
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

    def _make_room(self) -> bool:
        """The kernel had no descriptor for one more client: let go of one of the fullest crowd."""
        victim = self._admission.dispensable()
        if victim is None:
            return False
        self._connections[victim].close()
        return True

    def _listen_again(self, listener: socket.socket) -> None:
        """Undo a shutdown(2) of the socket that all streams share: by one that was taken over."""
        with contextlib.suppress(OSError):
            listener.listen(sockets.BACKLOG)

    def _pause(self, listener: socket.socket, seconds: float) -> None:
        """Leave accepting to others for a moment."""
        fd = listener.fileno()
        self._loop.remove_reader(fd)
        self._loop.call_later(seconds, self._loop.add_reader, fd, self._accept, listener)

    def _tick(self) -> None:
        # First of all the next one: whatever is raised here, deadlines go on.
        self._ticking = bool(self._connections)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)
        now = time.monotonic()
        for connection in [c for c in self._connections.values() if c.deadline <= now]:
            connection.expire()


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
