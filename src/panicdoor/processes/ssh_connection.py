"""One ssh connection: key exchange with a key that is elsewhere, login judged elsewhere.

asyncssh does the transport and the channels. What it would decide by itself is taken from it
here: which host key signs, who gets in, what may be opened. Rules:
- the first line names a challenge of the monitor's, so that nobody's login is good twice (see
  `judge.sessions`);
- before the login there is one key exchange and nothing besides; one request is judged at a time,
  and nothing is read meanwhile;
- a stranger has a number of packets, and is let go when they are used up: a flood of tiny ones
  would keep everybody else waiting;
- what a client can make us hold is bounded: packets by READ_MAX and PACKET_MAX, what it does not
  read by UNSENT_MAX, what waits for a new key by DEFERRED_MAX. Beyond, it is let go.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable
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
from panicdoor.messages import TRANSCRIPT_MAX, Session
from panicdoor.processes.desk import Desk
from panicdoor.processes.ssh_channel import SessionChannel
from panicdoor.processes.ssh_session import Channel, Login

LOGIN_S: Final = 20.0  # seconds to log in
TRIES_MAX: Final = 32  # requests to log in, questions included: an agent may hold many keys
CHANNELS_MAX: Final = 8  # sessions at once inside one connection
READ_MAX: Final = 8192  # bytes read at once: more would let tiny packets keep others waiting
CLEAR_PACKETS_MAX: Final = 16  # packets in the clear: a key exchange is three
STRANGER_PACKETS_MAX: Final = 256  # packets before a login: two for each key of a full agent
USER_MAX: Final = 64  # characters, as a principal has
BODY_MAX: Final = 6144  # bytes of a request or a signature, as the monitor takes them
PACKET_MAX: Final = 35_000  # bytes: what all must take (RFC 4253 section 6.1), and no more
UNSENT_MAX: Final = 512 * 1024  # bytes not sent: all sessions' answers at once are half of it
STRANGER_UNSENT_MAX: Final = 32 * 1024  # bytes, before a login: what is said to it is 5 KiB
DEFERRED_MAX: Final = 512  # packets that wait for a new key: answers stop meanwhile
REKEYS_MAX: Final = 120  # key exchanges a minute: OpenSSH makes one each 16 KiB, if told to
MINUTE: Final = 60.0  # seconds
VERSION: Final = "panicdoor"  # followed by a challenge

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

NOT_KNOWN: Final = (
    "panicdoor of {name}: not this key under this name. Log in by the name that the\n"
    "door knows you by, not an account's. Whom to call, and more: nc {host} {port}\n"
)
NO_FORWARDING: Final = "this door forwards nothing; go through another host with: ssh -J"
GRANT_GONE: Final = "your grant is gone: another policy holds on this door now"


class Host(Protocol):
    """What a connection needs of the process it lives in."""

    desk: Desk
    door: Door
    host_key: PublicKey
    loop: asyncio.SelectorEventLoop

    def sign(self, connection: int, hash: bytes, transcript: bytes) -> bytes:
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

    def __init__(self, host: Host, connection: "Connection") -> None:
        algorithm = ED25519.encode()
        super().__init__(algorithm, algorithm, [algorithm], [algorithm], host.host_key.blob, None)
        self._ours = host, connection

    def sign(self, data: bytes) -> bytes:
        """Have the hash of a key exchange signed."""
        host, connection = self._ours
        if len(connection.transcript) > TRANSCRIPT_MAX:  # the monitor would not even read it
            raise asyncssh.KeyExchangeFailed("fewer algorithms, please")
        signature = host.sign(connection.number, data, connection.transcript)
        if not signature:
            raise asyncssh.ServiceNotAvailable("the door is busy; try again in a few seconds")
        return signature


class Transcript:
    """What a key exchange takes hashes with: of the first one it tells `keep` what was hashed."""

    def __init__(self, algorithm: Callable[..., Any], keep: Callable[[bytes], None]) -> None:
        self._algorithm = algorithm
        self._keep: Callable[[bytes], None] | None = keep
        self._parts: list[bytes] = []

    def __call__(self, *whole: bytes) -> Any:
        """Begin a hash; one of something whole (a secret of two halves) is none of an exchange."""
        return self._algorithm(*whole) if whole or self._keep is None else self

    def update(self, data: bytes) -> None:
        """Take a part."""
        self._parts.append(data)

    def digest(self) -> bytes:
        """Return the hash of all parts."""
        transcript = b"".join(self._parts)
        if self._keep is not None:
            self._keep(transcript)
        self._keep = None
        hash = self._algorithm()
        hash.update(transcript)
        digest: bytes = hash.digest()
        return digest


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
        self.transcript = b""
        self._host = host
        self._known = known
        self._tries = self._packets = 0
        self._full = self._dropped = self._told = False
        self._greeting = ""
        self._exchanges: list[float] = []
        self._open: set[Channel] = set()
        self._version = f"{VERSION} {host.desk.challenge()}".rstrip().encode()
        self._max_recv_pktlen = PACKET_MAX
        self._extensions_to_send[ADVERTISED] = b"0"
        self._sig_algs = [SIGNATURES]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        transport.max_size = READ_MAX  # type: ignore[attr-defined]
        super().connection_made(transport)
        self._owner = Owner(self)
        if self._dropped:
            self.abort()

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Take what has come; before a login confirm it at once.

        Clients wait for that before they send their next small packet (RFC 896), and our kernel
        would take 40 ms for it.
        """
        if not self._auth_complete and self._transport is not None:
            with contextlib.suppress(OSError):  # it is no tcp, or gone
                sock = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        super().data_received(data, datatype)

    def _recv_packet(self) -> bool:
        """Take a packet; strangers have so few that nobody else waits for theirs."""
        most = STRANGER_PACKETS_MAX if self._recv_encryption else CLEAR_PACKETS_MAX
        if not self._auth_complete and self._packets >= most:
            raise asyncssh.ProtocolError("too many packets before a login")
        taken = super()._recv_packet()
        self._packets += taken
        return taken

    def abort(self) -> None:
        """End at once; where it has not begun yet, as soon as it does."""
        self._dropped = True
        super().abort()

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self._host.gone(self)

    def internal_error(self, exc_info: Any = None, error_logger: Any = None) -> None:
        """End, and report what nobody expected: not what a client's bytes made asyncssh raise."""
        error = (exc_info or sys.exc_info())[1]
        if isinstance(error, Exception) and not (
            isinstance(error, asyncssh.Error | OSError)
            or (isinstance(error, ValueError | IndexError) and not _raised_by_us(error))
        ):
            self._host.report(error)
        super().internal_error(exc_info, error_logger)

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send, and let go of a client that makes us say more than it reads."""
        super().send_packet(pkttype, *args, handler=handler)
        if self._transport is None:
            return
        most = UNSENT_MAX if self._auth_complete else STRANGER_UNSENT_MAX
        unsent = self._transport.get_write_buffer_size()
        if unsent > most or len(self._deferred_packets) > DEFERRED_MAX:
            self.abort()

    # The host key

    def choose_server_host_key(self, peer_host_key_algs: Any) -> bool:
        """Take the only one there is."""
        self._server_host_key = HostKey(self._host, self)
        return ED25519.encode() in peer_host_key_algs

    async def _exchange_keys(self, type_: int, id_: int, packet: SSHPacket) -> None:
        """Have asyncssh do it, but for how often, and whether the client has guessed wrong.

        asyncssh compares the guess with what is chosen. Clients go by RFC 4253 section 7, where
        it is wrong unless it is what both prefer, and send their first packet again.
        """
        now = time.monotonic()
        self._exchanges = [at for at in self._exchanges if at > now - MINUTE] + [now]
        again = self._session_id and not self._auth_complete
        if again or self._next_recv_encryption or len(self._exchanges) > REKEYS_MAX:
            raise asyncssh.ProtocolError("no key exchange is due")
        payload = packet.get_full_payload()
        await self._process_kexinit(type_, id_, packet)
        self._ignore_first_kex = _guessed_wrong(payload)
        kex: Any = self._kex
        kex._hash_alg = Transcript(kex._hash_alg, self._keep)

    def _keep(self, transcript: bytes) -> None:
        self.transcript = transcript

    def _send_kexinit(self) -> None:
        super()._send_kexinit()
        self._choke()

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        """Go on with the new key."""
        super().send_newkeys(k, h)
        self._choke()

    # Logging in

    def _process_login(self, _type: int, _id: int, packet: SSHPacket) -> Any:
        """Have a request to log in judged: this replaces all that asyncssh would do with it."""
        if self._auth_complete:
            return None
        if not self._auth_in_progress or self._kex:
            raise asyncssh.ProtocolError("no login is due")
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
        login, transport = self.login, self._transport
        if transport is None:
            return
        transport.pause_reading()
        verdict = await self._host.judge(self.number, body, signature, login.peer)
        if self._transport is None:
            return
        transport.resume_reading()
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
            self._tell()
            self._refuse()

    def _tell(self) -> None:
        """Say once what a name and a key must be: ssh itself only says "permission denied"."""
        if not self._told:
            self._told = True
            here = self.login.here
            text = NOT_KNOWN.format(name=self._host.door.name, host=here.host, port=here.port)
            self.send_auth_banner(text)

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

    @property
    def choked(self) -> bool:
        """Whether nothing more should be said now: the client does not read, or waits for a key."""
        return self._full or not self._kex_complete

    def open_session(self) -> tuple[SessionChannel, Channel]:
        """Return a new session and its channel, which is being opened."""
        if len(self._open) >= CHANNELS_MAX:
            raise asyncssh.ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many sessions in here")
        channel = Channel(self._host, self.login, self._open.discard)
        channel.choked = self.choked
        self._open.add(channel)
        chan = SessionChannel(
            self, self._loop, self._allow_pty, self._line_editor, self._line_echo,
            self._line_history, self._max_line_length, self._encoding, self._errors,
            self._window, self._max_pktsize,
        )  # fmt: skip
        chan.greeting = lambda: self._greeting
        return chan, channel

    def pause_writing(self) -> None:
        """The client does not read as fast: nothing more is asked for on its behalf."""
        self._full = True
        self._choke()

    def resume_writing(self) -> None:
        """It has read on."""
        self._full = False
        self._choke()

    def _choke(self) -> None:
        for channel in list(self._open):
            channel.choke(self.choked)

    def _process_tun_at_openssh_dot_com_open(self, _: SSHPacket) -> Any:
        raise asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_FORWARDING)

    def _process_tcpip_forward_global_request(self, _: SSHPacket) -> None:
        self._greeting = f"panicdoor: {NO_FORWARDING}\n"  # this answer has no room for it
        self._report_global_response(False)

    def _process_streamlocal_forward_at_openssh_dot_com_global_request(self, _: SSHPacket) -> None:
        self._process_tcpip_forward_global_request(_)

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


def _raised_by_us(error: BaseException) -> bool:
    """Return whether it was raised in this package, and not in a library."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return where is not None and "panicdoor." in where.tb_frame.f_globals.get("__name__", "")


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
