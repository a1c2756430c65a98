"""Clients that speak real ssh, as asyncssh does, and beside it whatever a test likes.

They connect by a socket pair of which the ssh process is handed the other end, or by tcp. What
the door says to them is kept, packet by packet.
"""

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
from asyncssh.connection import SSHClientConnection
from asyncssh.packet import Boolean, SSHPacket, String, UInt32
from tests.places import End, Places, opened
from tests.running import LOOPBACK

from panicdoor.messages import Handover, Ping, Pong, Write
from panicdoor.processes import monitor as monitor_module
from panicdoor.processes.opening import open_door

TRIES, PAUSE = 8, 0.7  # and seconds between them: the monitor says Fresh every 5 s
PATIENCE = 10.0  # seconds for whatever happens at once on a machine that is not busy
OURS = 77  # the number of what a test opens by itself; asyncssh counts from 0


def opening(kind: str = "session", window: int = 1 << 21, size: int = 1 << 15) -> bytes:
    """Return what opens a channel."""
    return String(kind) + UInt32(OURS) + UInt32(window) + UInt32(size)


KEXINIT, KEX_INIT, NEWKEYS, DISCONNECT, UNIMPLEMENTED = 20, 30, 21, 1, 3
SERVICE, LOGIN, REFUSED, ENTERED = 5, 50, 51, 52
GLOBAL, OPEN, OPENED, OPEN_FAILED, REQUEST = 80, 90, 91, 92, 98
LAST_OF_CHANNELS = 100


def key() -> asyncssh.SSHKey:
    """Return a new private key."""
    return asyncssh.generate_private_key("ssh-ed25519")


def blob(of: asyncssh.SSHKey) -> bytes:
    """Return its public half."""
    return of.public_data


class Channels(dict[int, Any]):
    """The channels of a client: those of its own, and for other numbers one that only listens."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __missing__(self, number: int) -> "Client":
        return self._client


class Listening:
    """Whoever is told of what the door says about a login: the test alone."""

    def __init__(self, client: "Client") -> None:
        self.log_received_packet = client.log_received_packet

    def process_packet(self, *_: Any) -> bool:
        """Do nothing."""
        return True

    def cancel(self) -> None:
        """Do nothing."""


class Client(SSHClientConnection):
    """A client that stops `before` "service" or "login", or never, and then says what is told.

    What is in `deaf` it does not react to.
    """

    def __init__(self, loop: Any, options: Any, before: str) -> None:
        super().__init__(loop, options, wait=None if before else "auth")
        self.before = before
        self.deaf = {REFUSED} if before else set()
        self._channels: Any = Channels(self)
        self.heard: list[tuple[int, bytes]] = []
        self.reached = asyncio.Event()
        self.ended = asyncio.Event()

    def send_service_request(self, service: bytes) -> None:
        if self.before == "service":
            self.reached.set()
        else:
            super().send_service_request(service)

    def try_next_auth(self, *, next_method: bool = False) -> None:
        if self.before == "login":
            listening: Any = Listening(self)
            self._auth = listening
            self.reached.set()
        else:
            super().try_next_auth(next_method=next_method)

    def log_received_packet(
        self, pkttype: int, pktid: int | None, packet: Any, note: str = ""
    ) -> None:
        payload = packet.get_full_payload() if isinstance(packet, SSHPacket) else packet
        self.heard.append((pkttype, payload))

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Leave what belongs to a test's own channel to the test."""
        about = int.from_bytes(packet.get_full_payload()[1:5], "big")
        if pkttype in self.deaf or (OPENED <= pkttype <= LAST_OF_CHANNELS and about == OURS):
            return True
        return super().process_packet(pkttype, pktid, packet)

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self.ended.set()

    def say(self, kind: int, *parts: bytes) -> None:
        """Send a packet, whatever the state."""
        self._kex_complete = True
        complete, self._auth_complete = self._auth_complete, True
        self.send_packet(kind, *parts)
        self._auth_complete = complete

    async def hear(self, kind: int) -> bytes:
        """Wait for a packet of that kind and return the rest of it; what came before is lost."""

        async def look() -> bytes:
            while True:
                while self.heard:
                    found, payload = self.heard.pop(0)
                    if found == kind:
                        return payload[1:]
                await asyncio.sleep(0.005)

        return await asyncio.wait_for(look(), PATIENCE)

    async def end(self) -> None:
        """Wait until the door has closed."""
        await asyncio.wait_for(self.ended.wait(), PATIENCE)

    def said(self, kind: int) -> list[bytes]:
        """Return what the door has said of that kind and was not heard yet."""
        return [payload[1:] for found, payload in self.heard if found == kind]


