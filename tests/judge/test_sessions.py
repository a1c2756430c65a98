"""Tests of logins by ssh, spoken to as a frontend would that had been taken over."""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import Key, certificate, ecdsa_key, ed25519_key, rsa_key, sk_ed25519_key

from panicdoor.commands.registry import Level
from panicdoor.judge.policy import Policy
from panicdoor.judge.sessions import (
    CONNECTIONS_MAX,
    LOGIN_S,
    SESSIONS_MAX,
    TRIES_MAX,
    Sessions,
    Verdict,
    parse,
)
from panicdoor.keys import PublicKey
from panicdoor.orders.signers import parse as parse_signers
from panicdoor.orders.sshwire import Reader, string

DOOR = Ed25519PrivateKey.generate()
HOST = string(b"ssh-ed25519") + string(DOOR.public_key().public_bytes_raw())
ELSEWHERE = ed25519_key().blob
ALICE, BOB, MALLORY = ed25519_key(), ecdsa_key(), ed25519_key()
RSA, TOKEN, CA = rsa_key(), sk_ed25519_key(), ecdsa_key("nistp384")
SIGNERS = parse_signers(
    "\n".join(
        [
            f'alice namespaces="login@panicdoor" {ALICE.line()}',
            f'bob namespaces="order@panicdoor,login@panicdoor" {BOB.line()}',
            f'carol namespaces="login@panicdoor" {RSA.line()}',
            f'dave namespaces="login@panicdoor" {TOKEN.line()}',
            f'mallory namespaces="order@panicdoor" {MALLORY.line()}',
            f'erin cert-authority,namespaces="login@panicdoor" {CA.line()}',
        ]
    ).encode()
)
EPOCH = 5
H1, H2 = b"1" * 32, b"2" * 64
RANDOM = bytes(range(16))


def hostbound(user: str, key: Key, host: bytes = HOST, algorithm: str = "") -> bytes:
    return plain(user, key, algorithm, b"publickey-hostbound-v00@openssh.com") + string(host)


def plain(user: str, key: Key, algorithm: str = "", method: bytes = b"publickey") -> bytes:
    return (
        b"\x32" + string(user.encode()) + string(b"ssh-connection") + string(method) + b"\x01"
        + string((algorithm or key.algorithm).encode()) + string(key.blob)
    )  # fmt: skip


@dataclass
class Gate:
    """The monitor's side, with a clock."""

    sessions: Sessions
    now: float = 1000.0
    wall: float = 1.8e9

    def sign(self, hash: bytes, connection: int = 1, epoch: int = EPOCH) -> bytes:
        return self.sessions.sign(epoch, connection, hash, self.now)

    def login(
        self, body: bytes, signature: bytes, connection: int = 1, epoch: int = EPOCH
    ) -> Verdict:
        return self.sessions.login(
            epoch, connection, body, signature, "192.0.2.7", self.now, self.wall, RANDOM
        )

    def enter(self, user: str, key: Key, hash: bytes = H1, connection: int = 1) -> Verdict:
        body = hostbound(user, key)
        return self.login(body, key.sign(string(hash) + body), connection)


@pytest.fixture
def gate() -> Gate:
    return Gate(Sessions(DOOR, SIGNERS, Policy(())))


def test_the_host_key_signs_hashes(gate: Gate) -> None:
    reader = Reader(gate.sign(H1))
    assert reader.string() == b"ssh-ed25519"
    DOOR.public_key().verify(reader.string(), H1)
    reader.end()


@pytest.mark.parametrize("size", [0, 1, 20, 31, 65, 100, 4096])
def test_nothing_but_hashes_is_signed(gate: Gate, size: int) -> None:
    assert gate.sign(b"x" * size) == b""
    assert gate.enter("alice", ALICE, b"x" * size) == Verdict(known=False)


