"""A process for connections, without a door around it: its clock stands still until it is moved."""

import select
import socket
import ssl
from collections.abc import Callable, Iterator

from panicdoor.commands.registry import Here
from panicdoor.processes.connection import Connection
from panicdoor.processes.desk import Asked, Deliver, Desk, Prepared
from panicdoor.protocols.base import Part, Protocol, Request
from panicdoor.protocols.detect import Way
from panicdoor.protocols.http import Http
from panicdoor.protocols.lines import Lines
from panicdoor.protocols.tls import Tls

HERE = Here("127.0.0.1", 903)
GREETING = "This is a door.\n"
TURNS_MAX = 2000  # of the epoll; a connection that keeps it busy for longer turns in circles


class Waiting(Asked):
    """An answer that comes when the test says so."""

    def __init__(self, deliver: Deliver) -> None:
        self.deliver = deliver
        self.wanted = 0
        self.cancelled = False

    def more(self) -> None:
        """Count how many parts were asked for."""
        self.wanted += 1

    def cancel(self) -> None:
        """Remember that nobody waits any more."""
        self.cancelled = True


class Answers(Desk):
    """A desk that knows `doc`; what begins with `wait` is answered by the test."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.asked: list[tuple[Request, str]] = []
        self.doc = "the documentation\n"

    def ask(
        self,
        request: Request,
        here: Here,
        way: str,
        peer: str,
        scope: str,
        deliver: Deliver,
        session: str = "",
    ) -> Asked | Prepared:
        """Answer at once, or later."""
        self.asked.append((request, way))
        if request.words[:1] == ("wait",):
            self.waiting.append(Waiting(deliver))
            return self.waiting[-1]
        return Prepared(self._parts(request), deliver)

    def _parts(self, request: Request) -> Iterator[Part]:
        if request.words[:1] == ("bug",):
            raise ValueError("a bug in an answer")
        yield Part(self.doc)
        yield Part("", end=True)


class Process:
    """All that a connection needs: `connection.Host`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.epoll = select.epoll()
        self.answers = Answers()
        self.desk: Desk = self.answers
        self.bugs: list[BaseException] = []
        self.connections: dict[int, Connection] = {}
        self.handed_over: list[socket.socket] = []
        self.has_room = True
        self.make: Callable[[Way, bool], Protocol] = self._make
        self._context = context
        self._now = 1000.0

    def now(self) -> float:
        """Return the time that the test says it is."""
        return self._now

    def greeting(self, here: Here) -> str:
        """Return what is said to the silent."""
        return GREETING

    def protocol(self, way: Way, here: Here, greeted: bool) -> Protocol:
        """Return a conversation of that kind."""
        return self.make(way, greeted)

    def _make(self, way: Way, greeted: bool) -> Protocol:
        if way is Way.HTTP:
            return Http()
        if way is Way.TLS:
            return Tls(self._context, self._make, GREETING)
        return Lines(GREETING, greeted)

    def report(self, error: BaseException) -> None:
        """Keep a bug."""
        self.bugs.append(error)

    def hand_over(self, sock: socket.socket, peer: str, here: Here) -> bool:
        """Take a client that speaks ssh, unless the test says that there is no room."""
        if not self.has_room:
            return False
        self.handed_over.append(sock.dup())
        self.epoll.unregister(sock.fileno())
        return True

    def gone(self, fd: int) -> None:
        """Forget a connection."""
        del self.connections[fd]

    # For tests

    def connect(self, sndbuf: int = 0) -> tuple[socket.socket, Connection]:
        """Return a client, by real tcp, and the connection that it has here."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            sock, address = listener.accept()
        if sndbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        sock.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(5)
        connection = Connection(sock, address[0], HERE, self)
        self.connections[sock.fileno()] = connection
        connection.start()
        return client, connection

    def settle(self, wait: float = 0.05) -> int:
        """Serve until nothing is left to do; return how often somebody was ready."""
        for turn in range(TURNS_MAX):
            ready = self.epoll.poll(wait if not turn else 0.01)
            if not ready:
                return turn
            for fd, events in ready:
                if fd in self.connections:
                    self.connections[fd].ready(events)
        raise AssertionError("it turns in circles")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and have those whose deadline has come look at it."""
        self._now += seconds
        for connection in list(self.connections.values()):
            if connection.deadline <= self._now:
                connection.expire()
        self.settle()

    def close(self) -> None:
        """End."""
        for connection in list(self.connections.values()):
            connection.close()
        for sock in self.handed_over:
            sock.close()
        self.epoll.close()
