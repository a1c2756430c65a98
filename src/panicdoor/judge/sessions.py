"""Logins by ssh, judged as if the process that speaks ssh had been taken over.

It sends what the client signed, untouched, and the signature. What it could do with a key that is
not its own is bounded here:
- the door's key signs nothing but the hash of a key exchange, and sees what was hashed: it names
  this door's key as the host's, and in the server's first line one of the last challenges that
  this very process has given out. Later exchanges of a connection (rekeys) may name an old one;
- the first hash of a connection is its session id, later ones never are. A login names a session
  id, which then is used up: for as long as its challenge lives, and with it nothing is signed
  again;
- only publickey-hostbound-v00@openssh.com, which names the host it is meant for, gives what the
  grants give. Plain publickey may look, no more.

So a login opens one session, at the door and in the minute it was made for. What was recorded of
it opens no other, be it tried at once, or at a monitor that has taken the place, at the door when
it was started again, or at a copy of it with the same key: those have given out other challenges,
and nobody finds another exchange with the same hash. One made to another host names another key.
What a frontend that was taken over can do is to misuse the sessions that are open meanwhile.

Formats: RFC 4252 section 7, RFC 5656 section 4 (what is hashed), and OpenSSH's PROTOCOL section
3.1 (hostbound). Times and randomness are arguments; `now` is seconds of any clock that does not
jump, `wall` seconds since 1970.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from panicdoor.commands.registry import Level
from panicdoor.judge.policy import Policy, Speaker
from panicdoor.keys import ED25519, PublicKey
from panicdoor.orders.certificates import plain
from panicdoor.orders.signatures import fits, verify
from panicdoor.orders.signers import LOGIN, Signer, Signers
from panicdoor.orders.sshwire import Reader, string

# By the size of a hash in bytes; SHA-1 (20) is not signed.
DIGESTS: Final = {32: hashlib.sha256, 48: hashlib.sha384, 64: hashlib.sha512}
VERSION: Final = "SSH-2.0-panicdoor"  # the server's first line; its challenge comes after a blank
CHALLENGES_MAX: Final = 16  # the last ones given out, each 5 s: a client logs in within 20 s
LOGIN_S: Final = 30.0  # seconds from key exchange to login; the frontend gives a client 20
CONNECTIONS_MAX: Final = 4096  # connections that may still log in; then the oldest is forgotten
TRIES_MAX: Final = 64  # keys that one connection may offer: an agent may hold dozens
SESSIONS_MAX: Final = 1024  # sessions; a frontend holds fewer, the rest has ended without a word
USED_MAX: Final = 1024  # logins under one challenge: then nobody gets in until the next one
TOKEN_SIZE: Final = 16  # bytes of randomness

PLAIN: Final = "publickey"
HOSTBOUND: Final = "publickey-hostbound-v00@openssh.com"
USERAUTH_REQUEST: Final = 50

NOT_BOUND: Final = (
    "Observe only: this client's login does not name the host that it is for. For\n"
    "more, use OpenSSH 8.9 or later, whose logins name it.\n"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to log in, as it was signed. `host` is None in plain publickey."""

    user: str
    algorithm: str
    key: bytes
    host: bytes | None
    signed: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A login that holds until the connection ends. `shown` is the key's blob, or a certificate."""

    speaker: Speaker
    connection: int
    key: PublicKey
    shown: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request: `session` and `token` for a login, `known` for a question."""

    known: bool
    token: str = ""
    session: Session | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What another policy means for a session: the level that may be typed, "" where it ended."""

    epoch: int
    token: str
    session: Session
    level: str


NO: Final = Verdict(known=False)


@dataclass(slots=True)
class _Connection:
    """A connection whose key exchange was signed. `hash` is b"" once it has been used up."""

    hash: bytes
    challenge: str
    since: float
    tries: int = 0


