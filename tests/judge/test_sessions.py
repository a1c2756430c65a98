"""Tests of logins by ssh, spoken to as a frontend would that had been taken over."""

import hashlib
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.sshkeys import (
    Exchange,
    Key,
    certificate,
    ecdsa_key,
    ed25519_key,
    exchange,
    rsa_key,
    sk_ed25519_key,
)

from panicdoor.commands.registry import Level
from panicdoor.config import Grant
from panicdoor.judge import sessions as module
from panicdoor.judge.policy import Policy
from panicdoor.judge.sessions import (
    CHALLENGES_MAX,
    CONNECTIONS_MAX,
    LOGIN_S,
    SESSIONS_MAX,
    TRIES_MAX,
    Change,
    Sessions,
    Verdict,
    exchanged,
    parse,
)
from panicdoor.orders.krl import parse as parse_krl
from panicdoor.orders.signers import Signers
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
CHALLENGE = "aaaa-bbbb-cccc-dddd-eeee-ffff"
RANDOM = bytes(range(16))
NO_GRANTS = Policy(())


def met(client: object = "", *, host: bytes = HOST, challenge: str = CHALLENGE) -> Exchange:
    """Return a key exchange with this door."""
    return exchange(host, challenge, client)


H1, H2 = met(1), exchange(HOST, CHALLENGE, 2, digest="sha512")


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

    def sign(self, made: Exchange, connection: int = 1, epoch: int = EPOCH) -> bytes:
        return self.sessions.sign(epoch, connection, made.hash, made.transcript, self.now)

    def login(
        self, body: bytes, signature: bytes, connection: int = 1, epoch: int = EPOCH
    ) -> Verdict:
        return self.sessions.login(
            epoch, connection, body, signature, "192.0.2.7", self.now, self.wall, RANDOM
        )

    def enter(self, user: str, key: Key, made: Exchange = H1, connection: int = 1) -> Verdict:
        body = hostbound(user, key)
        return self.login(body, key.sign(string(made.hash) + body), connection)


def opened(signers: Signers = SIGNERS, policy: Policy = NO_GRANTS) -> Gate:
    """Return a gate whose frontend was given a challenge."""
    sessions = Sessions(DOOR, signers, policy)
    sessions.freshen(CHALLENGE)
    return Gate(sessions)


@pytest.fixture
def gate() -> Gate:
    return opened()


def test_the_host_key_signs_hashes(gate: Gate) -> None:
    reader = Reader(gate.sign(H1))
    assert reader.string() == b"ssh-ed25519"
    DOOR.public_key().verify(reader.string(), H1.hash)
    reader.end()


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224"])
def test_weak_hashes_are_not_signed(gate: Gate, digest: str) -> None:
    made = exchange(HOST, CHALLENGE, digest=digest)
    assert gate.sign(made) == b""
    assert gate.enter("alice", ALICE, made) == Verdict(known=False)


@pytest.mark.parametrize("size", [0, 1, 20, 31, 32, 33, 48, 64, 65, 100, 4096])
def test_nothing_but_the_hash_of_a_key_exchange_is_signed(gate: Gate, size: int) -> None:
    made = Exchange(H1.transcript, b"x" * size)
    assert gate.sign(made) == b""
    assert gate.enter("alice", ALICE, made) == Verdict(known=False)
    longer = Exchange(H1.transcript, (H1.hash * 100)[:size])
    assert bool(gate.sign(longer)) is (size == len(H1.hash))