@pytest.mark.parametrize(
    ("user", "key"), [("alice", ALICE), ("bob", BOB), ("carol", RSA), ("dave", TOKEN)]
)
def test_a_login(gate: Gate, user: str, key: Key) -> None:
    gate.sign(H1)
    verdict = gate.enter(user, key)
    assert verdict.session is not None
    assert verdict.session.speaker.principal == user
    assert verdict.session.speaker.cap is Level.DEFEND
    assert verdict.note == ""
    assert gate.sessions.find(verdict.token, EPOCH) == verdict.session


CERTIFIED = "-cert-v01@openssh.com"


@pytest.mark.parametrize("key", [ed25519_key(), ecdsa_key(), RSA, TOKEN], ids=lambda k: k.algorithm)
def test_a_login_with_a_certificate(gate: Gate, key: Key) -> None:
    certified = certificate(key, CA, names=("erin",))
    for number, algorithm in enumerate(key.algorithms):
        hash_ = bytes([number]) * 32
        gate.sign(hash_, number)
        body = hostbound(
            "erin", certified, HOST, algorithm.removesuffix("@openssh.com") + CERTIFIED
        )
        verdict = gate.login(body, key.sign(string(hash_) + body, algorithm), number)
        assert verdict.session is not None
        assert verdict.session.speaker.principal == "erin"
        assert verdict.session.fingerprint == PublicKey("", key.blob).fingerprint


@pytest.mark.parametrize(
    ("certified", "user", "algorithm"),
    [
        (certificate(ALICE, CA, names=("erin",)), "erin", "ssh-ed25519"),
        (certificate(ALICE, CA, names=("erin",)), "alice", "ssh-ed25519" + CERTIFIED),
        (certificate(ALICE, CA, names=("alice",)), "alice", "ssh-ed25519" + CERTIFIED),
        (certificate(ALICE, BOB, names=("erin",)), "erin", "ssh-ed25519" + CERTIFIED),
        (certificate(ALICE, CA, names=("erin",), type=2), "erin", "ssh-ed25519" + CERTIFIED),
        (certificate(ALICE, CA, names=("erin",), before=5), "erin", "ssh-ed25519" + CERTIFIED),
        (certificate(RSA, CA, names=("erin",)), "erin", "ssh-rsa" + CERTIFIED),
        (ALICE, "alice", "ssh-ed25519" + CERTIFIED),
    ],
)
def test_certificates_that_let_nobody_in(
    gate: Gate, certified: Key, user: str, algorithm: str
) -> None:
    gate.sign(H1)
    body = hostbound(user, certified, HOST, algorithm)
    key = algorithm.removesuffix(CERTIFIED)
    assert gate.login(body, certified.sign(string(H1) + body, key)) == Verdict(known=False)


def test_plain_publickey_may_look_and_is_told_why(gate: Gate) -> None:
    gate.sign(H1)
    body = plain("alice", ALICE)
    verdict = gate.login(body, ALICE.sign(string(H1) + body))
    assert verdict.session is not None
    assert verdict.session.speaker.cap is Level.OBSERVE
    assert "Observe only" in verdict.note


def test_a_question(gate: Gate) -> None:
    gate.sign(H1)
    for user, key, known in (("alice", ALICE, True), ("bob", ALICE, False)):
        body = bytearray(hostbound(user, key))
        body[body.index(b"openssh.com") + len(b"openssh.com")] = 0
        verdict = gate.login(bytes(body), b"")
        assert (verdict.known, verdict.token, verdict.session) == (known, "", None)
    assert gate.enter("alice", ALICE).token


def test_a_login_to_another_host_replayed(gate: Gate) -> None:
    """Alice logs in elsewhere; whoever sits there has that session id signed here as well."""
    gate.sign(H1)
    body = hostbound("alice", ALICE, ELSEWHERE)
    assert gate.login(body, ALICE.sign(string(H1) + body)) == Verdict(known=False)
    body = plain("alice", ALICE)
    verdict = gate.login(body, ALICE.sign(string(H1) + body))
    assert verdict.session is not None
    assert verdict.session.speaker.cap is Level.OBSERVE


