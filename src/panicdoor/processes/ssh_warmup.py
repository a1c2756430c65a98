"""Warm-up of the ssh frontend: log in to it, use everything once, before ready is announced.

What asyncssh and cryptography do for the first time imports, allocates and faults in pages. So a
client with a key made for this is refused once, and let in once as a stranger, who may ask what
anybody may.
"""

import asyncio
import functools
import gc
import socket
import time
from typing import Any, Final, Protocol

import asyncssh
from asyncssh.connection import SSHClientConnection
from asyncssh.editor import SSHLineEditor

from panicdoor.commands.registry import Here
from panicdoor.processes.desk import Desk
from panicdoor.processes.place import Place

ROUND_S: Final = 3.0  # seconds at most: a door whose monitor is dead is warmed as far as it goes
CHALLENGE_S: Final = 0.5  # seconds in which a monitor that is there has said a challenge
STEP_S: Final = 0.02  # seconds between two looks whether all is said
LOOPBACK: Final = "127.0.0.1"
COMMANDS: Final = ("help", "ping", "about --json", "no such", "'", "order ping")
TYPED: Final = ("he\t\t", "lp\r", "\x1b[A\x7f\x03", "doc\r", " ", "q", "ping\r", "exit\r")


class Adopter(Protocol):
    """Whoever takes a connected socket in."""

    desk: Desk

    def adopt(self, sock: socket.socket, peer: str, here: Here, known: bool = False) -> None:
        """Serve a client."""


@functools.cache
def client_options() -> asyncssh.SSHClientConnectionOptions:
    """Return what our own client wants, and its key, which nobody knows.

    Its line editor's pattern, which takes long to make, is remembered by `re`.
    """
    nobody: Any = None
    SSHLineEditor(nobody, nobody, True, 0, 0, "xterm", 80)
    return asyncssh.SSHClientConnectionOptions(
        config=None,
        known_hosts=None,
        host=LOOPBACK,
        username="warm-up",
        client_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        agent_path=None,
        gss_host=None,
        compression_algs=None,
        x509_trusted_certs=None,
        x509_trusted_cert_paths=None,
    )


class Warmth:
    """The warm-up of one process."""

    def __init__(self, ssh: Adopter) -> None:
        self._ssh = ssh
        self._options = client_options()

    def up(self, place: Place) -> None:
        """Do everything once, with an end in sight."""
        task = place.loop.create_task(self._all(place))
        give_up = time.monotonic() + ROUND_S
        while not task.done() and time.monotonic() < give_up:
            place.run_for(STEP_S)
        task.cancel()
        place.run_for(STEP_S)
        gc.collect()  # connections are cycles, and these were the first
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            place.report(error)

    async def _all(self, place: Place) -> None:
        give_up = time.monotonic() + CHALLENGE_S
        while not self._ssh.desk.challenge() and time.monotonic() < give_up:
            await asyncio.sleep(STEP_S)  # without one no key exchange is signed
        await self._visit(place, known=False)
        await self._visit(place, known=True)

    async def _visit(self, place: Place, known: bool) -> None:
        """Log in, or be refused."""
        theirs, ours = socket.socketpair()
        theirs.setblocking(False)
        self._ssh.adopt(ours, LOOPBACK, Here(LOOPBACK, 1), known)
        waiter: asyncio.Future[None] = place.loop.create_future()
        self._options.waiter = waiter
        client = SSHClientConnection(place.loop, self._options, wait="auth")
        await place.loop.connect_accepted_socket(lambda: client, theirs)
        try:
            await waiter
            for command in COMMANDS:
                await client.run(command, check=False)
            await client.run(None, input="ping\nhelp\n", check=False)
            await self._type(client)
        except (asyncssh.Error, OSError):
            pass  # refused, as it should be the first time
        finally:
            client.abort()

    async def _type(self, client: SSHClientConnection) -> None:
        process: Any = await client.create_process(term_type="xterm", term_size=(80, 24))
        for text in TYPED:
            process.stdin.write(text)
            await asyncio.sleep(STEP_S)
        await process.wait()