def test_what_is_no_key_exchange_with_this_door_is_not_signed(gate: Gate) -> None:
    whole = H1.transcript
    for transcript in (whole[:-1], whole + b"\0", whole + string(b""), b"", string(HOST) * 8):
        made = Exchange(transcript, hashlib.sha256(transcript).digest())
        assert gate.sign(made) == b""
    for host in (ELSEWHERE, b"", HOST[:-1], HOST + b"\0"):
        assert gate.sign(met(host=host)) == b""
    for version in (
        "SSH-2.0-panicdoor", "SSH-2.0-other " + CHALLENGE, f"SSH-2.0-panicdoor  {CHALLENGE}",
        f"SSH-2.0-panicdoor {CHALLENGE} ", f"SSH-2.0-panicdoor {CHALLENGE[:-1]}", CHALLENGE,
    ):  # fmt: skip
        assert gate.sign(exchange(HOST, "", version=version)) == b""
    assert gate.sign(H1)


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
ERIN = certificate(ALICE, CA, names=("erin",))


@pytest.mark.parametrize("key", [ed25519_key(), ecdsa_key(), RSA, TOKEN], ids=lambda k: k.algorithm)
def test_a_login_with_a_certificate(gate: Gate, key: Key) -> None:
    certified = certificate(key, CA, names=("erin",))
    for number, algorithm in enumerate(key.algorithms):
        made = met(number)
        gate.sign(made, number)
        body = hostbound(
            "erin", certified, HOST, algorithm.removesuffix("@openssh.com") + CERTIFIED
        )
        verdict = gate.login(body, key.sign(string(made.hash) + body, algorithm), number)
        assert verdict.session is not None
        assert verdict.session.speaker.principal == "erin"
        assert verdict.session.key.blob == key.blob


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
    assert gate.login(body, certified.sign(string(H1.hash) + body, key)) == Verdict(known=False)


def test_a_certificate_is_looked_at_again_when_the_policy_changes() -> None:
    gate = opened()
    gate.sign(H1)
    body = hostbound("erin", ERIN, HOST, "ssh-ed25519" + CERTIFIED)
    token = gate.login(body, ERIN.sign(string(H1.hash) + body)).token
    assert token
    assert gate.sessions.change(SIGNERS, NO_GRANTS, gate.wall) == []
    assert gate.sessions.find(token, EPOCH)
    header = b"SSHKRL\n\0\0\0\0\1" + bytes(24) + string(b"") + string(b"")
    krl = parse_krl(header + b"\2" + string(string(ALICE.blob)))
    line = f'erin cert-authority,namespaces="login@panicdoor" {CA.line()}'
    (change,) = gate.sessions.change(parse_signers(line.encode(), krl=krl), NO_GRANTS, gate.wall)
    assert change.level == ""
    assert gate.sessions.find(token, EPOCH) is None


def test_plain_publickey_may_look_and_is_told_why(gate: Gate) -> None:
    gate.sign(H1)
    body = plain("alice", ALICE)
    verdict = gate.login(body, ALICE.sign(string(H1.hash) + body))
    assert verdict.session is not None
    assert verdict.session.speaker.cap is Level.OBSERVE
    assert verdict.note == (
        "Observe only: this client's login does not name the host that it is for. For\n"
        "more, use OpenSSH 8.9 or later, whose logins name it.\n"
    )


def test_a_question(gate: Gate) -> None:
    gate.sign(H1)
    for user, key, known in (("alice", ALICE, True), ("bob", ALICE, False)):
        body = bytearray(hostbound(user, key))
        body[body.index(b"openssh.com") + len(b"openssh.com")] = 0
        verdict = gate.login(bytes(body), b"")
        assert (verdict.known, verdict.token, verdict.session) == (known, "", None)
    assert gate.enter("alice", ALICE).token


def test_a_question_with_an_algorithm_that_is_another_keys(gate: Gate) -> None:
    gate.sign(H1)
    body = bytearray(hostbound("alice", ALICE, algorithm="rsa-sha2-256"))
    body[body.index(b"openssh.com") + len(b"openssh.com")] = 0
    assert not gate.login(bytes(body), b"").known