def test_a_session_id_is_used_once(gate: Gate) -> None:
    gate.sign(H1)
    assert gate.enter("alice", ALICE).token
    assert gate.enter("alice", ALICE) == Verdict(known=False)
    assert gate.sign(H1, connection=2) == b""
    assert gate.enter("alice", ALICE, connection=2) == Verdict(known=False)


def test_a_session_id_that_was_signed_before_it_was_used(gate: Gate) -> None:
    gate.sign(H1, connection=1)
    gate.sign(H1, connection=2)
    assert gate.enter("alice", ALICE, connection=1).token
    assert gate.enter("alice", ALICE, connection=2) == Verdict(known=False)


def test_an_unknown_session_id(gate: Gate) -> None:
    gate.sign(H1)
    assert gate.enter("alice", ALICE, H2) == Verdict(known=False)
    assert gate.enter("alice", ALICE, H1, connection=9) == Verdict(known=False)


def test_a_rekey_hash_is_no_session_id(gate: Gate) -> None:
    assert gate.sign(H1)
    assert gate.sign(H2)
    assert gate.enter("alice", ALICE, H2) == Verdict(known=False)


def test_another_users_key(gate: Gate) -> None:
    for user in ("bob", "root", "", "alice\0", "Alice", "alice "):
        gate.sign(user.encode().ljust(32, b"."), connection=7)
        assert gate.enter(user, ALICE, user.encode().ljust(32, b"."), 7) == Verdict(known=False)


def test_a_key_for_orders_does_not_log_in(gate: Gate) -> None:
    gate.sign(H1)
    assert gate.enter("mallory", MALLORY) == Verdict(known=False)


def test_bytes_left_over(gate: Gate) -> None:
    body = hostbound("alice", ALICE)
    gate.sign(H1)
    assert gate.login(body, ALICE.sign(string(H1) + body) + b"\0") == Verdict(known=False)
    gate.sign(H2, connection=2)
    longer = body + b"\0"
    assert gate.login(longer, ALICE.sign(string(H2) + longer), 2) == Verdict(known=False)


