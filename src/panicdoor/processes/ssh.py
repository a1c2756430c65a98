"""The ssh frontend: speaks ssh to clients that the streams hand over, and judges nobody.

Logins are judged by the monitor, on what the client signed: this process has no key, and what it
may ask to be signed is bounded there. Rules:
- every client is a stranger until the monitor says otherwise, and strangers have a pool of their
  own, with a deadline;
- no thread, no file and no name is needed once this has begun: what asyncssh would give to a
  thread is done at once, and user authentication goes another way than its own;
- the one wait is for a signature of the host key, which asyncssh takes synchronously. When the
  monitor does not give it, key exchanges fail at once for a moment: others must go on meanwhile.
"""

import asyncio
import functools
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import asyncssh

from panicdoor.commands.registry import Here
from panicdoor.keys import ED25519, PublicKey
from panicdoor.messages import Handover, Login, Logout, Regraded, Session, Sign, Signed
from panicdoor.processes.admission import Admission
from panicdoor.processes.desk import Desk
from panicdoor.processes.place import Place
from panicdoor.processes.ssh_connection import CIPHERS, KEX, LOGIN_S, MACS, Connection
from panicdoor.processes.ssh_warmup import Warmth, client_options

STRANGERS: Final = 256  # clients that have not logged in: a key exchange is 20 KiB and 1 ms
OPERATORS: Final = 64  # the same, from networks that grants name
LOGGED_IN_MAX: Final = 128  # connections that have logged in: about 25 KiB each
OF_ONE_MAX: Final = 16  # of one principal: with 8 sessions each, half of what the desk can ask
SIGN_S: Final = 0.2  # seconds in which the monitor must have signed: nothing else runs meanwhile
UNSIGNED_S: Final = 1.0  # seconds after a miss in which it is not asked: no more than a fifth waits
JUDGE_S: Final = 5.0  # seconds in which it must have judged a login
WINDOW: Final = 16 * 1024  # bytes that a session takes in ahead: lines, typed or piped


def prepare(host_key: PublicKey) -> None:
    """Make once, before the first fork, what asyncssh looks at files, names and the user for."""
    logging.disable()  # asyncssh's and asyncio's: nobody reads it
    server_options(host_key.blob)
    client_options()


def run(place: Place) -> None:
    """Be the ssh frontend."""
    ssh = Ssh(place)
    warmth = Warmth(ssh)
    place.give_up_rights()
    place.serve(lambda: warmth.up(place))


class AtOnce(ThreadPoolExecutor):
    """An executor without threads: whatever is submitted has been done when it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Do it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


_AT_ONCE: Final = AtOnce(1)


class HandedOver(socket.socket):
    """A client's socket. Its stream may have kept a copy, and one that was taken over may make it
    blocking again at any time: so each call says that it does not wait (MSG_DONTWAIT, recv(2)).
    """

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read what is there. Raises BlockingIOError where nothing is."""
        return super().recv(size, flags | socket.MSG_DONTWAIT)

    def send(self, data: Any, flags: int = 0) -> int:
        """Write what there is room for. Raises BlockingIOError where there is none."""
        return super().send(data, flags | socket.MSG_DONTWAIT)

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0, *to: Any) -> int:
        """Do the same with many pieces, as asyncio does since Python 3.12."""
        return super().sendmsg(buffers, ancillary, flags | socket.MSG_DONTWAIT, *to)