def test_a_login_to_another_host_replayed(gate: Gate) -> None:
    """Alice logs in elsewhere; whoever sits there has shown her a challenge of this door."""
    there = met(host=ELSEWHERE)
    for body in (
        hostbound("alice", ALICE, ELSEWHERE),
        hostbound("alice", ALICE),
        plain("alice", ALICE),
    ):
        assert gate.sign(there) == b""
        signature = ALICE.sign(string(there.hash) + body)
        assert gate.login(body, signature) == Verdict(known=False)
        # ... and that other exchange is claimed to have been one with this door.
        assert gate.sign(Exchange(H1.transcript, there.hash)) == b""
        assert gate.login(body, signature) == Verdict(known=False)


def test_a_login_that_names_another_host(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE, ELSEWHERE)
    assert gate.login(body, ALICE.sign(string(H1.hash) + body)) == Verdict(known=False)


def recorded(gate: Gate) -> tuple[bytes, bytes]:
    """Return a login as a frontend that was taken over has seen and kept it."""
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    signature = ALICE.sign(string(H1.hash) + body)
    assert gate.login(body, signature).token
    return body, signature


def test_a_login_is_not_replayed_to_another_monitor(gate: Gate) -> None:
    """It has another process's challenges, be it of the same start, of the next, or of a copy."""
    body, signature = recorded(gate)
    another = opened()
    another.sessions = Sessions(DOOR, SIGNERS, Policy(()))
    assert another.sign(H1) == b""
    another.sessions.freshen("gggg-hhhh-iiii-jjjj-kkkk-llll")
    for connection in (1, 2):
        assert another.sign(H1, connection) == b""
        assert another.login(body, signature, connection) == Verdict(known=False)
    # Known connections may have any exchange signed; their session id is their first all the same.
    newer = met(3, challenge="gggg-hhhh-iiii-jjjj-kkkk-llll")
    assert another.sign(newer, 4)
    assert another.sign(H1, 4)
    assert another.login(body, signature, 4) == Verdict(known=False)


def test_a_login_is_not_replayed_when_its_challenge_is_forgotten(gate: Gate) -> None:
    body, signature = recorded(gate)
    for number in range(CHALLENGES_MAX):
        assert gate.sign(H1, 100 + number) == b""
        assert gate.login(body, signature, 100 + number) == Verdict(known=False)
        gate.sessions.freshen(f"number-{number}")
    assert gate.sign(H1, 99) == b""
    assert len(gate.sessions._used) == CHALLENGES_MAX


def test_a_login_whose_challenge_was_forgotten_meanwhile(gate: Gate) -> None:
    gate.sign(H1)
    for number in range(CHALLENGES_MAX):
        gate.sessions.freshen(f"number-{number}")
    assert gate.enter("alice", ALICE) == Verdict(known=False)