def test_a_wrong_signature_ends_the_connections_tries(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    assert gate.login(body, MALLORY.sign(string(H1) + body)) == Verdict(known=False)
    assert gate.enter("alice", ALICE) == Verdict(known=False)


def test_a_thousand_algorithm_names(gate: Gate) -> None:
    for i in range(1000):
        hash = i.to_bytes(32, "big")
        name = ("ssh-rsa", "rsa-sha2-256", "none", "ssh-ed25519@", "")[i % 5] + str(i // 5 or "")
        gate.sign(hash, i)
        body = hostbound("alice", ALICE, algorithm=name)
        if name:
            assert not gate.login(body, ALICE.sign(string(hash) + body), i).token
            gate.sign(hash + b"x", i + 5000)
            signed = ALICE.sign(string(hash + b"x") + body, name)
            assert not gate.login(body, signed, i + 5000).token


def test_sha1_does_not_log_in(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("carol", RSA, algorithm="ssh-rsa")
    assert not gate.login(body, RSA.sign(string(H1) + body, "ssh-rsa")).token


@pytest.mark.parametrize("service", [b"ssh-userauth", b"", b"ssh-connection\0"])
def test_another_service(gate: Gate, service: bytes) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE).replace(string(b"ssh-connection"), string(service))
    assert gate.login(body, ALICE.sign(string(H1) + body)) == Verdict(known=False)


@pytest.mark.parametrize("method", [b"hostbased", b"password", b"publickey-hostbound", b""])
def test_another_method(gate: Gate, method: bytes) -> None:
    gate.sign(H1)
    body = plain("alice", ALICE, method=method)
    assert gate.login(body, ALICE.sign(string(H1) + body)) == Verdict(known=False)


def test_too_late_and_too_often(gate: Gate) -> None:
    gate.sign(H1)
    gate.now += LOGIN_S + 1
    assert not gate.enter("alice", ALICE).token
    gate.sign(H2, connection=2)
    for _ in range(TRIES_MAX):
        gate.login(hostbound("bob", ALICE), b"x", 2)
    assert not gate.enter("alice", ALICE, H2, 2).token


def test_validity_is_of_the_day() -> None:
    line = f'alice namespaces="login@panicdoor",valid-before="20300101Z" {ALICE.line()}'
    gate = Gate(Sessions(DOOR, parse_signers(line.encode()), Policy(())))
    gate.wall = 2e9
    gate.sign(H1)
    assert not gate.enter("alice", ALICE).token


def test_a_session_ends_with_its_connection_and_with_the_process(gate: Gate) -> None:
    gate.sign(H1)
    token = gate.enter("alice", ALICE).token
    assert gate.sessions.find(token, EPOCH + 1) is None
    gate.sessions.end(EPOCH - 1, 1)
    assert gate.sessions.find(token, EPOCH)
    gate.sessions.end(EPOCH, 1)
    assert gate.sessions.find(token, EPOCH) is None
    gate.sign(H2, connection=2)
    token = gate.enter("alice", ALICE, H2, 2).token
    gate.sessions.begin(EPOCH + 1)
    assert gate.sessions.find(token, EPOCH) is None
    assert gate.sessions.find(token, EPOCH + 1) is None


def test_a_process_that_lies_about_its_birth_does_not_lock_out_its_successor(gate: Gate) -> None:
    gate.sign(H1, epoch=2**62)
    gate.sessions.begin(EPOCH)
    gate.sign(H1)
    assert gate.enter("alice", ALICE).token


def test_what_was_used_stays_used_when_the_process_is_another(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    signature = ALICE.sign(string(H1) + body)
    assert gate.login(body, signature).token
    gate.sessions.begin(EPOCH + 1)
    assert gate.sign(H1, 1, EPOCH + 1) == b""
    assert not gate.login(body, signature, 1, EPOCH + 1).token


def test_bounds(gate: Gate) -> None:
    for i in range(CONNECTIONS_MAX + 10):
        gate.sign(i.to_bytes(32, "big"), i)
    assert len(gate.sessions._connections) == CONNECTIONS_MAX
    tokens = set()
    for i in range(SESSIONS_MAX + 5):
        hash = (i + 1).to_bytes(8, "big") + bytes(24)
        gate.sign(hash, 10000 + i)
        body = hostbound("alice", ALICE)
        verdict = gate.sessions.login(
            EPOCH, 10000 + i, body, ALICE.sign(string(hash) + body), "", gate.now, gate.wall,
            i.to_bytes(16, "big"),
        )  # fmt: skip
        tokens.add(verdict.token)
    assert len(tokens - {""}) == SESSIONS_MAX + 5
    assert sum(gate.sessions.find(token, EPOCH) is not None for token in tokens) == SESSIONS_MAX


@given(st.binary(max_size=200))
def test_no_bytes_raise(junk: bytes) -> None:
    parse(junk)
    parse(hostbound("alice", ALICE)[:40] + junk)
    gate = Gate(Sessions(DOOR, SIGNERS, Policy(())))
    gate.sign(H1)
    assert not gate.login(hostbound("alice", ALICE), junk).token
    gate.sign(H2, 2)
    assert not gate.login(junk, ALICE.sign(string(H2) + junk), 2).token


@given(st.integers(0, 10**6), st.integers(0, 7))
def test_any_flipped_bit_keeps_one_out(at: int, bit: int) -> None:
    gate = Gate(Sessions(DOOR, SIGNERS, Policy(())))
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    whole = bytearray(body + ALICE.sign(string(H1) + body))
    whole[at % len(whole)] ^= 1 << bit
    assert not gate.login(bytes(whole[: len(body)]), bytes(whole[len(body) :])).token
