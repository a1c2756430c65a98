"""One ssh connection: key exchange with a key that is elsewhere, login judged elsewhere.

asyncssh does the transport and the channels. What it would decide by itself is taken from it
here: which host key signs, who gets in, what may be opened.
"""

import asyncio
import sys
from dataclasses import replace
from typing import Any, Final, Protocol

import asyncssh
from asyncssh.connection import SSHServerConnection
from asyncssh.constants import (
    DISC_BY_APPLICATION,
    MSG_KEXINIT,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_REQUEST,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
)
from asyncssh.kex import get_kex_algs
from asyncssh.packet import Boolean, NameList, SSHPacket, String

from panicdoor.commands.registry import Here
from panicdoor.config import Door
from panicdoor.keys import ED25519, PublicKey
from panicdoor.messages import Session
from panicdoor.processes.desk import Desk
from panicdoor.processes.ssh_session import Channel, Login

LOGIN_S: Final = 20.0  # seconds to log in
TRIES_MAX: Final = 32  # requests to log in, questions included: an agent may hold many keys
CHANNELS_MAX: Final = 8  # sessions at once inside one connection
READ_MAX: Final = 8192  # bytes read at once: more would let tiny packets keep others waiting
USER_MAX: Final = 64  # characters, as a principal has
BODY_MAX: Final = 6144  # bytes of a request or a signature, as the monitor takes them

# Quick ones, with which every client of the last ten years can do: strangers pay nothing for them.
KEX: Final = [
    name
    for name in (
        "mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521",
    )
    if name.encode() in get_kex_algs()
]  # fmt: skip
CIPHERS: Final = [
    "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com",
    "aes256-ctr", "aes128-ctr",
]  # fmt: skip
MACS: Final = [
    "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256", "hmac-sha2-512",
]  # fmt: skip

KEXINIT_START, KEXINIT_LISTS = 17, 10  # bytes of type and cookie; name lists (RFC 4253, 7.1)
PK_OK: Final = 60  # SSH_MSG_USERAUTH_PK_OK (RFC 4252 section 7)
PLAIN: Final = b"publickey"
HOSTBOUND: Final = b"publickey-hostbound-v00@openssh.com"
ADVERTISED: Final = b"publickey-hostbound@openssh.com"  # OpenSSH's PROTOCOL section 1.10
SIGNATURES: Final = b",".join(
    (
        b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com", b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521", b"sk-ecdsa-sha2-nistp256@openssh.com",
        b"rsa-sha2-512", b"rsa-sha2-256",
    )
)  # fmt: skip

NO_FORWARDING: Final = "this door forwards nothing; go through another host with: ssh -J"
NO_X11: Final = "panicdoor: no X11 here: its commands print text.\n"
GRANT_GONE: Final = "your grant is gone: another policy holds on this door now"
NO_AGENT: Final = "panicdoor: your agent stays where it is: nothing here uses it. Use ssh -a.\n"


class Host(Protocol):
    """What a connection needs of the process it lives in."""

    desk: Desk
    door: Door
    host_key: PublicKey
    loop: asyncio.SelectorEventLoop

    def sign(self, connection: int, hash: bytes) -> bytes:
        """Return the host key's signature, or b""."""

    async def judge(
        self, connection: int, body: bytes, signature: bytes, peer: str
    ) -> Session | None:
        """Return the monitor's verdict, or None."""

    def logged_in(self, connection: "Connection", principal: str) -> None:
        """A connection has proved who it is."""

    def gone(self, connection: "Connection") -> None:
        """A connection has ended."""

    def report(self, error: BaseException) -> None:
        """Record a bug."""


class HostKey(asyncssh.SSHKeyPair):
    """The door's key as one connection sees it: the private half is the monitor's."""

    def __init__(self, host: Host, connection: int) -> None:
        algorithm = ED25519.encode()
        super().__init__(algorithm, algorithm, [algorithm], [algorithm], host.host_key.blob, None)
        self._ours = host, connection

    def sign(self, data: bytes) -> bytes:
        """Have the hash of a key exchange signed."""
        host, connection = self._ours
        signature = host.sign(connection, data)
        if not signature:
            raise asyncssh.ServiceNotAvailable("the door is busy; try again in a few seconds")
        return signature