def test_more_logins_than_are_remembered(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USED_MAX", 3)
    for number in range(3):
        gate.sign(met(number), number)
        assert gate.enter("alice", ALICE, met(number), number).token
    gate.sign(met(3), 3)
    assert gate.enter("alice", ALICE, met(3), 3) == Verdict(known=False)
    gate.sessions.freshen("number-1")
    gate.sign(met(4, challenge="number-1"), 4)
    assert gate.enter("alice", ALICE, met(4, challenge="number-1"), 4).token


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
        gate.sign(met(user), connection=7)
        assert gate.enter(user, ALICE, met(user), 7) == Verdict(known=False)


def test_a_key_for_orders_does_not_log_in(gate: Gate) -> None:
    gate.sign(H1)
    assert gate.enter("mallory", MALLORY) == Verdict(known=False)


def test_bytes_left_over(gate: Gate) -> None:
    body = hostbound("alice", ALICE)
    gate.sign(H1)
    assert gate.login(body, ALICE.sign(string(H1.hash) + body) + b"\0") == Verdict(known=False)
    gate.sign(H2, connection=2)
    longer = body + b"\0"
    assert gate.login(longer, ALICE.sign(string(H2.hash) + longer), 2) == Verdict(known=False)


def test_a_wrong_signature_ends_the_connections_tries(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    assert gate.login(body, MALLORY.sign(string(H1.hash) + body)) == Verdict(known=False)
    assert gate.enter("alice", ALICE) == Verdict(known=False)


def test_a_thousand_algorithm_names(gate: Gate) -> None:
    for i in range(1000):
        hash, other = met(i), met(i + 5000)
        name = ("ssh-rsa", "rsa-sha2-256", "none", "ssh-ed25519@", "")[i % 5] + str(i // 5 or "")
        gate.sign(hash, i)
        body = hostbound("alice", ALICE, algorithm=name)
        if name:
            assert not gate.login(body, ALICE.sign(string(hash.hash) + body), i).token
            gate.sign(other, i + 5000)
            signed = ALICE.sign(string(other.hash) + body, name)
            assert not gate.login(body, signed, i + 5000).token


def test_sha1_does_not_log_in(gate: Gate) -> None:
    gate.sign(H1)
    body = hostbound("carol", RSA, algorithm="ssh-rsa")
    assert not gate.login(body, RSA.sign(string(H1.hash) + body, "ssh-rsa")).token


@pytest.mark.parametrize("service", [b"ssh-userauth", b"", b"ssh-connection\0"])
def test_another_service(gate: Gate, service: bytes) -> None:
    gate.sign(H1)
    body = hostbound("alice", ALICE).replace(string(b"ssh-connection"), string(service))
    assert gate.login(body, ALICE.sign(string(H1.hash) + body)) == Verdict(known=False)


@pytest.mark.parametrize("method", [b"hostbased", b"password", b"publickey-hostbound", b""])
def test_another_method(gate: Gate, method: bytes) -> None:
    gate.sign(H1)
    body = plain("alice", ALICE, method=method)
    assert gate.login(body, ALICE.sign(string(H1.hash) + body)) == Verdict(known=False)


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
    gate = opened(parse_signers(line.encode()))
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
    signature = ALICE.sign(string(H1.hash) + body)
    assert gate.login(body, signature).token
    gate.sessions.begin(EPOCH + 1)
    assert gate.sign(H1, 1, EPOCH + 1) == b""
    assert not gate.login(body, signature, 1, EPOCH + 1).token


def test_bounds(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USED_MAX", SESSIONS_MAX + 5)
    for i in range(CONNECTIONS_MAX + 10):
        gate.sign(met(i), i)
    assert len(gate.sessions._connections) == CONNECTIONS_MAX
    tokens = set()
    for i in range(SESSIONS_MAX + 5):
        hash = met(f"again {i}")
        gate.sign(hash, 10000 + i)
        body = hostbound("alice", ALICE)
        verdict = gate.sessions.login(
            EPOCH, 10000 + i, body, ALICE.sign(string(hash.hash) + body), "", gate.now, gate.wall,
            i.to_bytes(16, "big"),
        )  # fmt: skip
        tokens.add(verdict.token)
    assert len(tokens - {""}) == SESSIONS_MAX + 5
    assert sum(gate.sessions.find(token, EPOCH) is not None for token in tokens) == SESSIONS_MAX


OBSERVE = Grant(to=("alice", "bob"), may=("observe",))
RECOVER = Grant(to=("alice",), may=("recover",))
FAR_OFF = Grant(to=("bob",), may=("observe",), networks=("198.51.100.0/24",))


def two_at_home(*grants: Grant) -> tuple[Gate, str, str]:
    """Alice and bob have logged in to a door with these grants."""
    gate = opened(policy=Policy(grants))
    tokens = []
    for user, key, hash, connection in (("alice", ALICE, H1, 1), ("bob", BOB, H2, 2)):
        gate.sign(hash, connection)
        body = hostbound(user, key)
        verdict = gate.sessions.login(
            EPOCH, connection, body, key.sign(string(hash.hash) + body), "192.0.2.7", gate.now,
            gate.wall, user.encode(),
        )  # fmt: skip
        tokens.append(verdict.token)
    return gate, tokens[0], tokens[1]


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ((OBSERVE,), (OBSERVE,), {}),
        ((OBSERVE,), (OBSERVE, RECOVER), {"alice": "recover"}),
        ((OBSERVE, RECOVER), (OBSERVE,), {"alice": "observe"}),
        ((OBSERVE,), (RECOVER,), {"alice": "recover", "bob": ""}),
        ((OBSERVE,), (), {"alice": "", "bob": ""}),
        ((OBSERVE,), (FAR_OFF,), {"alice": "", "bob": "public"}),
        ((), (), {}),
        ((), (OBSERVE,), {"alice": "observe", "bob": "observe"}),
        ((RECOVER,), (RECOVER,), {}),
    ],
)
def test_another_policy(
    before: tuple[Grant, ...], after: tuple[Grant, ...], changed: dict[str, str]
) -> None:
    gate, alice, bob = two_at_home(*before)
    found = gate.sessions.change(SIGNERS, Policy(after), gate.wall)
    assert {c.session.speaker.principal: c.level for c in found} == changed
    assert all(c.epoch == EPOCH for c in found)
    for name, token, connection in (("alice", alice, 1), ("bob", bob, 2)):
        over = changed.get(name) == ""
        assert (gate.sessions.find(token, EPOCH) is None) == over
        assert all(c.session.connection == connection for c in found if c.token == token)


@pytest.mark.parametrize(
    "line",
    [
        "",
        f'bob namespaces="order@panicdoor" {BOB.line()}',
        f'bob namespaces="login@panicdoor" {MALLORY.line()}',
        f'dave namespaces="login@panicdoor" {BOB.line()}',
        f'bob namespaces="login@panicdoor",valid-before="20200101Z" {BOB.line()}',
        f'bob namespaces="login@panicdoor",valid-after="20900101Z" {BOB.line()}',
    ],
)
def test_a_key_that_opens_this_door_no_more(line: str) -> None:
    gate, alice, bob = two_at_home(OBSERVE)
    listed = f'alice namespaces="login@panicdoor" {ALICE.line()}\n{line}\n'
    found = gate.sessions.change(parse_signers(listed.encode()), Policy((OBSERVE,)), gate.wall)
    assert [(c.token, c.level) for c in found] == [(bob, "")]
    assert isinstance(found[0], Change)
    assert gate.sessions.find(alice, EPOCH)
    assert gate.sessions.find(bob, EPOCH) is None
    gate.sign(met(3), connection=3)
    assert not gate.enter("bob", BOB, met(3), 3).token


def test_a_new_policy_holds_for_the_next_login() -> None:
    gate, _, _ = two_at_home(OBSERVE)
    listed = f'mallory namespaces="login@panicdoor" {MALLORY.line()}\n'
    gate.sign(met(3), connection=3)
    gate.sessions.change(parse_signers(listed.encode()), Policy(()), gate.wall)
    assert gate.enter("mallory", MALLORY, met(3), 3).token


@given(st.binary(max_size=200))
def test_no_bytes_raise(junk: bytes) -> None:
    parse(junk)
    exchanged(junk)
    exchanged(H1.transcript[:40] + junk)
    parse(hostbound("alice", ALICE)[:40] + junk)
    gate = opened()
    gate.sign(H1)
    assert not gate.login(hostbound("alice", ALICE), junk).token
    gate.sign(H2, 2)
    assert not gate.login(junk, ALICE.sign(string(H2.hash) + junk), 2).token


@given(st.integers(0, 10**6), st.integers(0, 7))
def test_any_flipped_bit_keeps_one_out(at: int, bit: int) -> None:
    gate = opened()
    gate.sign(H1)
    body = hostbound("alice", ALICE)
    whole = bytearray(body + ALICE.sign(string(H1.hash) + body))
    whole[at % len(whole)] ^= 1 << bit
    assert not gate.login(bytes(whole[: len(body)]), bytes(whole[len(body) :])).token