class Ssh:
    """All ssh connections of this process."""

    def __init__(self, place: Place) -> None:
        self.desk = Desk(place)
        self.door = place.world.door
        self.host_key = place.world.host_key
        self.report = place.report
        self.loop = place.loop
        self.loop.set_default_executor(_AT_ONCE)
        self._place = place
        self._admission = Admission(STRANGERS, OPERATORS, self.desk.door.operators)
        self.desk.changed = lambda door: self._admission.know(door.operators)
        self._connections: dict[int, Connection] = {}
        self._logged_in: dict[int, str] = {}
        self._judged: dict[int, asyncio.Future[Session]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = 0
        self._unsigned_until = 0.0
        self._options = server_options(self.host_key.blob)
        place.on(Handover, self.take)
        place.on(Session, self._session)
        place.on(Regraded, self._regraded)
        place.on(Signed, lambda *_: None)  # came too late

    def take(self, message: Handover, _: str) -> None:
        """Take a client in that a stream has handed over."""
        try:
            sock = HandedOver(fileno=message.fd)
        except OSError:
            os.close(message.fd)  # it is no socket: that stream was taken over
            return
        if sock.type != socket.SOCK_STREAM:
            sock.close()  # nor is that a client
            return
        self.adopt(sock, message.peer, Here(message.host, message.port))

    def adopt(self, sock: socket.socket, peer: str, here: Here, known: bool = False) -> None:
        """Take a connected socket in. `known` is for the warm-up: a stranger, let in as one."""
        sock.setblocking(False)
        self._ids += 1
        number = self._ids
        connection = Connection(self, number, self._options, peer, here, known)
        try:
            victim = self._admission.enter(number, peer)
        except OSError:
            sock.close()
            return
        self._connections[number] = connection
        if victim is not None:
            self._connections[victim].abort()
        task = self.loop.create_task(self._begin(connection, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, sock)
        except (OSError, ValueError):
            sock.close()  # it has gone already, or is no stream: whoever gave it was taken over
            self.gone(connection)

    def gone(self, connection: Connection) -> None:
        """A connection has ended, and with it whatever it was allowed."""
        number = connection.number
        if self._connections.pop(number, None) is not None:
            self._admission.leave(number)
            self._logged_in.pop(number, None)
            self._place.tell("monitor", Logout(self._place.epoch, number))

    def logged_in(self, connection: Connection, principal: str) -> None:
        """A connection has proved who it is: it leaves the strangers' pool.

        Who has too many loses the oldest; where all have too many, so does whoever has most.
        """
        self._admission.leave(connection.number)
        self._logged_in[connection.number] = principal
        held: dict[str, list[int]] = {}
        for number, name in self._logged_in.items():
            held.setdefault(name, []).append(number)
        most = held[principal]
        if len(most) <= OF_ONE_MAX and len(self._logged_in) > LOGGED_IN_MAX:
            most = max(held.values(), key=len)
        elif len(most) <= OF_ONE_MAX:
            return
        del self._logged_in[most[0]]
        self._connections[most[0]].abort()

    # What the monitor does for us

    def sign(self, connection: int, hash: bytes, transcript: bytes) -> bytes:
        """Return the host key's signature, or b"" when the monitor gives none in time."""
        if time.monotonic() < self._unsigned_until:
            return b""
        self._ids += 1
        number, epoch = self._ids, self._place.epoch
        signed = None
        if self._place.tell("monitor", Sign(number, epoch, connection, hash, transcript)):
            signed = self._place.hear(
                "monitor",
                lambda m: isinstance(m, Signed) and (m.id, m.epoch) == (number, epoch),
                SIGN_S,
            )
        if not isinstance(signed, Signed):
            self._unsigned_until = time.monotonic() + UNSIGNED_S
            return b""
        return signed.signature

    async def judge(
        self, connection: int, body: bytes, signature: bytes, peer: str
    ) -> Session | None:
        """Return the monitor's verdict on a request to log in; None when it gives none in time."""
        self._ids += 1
        number, epoch = self._ids, self._place.epoch
        future = self._judged[number] = self.loop.create_future()
        try:
            message = Login(number, epoch, connection, body, signature, peer)
            if not self._place.tell("monitor", message):
                return None
            return await asyncio.wait_for(future, JUDGE_S)
        except TimeoutError:
            return None
        finally:
            del self._judged[number]

    def _session(self, session: Session, _: str) -> None:
        future = self._judged.get(session.id)
        if future is not None and session.epoch == self._place.epoch and not future.done():
            future.set_result(session)

    def _regraded(self, message: Regraded, _: str) -> None:
        connection = self._connections.get(message.connection)
        if connection is not None and message.epoch == self._place.epoch:
            connection.regrade(message.level)


@functools.cache
def server_options(host_key: bytes) -> asyncssh.SSHServerConnectionOptions:
    """Return what holds for every connection; each has a host key of its own that can sign."""
    name = ED25519.encode()
    return asyncssh.SSHServerConnectionOptions(
        config=None,
        server_factory=asyncssh.SSHServer,
        server_version="panicdoor",
        server_host_keys=[asyncssh.SSHKeyPair(name, name, [name], [name], host_key, None)],
        gss_host=None,
        kex_algs=KEX,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        compression_algs=None,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        x509_trusted_certs=None,
        x509_trusted_cert_paths=None,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=LOGIN_S,
        keepalive_interval=60,
        keepalive_count_max=3,
        line_history=100,
        max_line_length=1024,
        encoding="utf-8",
        errors="replace",
        window=WINDOW,
        max_pktsize=WINDOW,
    )