class Sessions:
    """Everything that is remembered of ssh connections, of one frontend process at a time."""

    def __init__(self, identity: Ed25519PrivateKey, signers: Signers, policy: Policy) -> None:
        self._identity = identity
        self._host = string(ED25519.encode()) + string(identity.public_key().public_bytes_raw())
        self._signers = signers
        self._policy = policy
        self._epoch = 0
        self._connections: OrderedDict[int, _Connection] = OrderedDict()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        # The session ids that were used up, by the challenge that each of them names.
        self._used: OrderedDict[str, set[bytes]] = OrderedDict()

    def freshen(self, challenge: str) -> None:
        """The frontend has been given this challenge: key exchanges that name it are new."""
        self._used[challenge] = set()
        if len(self._used) > CHALLENGES_MAX:
            self._used.popitem(last=False)

    def begin(self, epoch: int) -> None:
        """A process has taken the frontend's place: nothing of its predecessor's counts."""
        self._epoch = epoch
        self._connections.clear()
        self._sessions.clear()

    def sign(
        self, epoch: int, connection: int, hash: bytes, transcript: bytes, now: float
    ) -> bytes:
        """Return the signature (a blob) of a key exchange's hash, or b"" where it gets none.

        `transcript` is what was hashed.
        """
        digest = DIGESTS.get(len(hash))
        version, host = exchanged(transcript)
        if not self._is_mine(epoch) or digest is None or digest(transcript).digest() != hash:
            return b""
        if host != self._host:
            return b""
        if connection not in self._connections:
            name, _, challenge = version.partition(" ")
            if name != VERSION or hash in self._used.get(challenge, {hash}):
                return b""
            self._connections[connection] = _Connection(hash, challenge, now)
            if len(self._connections) > CONNECTIONS_MAX:
                self._connections.popitem(last=False)
        return string(ED25519.encode()) + string(self._identity.sign(hash))

    def login(
        self,
        epoch: int,
        connection: int,
        body: bytes,
        signature: bytes,
        address: str,
        now: float,
        wall: float,
        random: bytes,
    ) -> Verdict:
        """Judge a request: `body` is the packet of user authentication up to its signature.

        A request without signature asks whether a key would do. `random` is TOKEN_SIZE fresh bytes.
        """
        at = self._connections.get(connection)
        request = parse(body)
        if not self._is_mine(epoch) or at is None or not at.hash or request is None:
            return NO
        at.tries += 1
        used = self._used.get(at.challenge)
        if at.tries > TRIES_MAX or now - at.since > LOGIN_S:
            return NO
        if used is None or at.hash in used or len(used) >= USED_MAX:
            return NO
        signer = self._signer(request, wall)
        if signer is None or request.signed != bool(signature):
            return NO
        if not request.signed:
            return Verdict(known=True)
        hash, at.hash = at.hash, b""
        algorithm = plain(request.algorithm) or request.algorithm
        if not verify(signer.key.blob, algorithm, signature, string(hash) + body):
            return NO
        used.add(hash)
        cap = Level.OBSERVE if request.host is None else Level.DEFEND
        speaker = Speaker(signer.principal, address, cap)
        session = Session(speaker, connection, signer.key, request.key)
        token = random.hex()
        self._sessions[token] = session
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        note = NOT_BOUND if request.host is None else ""
        return Verdict(known=True, token=token, session=session, note=note)

    def find(self, token: str, epoch: int) -> Session | None:
        """Return the session of a token, if that process has it and it has not ended."""
        session = self._sessions.get(token) if epoch == self._epoch else None
        if session is not None:
            self._sessions.move_to_end(token)
        return session

    def end(self, epoch: int, connection: int) -> None:
        """A connection has ended, and its sessions with it."""
        if epoch != self._epoch:
            return
        self._connections.pop(connection, None)
        ended = [token for token, s in self._sessions.items() if s.connection == connection]
        for token in ended:
            del self._sessions[token]

    def change(self, signers: Signers, policy: Policy, wall: float) -> list[Change]:
        """Judge by these from now on; return the sessions that this ends, or changes the level of.

        One ends when its key does not open this door any more, or the last grant for its principal
        has gone. Who never had one keeps a session that may do nothing.
        """
        before, self._policy = self._policy, policy
        self._signers = signers
        found = []
        for token, session in list(self._sessions.items()):
            speaker = session.speaker
            name = speaker.principal
            signer = signers.find(session.shown, LOGIN, wall)
            unknown = signer is None or signer.principal != name
            if unknown or (before.names(name) and not policy.names(name)):
                del self._sessions[token]
                found.append(Change(self._epoch, token, session, ""))
            elif policy.level(speaker) is not before.level(speaker):
                level = policy.level(speaker).value
                found.append(Change(self._epoch, token, session, level))
        return found

    def _is_mine(self, epoch: int) -> bool:
        """Return whether the process that asks holds the place. A later one is the new holder."""
        if epoch > self._epoch:
            self.begin(epoch)
        return epoch == self._epoch

    def _signer(self, request: Request, wall: float) -> Signer | None:
        """Return whose key it is, where key, name, algorithm and host are as they must be."""
        if request.host is not None and request.host != self._host:
            return None
        signer = self._signers.find(request.key, LOGIN, wall)
        if signer is None or signer.principal != request.user:
            return None
        if signer.key.blob == request.key:
            return signer if fits(request.algorithm, request.key) else None
        return signer if fits(plain(request.algorithm), signer.key.blob) else None


def parse(body: bytes) -> Request | None:
    """Return what a packet of user authentication asks for, if it is of the two kinds taken."""
    reader = Reader(body)
    try:
        if reader.byte() != USERAUTH_REQUEST:
            return None
        user, service, method = reader.text(), reader.text(), reader.text()
        if service != "ssh-connection" or method not in (PLAIN, HOSTBOUND):
            return None
        signed = reader.byte()
        algorithm, key = reader.text(), reader.string()
        host = reader.string() if method == HOSTBOUND else None
        reader.end()
    except ValueError:
        return None
    return Request(user, algorithm, key, host, bool(signed)) if signed in (0, 1) else None


def exchanged(transcript: bytes) -> tuple[str, bytes]:
    """Return the server's first line and the host key that a key exchange names.

    Both are empty where `transcript` is not what is hashed in one: the first lines, the KEXINITs,
    the host key, what client and server have sent for it, and the shared secret.
    """
    reader = Reader(transcript)
    try:
        reader.string()
        version = reader.text()
        reader.string()
        reader.string()
        host = reader.string()
        for _ in range(3):
            reader.string()
        reader.end()
    except ValueError:
        return "", b""
    return version, host