@asynccontextmanager
async def client(
    reach: Callable[[], socket.socket], who: asyncssh.SSHKey, *, user: str = "alice",
    before: str = "", tries: int = TRIES, **more: Any,
) -> AsyncIterator[Client]:  # fmt: skip
    """A client that has logged in, or has come as far as `before`; `more` are asyncssh's options.

    Raises asyncssh.Error where it cannot.
    """
    options = asyncssh.SSHClientConnectionOptions(
        config=None, known_hosts=None, host=LOOPBACK, username=user, client_keys=[who],
        agent_path=None, gss_host=None, **more,
    )  # fmt: skip
    for left in range(tries - 1, -1, -1):
        try:
            made = await _connected(reach(), options, before)
            break
        except asyncssh.ServiceNotAvailable:  # this machine kept the monitor from answering
            if not left:
                raise
            await asyncio.sleep(PAUSE)
    try:
        yield made
    finally:
        made.abort()
        await made.wait_closed()


async def _connected(sock: socket.socket, options: Any, before: str) -> Client:
    loop: Any = asyncio.get_running_loop()
    options.waiter = loop.create_future()
    made = Client(loop, options, before)
    sock.setblocking(False)
    await loop.connect_accepted_socket(lambda: made, sock)
    waiting = asyncio.ensure_future(made.reached.wait() if before else options.waiter)
    ended = asyncio.ensure_future(made.ended.wait())
    try:
        await asyncio.wait((waiting, ended), timeout=PATIENCE, return_when="FIRST_COMPLETED")
        if not waiting.done():
            raise asyncssh.ServiceNotAvailable("ended")
        await waiting
    except BaseException:
        made.abort()
        raise
    finally:
        waiting.cancel()
        ended.cancel()
    return made


def wire_packet(payload: bytes) -> bytes:
    """Return a packet as it is before there are keys (RFC 4253 section 6)."""
    padding = -(5 + len(payload)) % 8 + 8
    return UInt32(1 + len(payload) + padding) + bytes([padding]) + payload + bytes(padding)


def kexinit(
    kex: bytes = b"curve25519-sha256", cipher: bytes = b"aes128-ctr", follows: bool = False
) -> bytes:
    """Return a client's KEXINIT."""
    lists = (kex, b"ssh-ed25519", cipher, cipher, b"hmac-sha2-256", b"hmac-sha2-256")
    none = (b"none", b"none", b"", b"")
    return (
        bytes([KEXINIT])
        + bytes(16)
        + b"".join(map(String, lists + none))
        + Boolean(follows)
        + UInt32(0)
    )


def hand_over(stream: End) -> socket.socket:
    """Hand one end of a socket pair over to the ssh process, as a stream; return the other."""
    ours, theirs = socket.socketpair()
    with theirs:
        packet = msgspec.msgpack.encode(Handover(LOOPBACK, LOOPBACK, 903))
        stream.push(packet, [theirs.fileno()])
    return ours


def handing_over(places: Places) -> Callable[[], socket.socket]:
    """Return what reaches the ssh process of these places."""
    stream = places.end("stream1", "ssh")
    return lambda: hand_over(stream)


@contextmanager
def alice_in(
    directory: Path, who: asyncssh.SSHKey, hurry: Callable[[], object] = lambda: None
) -> Iterator[Places]:
    """A door that knows alice by this key, with an ssh process, after `hurry`, and a monitor."""
    with opened(directory):
        pass
    line = f"ssh-ed25519 {b64encode(blob(who)).decode()}"
    (directory / "allowed_signers").write_text(f'alice namespaces="login@panicdoor" {line}\n')
    policy = (directory / "door.toml").read_text().partition("\n# [[grant]]")[0]
    grant = '\n[[grant]]\nto = ["alice"]\nmay = ["defend"]\n'
    (directory / "door.toml").write_text(policy + grant)
    places = Places(open_door(directory, demo=True), directory, 0)
    try:
        places.fill("worker1")
        places.fill("monitor", lambda: setattr(monitor_module, "FRESH_S", 0.2))
        places.fill("ssh", hurry)
        places.end("supervisor", "ssh").say(Ping(1))
        places.end("supervisor", "ssh").hear(Pong, 15.0)  # it has warmed up
        yield places
    finally:
        places.close()


def journal_has_no_bug(places: Places) -> None:
    """Fail where anybody has reported something unexpected."""
    entries = places.end("writer", "monitor").waiting()
    assert [entry for entry in entries if isinstance(entry, Write) and entry.kind == "bug"] == []