class Connection(SSHServerConnection):
    """A client."""

    def __init__(
        self,
        host: Host,
        number: int,
        options: asyncssh.SSHServerConnectionOptions,
        peer: str,
        here: Here,
        known: bool,
    ) -> None:
        super().__init__(host.loop, options)
        self.number: Final = number
        self.login = Login("", "", "", "", peer, here)
        self.choked = False
        self._host = host
        self._known = known
        self._tries = 0
        self._open: set[Channel] = set()
        self._extensions_to_send[ADVERTISED] = b"0"
        self._sig_algs = [SIGNATURES]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        transport.max_size = READ_MAX  # type: ignore[attr-defined]
        super().connection_made(transport)
        self._owner = Owner(self)

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self._host.gone(self)

    def internal_error(self, exc_info: Any = None, error_logger: Any = None) -> None:
        """End, and report what nobody expected."""
        error = (exc_info or sys.exc_info())[1]
        if isinstance(error, Exception) and not isinstance(error, asyncssh.Error | OSError):
            self._host.report(error)
        super().internal_error(exc_info, error_logger)

    # The host key

    def choose_server_host_key(self, peer_host_key_algs: Any) -> bool:
        """Take the only one there is."""
        self._server_host_key = HostKey(self._host, self.number)
        return ED25519.encode() in peer_host_key_algs

    async def _exchange_keys(self, type_: int, id_: int, packet: SSHPacket) -> None:
        """Have asyncssh do it, but for one thing: whether the client has guessed wrong.

        It compares the guess with what is chosen. Clients go by RFC 4253 section 7, where it is
        wrong unless it is what both prefer, and send their first packet again.
        """
        payload = packet.get_full_payload()
        await self._process_kexinit(type_, id_, packet)
        self._ignore_first_kex = _guessed_wrong(payload)

    # Logging in

    def _process_login(self, _type: int, _id: int, packet: SSHPacket) -> Any:
        """Have a request to log in judged: this replaces all that asyncssh would do with it."""
        if self._auth_complete:
            return None
        user, service, method = packet.get_string(), packet.get_string(), packet.get_string()
        self._tries += 1
        if self._tries > TRIES_MAX:
            raise asyncssh.PermissionDenied("too many keys; name one with: ssh -i FILE")
        if service != b"ssh-connection" or method not in (PLAIN, HOSTBOUND):
            self._refuse()
            return None
        signed = packet.get_boolean()
        algorithm, key = packet.get_string(), packet.get_string()
        if method == HOSTBOUND:
            packet.get_string()
        body = packet.get_consumed_payload()
        signature = packet.get_string() if signed else b""
        packet.check_end()
        if max(len(body), len(signature)) > BODY_MAX or len(user) > USER_MAX:
            self._refuse()
            return None
        return self._have_judged(body, signature, algorithm, key)

    async def _have_judged(
        self, body: bytes, signature: bytes, algorithm: bytes, key: bytes
    ) -> None:
        login = self.login
        verdict = await self._host.judge(self.number, body, signature, login.peer)
        if self._transport is None:
            return
        if verdict is not None and verdict.token and signature:
            self.login = Login(
                verdict.principal, verdict.level, verdict.token, verdict.note,
                login.peer, login.here,
            )  # fmt: skip
            self._host.logged_in(self, verdict.principal)
            await self.send_userauth_success()
        elif self._known and signature:
            # Without a token every request is a stranger's.
            await self.send_userauth_success()
        elif not signature and (self._known or (verdict is not None and verdict.known)):
            self.send_packet(PK_OK, String(algorithm), String(key))
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.send_packet(MSG_USERAUTH_FAILURE, NameList([PLAIN]), Boolean(False))

    def regrade(self, level: str) -> None:
        """Go on with another level; "" where nothing of this login is left."""
        if level:
            self.login = replace(self.login, level=level)
            for channel in self._open:
                channel.regrade(self.login)
            return
        for channel in list(self._open):
            channel.expel(f"panicdoor: {GRANT_GONE}\n")
        self.disconnect(DISC_BY_APPLICATION, GRANT_GONE)

    # Channels

    def open_session(self) -> Channel:
        """Return a new session, for a channel that is being opened."""
        if len(self._open) >= CHANNELS_MAX:
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many sessions in here")
        channel = Channel(self._host, self.login, self._open.discard)
        channel.choked = self.choked
        self._open.add(channel)
        return channel

    def pause_writing(self) -> None:
        """The client does not read as fast: nothing more is asked for on its behalf."""
        self._choke(True)

    def resume_writing(self) -> None:
        """It has read on."""
        self._choke(False)

    def _choke(self, choked: bool) -> None:
        self.choked = choked
        for channel in list(self._open):
            channel.choke(choked)

    async def attach_x11_listener(self, chan: Any, *_: Any) -> str | None:
        """Say what to do instead."""
        chan.write_stderr(NO_X11)
        return None

    async def create_agent_listener(self) -> bool:
        """Say what to do instead."""
        for channel in list(self._open):
            channel.remark(NO_AGENT)
        return False

    _packet_handlers = {
        **SSHServerConnection._packet_handlers,
        MSG_KEXINIT: _exchange_keys,
        MSG_USERAUTH_REQUEST: _process_login,
    }


def _guessed_wrong(kexinit: bytes) -> bool:
    """Return whether a first packet follows this KEXINIT that is to be ignored."""
    packet = SSHPacket(kexinit)
    packet.get_bytes(KEXINIT_START)
    lists = [packet.get_namelist() for _ in range(KEXINIT_LISTS)]
    follows = packet.get_boolean()
    return follows and (lists[0][:1], lists[1][:1]) != ([KEX[0].encode()], [ED25519.encode()])


class Owner(asyncssh.SSHServer):
    """What asyncssh asks about channels."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def session_requested(self) -> Any:
        """A session is all there is."""
        return self._connection.open_session()

    def connection_requested(self, *_: Any) -> Any:
        """No tcp goes through here."""
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_FORWARDING)

    def unix_connection_requested(self, dest_path: str) -> Any:
        """Nor anything else."""
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_FORWARDING)

    def tun_requested(self, unit: int | None) -> Any:
        """Nor packets."""
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_FORWARDING)

    def tap_requested(self, unit: int | None) -> Any:
        """Nor frames."""
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_FORWARDING)
