"""Tests of one ssh connection: what comes at the wrong time, too often, or in too large amounts."""

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32
from tests import sshclients
from tests.places import Places, resident
from tests.running import read_all
from tests.sshclients import (
    DISCONNECT,
    GLOBAL,
    KEXINIT,
    LOGIN,
    NEWKEYS,
    OPEN,
    OPEN_FAILED,
    OPENED,
    REFUSED,
    REQUEST,
    SERVICE,
    Client,
    alice_in,
    client,
    handing_over,
    journal_has_no_bug,
    kexinit,
    opening,
    wire_packet,
)

from panicdoor.messages import Write
from panicdoor.orders.sshwire import Reader
from panicdoor.processes import ssh as ssh_module
from panicdoor.processes import ssh_connection as connection_module
from panicdoor.processes.ssh_connection import (
    CHANNELS_MAX,
    PACKET_MAX,
    TRIES_MAX,
    Transcript,
    _guessed_wrong,
)

ALICE = sshclients.key()
FLAT = 4096  # KiB that the process may grow by in a test: what it holds is bounded by less
FEW = 5  # key exchanges
IGNORE, PK_OK, FAILURE = 2, 60, 82
BANNER = b"SSH-2.0-test\r\n"
STRICT = b"curve25519-sha256,kex-strict-c-v00@openssh.com"
HOSTBOUND = "publickey-hostbound-v00@openssh.com"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A door that knows alice, with a monitor and an ssh process in it."""
    with alice_in(tmp_path_factory.mktemp("alice") / "door", ALICE) as found:
        yield found
        assert found.lives("ssh")
        journal_has_no_bug(found)


def login(user: str = "alice", service: str = "ssh-connection", method: str = "publickey",
          tail: bytes = b"") -> bytes:  # fmt: skip
    """Return a request to log in, without its first byte: the question whether a key would do."""
    asked = Boolean(False) + String("ssh-ed25519") + String(ALICE.public_data)
    return String(user) + String(service) + String(method) + asked + tail


def to(places: Places, act: Callable[[Client], Any], **more: Any) -> None:
    """Have something done by a client who has come as far as `before` says, or has logged in."""

    async def visit() -> None:
        async with client(handing_over(places), ALICE, **more) as alice:
            await act(alice)

    asyncio.run(visit())


def raw(places: Places, *said: bytes, end: bool = True) -> bytes:
    """Say these bytes and `end`; return all that the door says until it closes."""
    found = b""
    with handing_over(places)() as sock, contextlib.suppress(ConnectionError):
        sock.settimeout(10)
        for data in said:
            sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            found += data
    return found


# Strangers


@pytest.mark.parametrize(
    "said",
    [
        (b"SSH-2.0-\xff\xfe\r\n",),
        (b"SSH-2.0-" + b"x" * 300 + b"\r\n",),
        (b"SSH-2.0-" + b"x" * 10_000,),
        (BANNER, bytes(100)),
        (BANNER, b"\xff" * 100),
        (BANNER, wire_packet(b"")),
        (BANNER, wire_packet(kexinit(kex=b"\xff"))),
        (BANNER, wire_packet(kexinit(cipher=b"\xff\xfe"))),
        (BANNER, wire_packet(kexinit()[:50])),
        (BANNER, wire_packet(kexinit()), wire_packet(kexinit())),
        (BANNER, wire_packet(kexinit()), wire_packet(b"\x1e" + String(bytes(32)))),
        (BANNER, wire_packet(kexinit()), wire_packet(b"\x1e" + String(b""))),
        (BANNER, wire_packet(kexinit(b"mlkem768x25519-sha256")), wire_packet(b"\x1e\0\0\0\0")),
        (BANNER, wire_packet(kexinit(STRICT)), wire_packet(bytes([IGNORE]) + String(b""))),
    ],
)
def test_no_bytes_of_a_stranger_are_a_bug_of_ours(places: Places, said: tuple[bytes, ...]) -> None:
    raw(places, *said)
    to(places, lambda alice: alice.run("ping", check=True))


def test_what_our_own_code_raises_is_a_bug_and_told(tmp_path: Path) -> None:
    """A ValueError, as asyncssh raises of a client's bytes, but from a module of ours."""

    def broken() -> None:
        vars(connection_module)["_guessed_wrong"] = lambda _: Reader(b"").byte()

    with alice_in(tmp_path / "door", ALICE, broken) as places:
        raw(places, BANNER, wire_packet(kexinit()))
        told = places.end("writer", "monitor").hear(Write, kind="bug")
        assert "ValueError" in told.fields


def test_strict_key_exchange(places: Places) -> None:
    """Nothing may come before or inside it that a man in the middle could have put there."""
    ignored = wire_packet(bytes([IGNORE]) + String(b""))
    begun = wire_packet(kexinit(STRICT))
    assert b"Strict key exchange" in raw(places, BANNER, ignored, begun, end=False)
    assert b"Strict key exchange" in raw(places, BANNER, begun, ignored, end=False)


def test_a_thousand_algorithm_names_disturb_nobody(places: Places) -> None:
    """A transcript that no message has room for is not asked about, or all would wait for it."""
    for count in (1000, 1500):
        names = b",".join(b"algorithm-%d" % number for number in range(count))
        begun = wire_packet(kexinit(b"curve25519-sha256," + names))
        answer = wire_packet(b"\x1e" + String(b"\x09" + bytes(31)))
        assert b"fewer algorithms, please" in raw(places, BANNER, begun, answer, end=False)
        to(places, lambda alice: alice.run("ping", check=True), tries=1)


@pytest.mark.parametrize("kind", [LOGIN, GLOBAL, OPEN, REQUEST])
def test_nothing_before_the_key_exchange(places: Places, kind: int) -> None:
    packet = wire_packet(bytes([kind]) + login())
    assert b"before key exchange" in raw(places, BANNER, packet, end=False)


def test_packets_are_as_large_as_all_must_take(places: Places) -> None:
    async def say(alice: Client) -> None:
        alice.say(IGNORE, String(bytes(PACKET_MAX - 100)))
        alice.say(LOGIN, login())
        await alice.hear(PK_OK)
        alice.say(IGNORE, String(bytes(PACKET_MAX)))
        await alice.end()

    to(places, say, before="login")


def test_no_login_before_the_service_is_asked_for(places: Places) -> None:
    async def say(alice: Client) -> None:
        alice.say(LOGIN, login())
        assert b"no login is due" in await alice.hear(DISCONNECT)
        await alice.end()

    to(places, say, before="service")


def test_no_other_service(places: Places) -> None:
    async def say(alice: Client) -> None:
        alice.say(SERVICE, String("ssh-connection"))
        assert b"Unexpected service" in await alice.hear(DISCONNECT)

    to(places, say, before="service")


@pytest.mark.parametrize("before", ["service", "login"])
def test_one_key_exchange_before_the_login(places: Places, before: str) -> None:
    async def say(alice: Client) -> None:
        alice.say(KEXINIT, kexinit()[1:])
        assert b"no key exchange is due" in await alice.hear(DISCONNECT)

    to(places, say, before=before)


@pytest.mark.parametrize("kind", [GLOBAL, OPEN, REQUEST])
def test_nothing_before_the_login(places: Places, kind: int) -> None:
    async def say(alice: Client) -> None:
        alice.say(kind, opening())
        assert b"before auth" in await alice.hear(DISCONNECT)

    to(places, say, before="login")


@pytest.mark.parametrize(
    "request_",
    [
        login(method="none"),
        login(method="password"),
        login(method="keyboard-interactive"),
        login(method="hostbased"),
        login(method="publickey-hostbound"),
        login(user="root"),
        login(user=""),
        login(user="x" * 65),
        login(user="a\u00efice"),
        login(service="ssh-userauth"),
        login(method=HOSTBOUND, tail=String("another host")),
    ],
)
def test_requests_that_are_refused(places: Places, request_: bytes) -> None:
    async def say(alice: Client) -> None:
        alice.say(LOGIN, request_)
        assert await alice.hear(REFUSED) == String("publickey") + Boolean(False)
        alice.say(LOGIN, login())  # another name, the next time, is another request
        await alice.hear(PK_OK)

    to(places, say, before="login")


def test_two_requests_at_once_are_judged_one_after_the_other(places: Places) -> None:
    async def say(alice: Client) -> None:
        for _ in range(10):
            alice.say(LOGIN, login())
            alice.say(LOGIN, login(user="bob"))
        for _ in range(10):
            await alice.hear(PK_OK)
            await alice.hear(REFUSED)

    to(places, say, before="login")


def test_tries(places: Places) -> None:
    async def say(alice: Client) -> None:
        for _ in range(TRIES_MAX):
            alice.say(LOGIN, login(method="none"))
            await alice.hear(REFUSED)
        alice.say(LOGIN, login())
        assert b"too many keys" in await alice.hear(DISCONNECT)

    to(places, say, before="login")


def test_time_to_log_in(tmp_path: Path) -> None:
    def hurry() -> None:
        vars(ssh_module)["LOGIN_S"] = 1.0

    async def say(alice: Client) -> None:
        await alice.end()

    with alice_in(tmp_path / "door", ALICE, hurry) as places:
        to(places, say, before="login")
        with handing_over(places)() as sock:
            sock.settimeout(10)
            assert read_all(sock).startswith(b"SSH-2.0-panicdoor ")


def test_a_stranger_who_does_not_read(places: Places) -> None:
    async def say(alice: Client) -> None:
        before = resident(places.pids["ssh"])
        transport: Any = alice._transport
        transport.pause_reading()
        await flood(alice, 200, b"what?")
        assert resident(places.pids["ssh"]) - before < FLAT

    to(places, say, before="login")


async def flood(alice: Client, kind: int, *parts: bytes) -> None:
    """Say it until the door has let go; fail where it takes it all."""
    transport: Any = alice._transport
    for _ in range(60_000):
        alice.say(kind, *parts)
        while transport.get_write_buffer_size() > 1 << 16 and not transport.is_closing():
            await asyncio.sleep(0.001)
        if transport.is_closing():
            return
    pytest.fail("it takes and takes")


def test_what_comes_while_a_login_is_judged_waits_outside(places: Places) -> None:
    async def say(alice: Client) -> None:
        transport: Any = alice._transport
        before = resident(places.pids["ssh"])
        os.kill(places.pids["monitor"], signal.SIGSTOP)
        try:
            alice.say(LOGIN, login())
            for _ in range(1000):
                alice.say(IGNORE, String(bytes(32_000)))
                await asyncio.sleep(0)
                if transport.get_write_buffer_size() > 8 << 20:
                    break
            held = transport.get_write_buffer_size()
            for _ in range(100):  # for a second: much less than is waited for the monitor
                await asyncio.sleep(0.01)
            assert transport.get_write_buffer_size() > held - (1 << 20)
            assert resident(places.pids["ssh"]) - before < FLAT
        finally:
            os.kill(places.pids["monitor"], signal.SIGCONT)
        await alice.hear(PK_OK)

    to(places, say, before="login")


# Those who are in


def test_a_login_again_is_nothing(places: Places) -> None:
    async def say(alice: Client) -> None:
        alice.say(LOGIN, login(user="root"))
        assert (await alice.run("ping")).exit_status == 0

    to(places, say)


def test_sessions_at_once(places: Places) -> None:
    async def say(alice: Client) -> None:
        for _ in range(CHANNELS_MAX):
            alice.say(OPEN, opening())
            await alice.hear(OPENED)
        for _ in range(1000):
            alice.say(OPEN, opening())
            assert b"too many sessions" in await alice.hear(OPEN_FAILED)
        alice.say(97, UInt32(3))
        await alice.hear(97)
        alice.say(OPEN, opening())
        await alice.hear(OPENED)

    to(places, say)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("direct-tcpip", String("localhost") + UInt32(22) + String("::1") + UInt32(1)),
        ("direct-streamlocal@openssh.com", String("/run/x") + String("") + UInt32(0)),
        ("tun@openssh.com", UInt32(0) + UInt32(0)),
        ("tun@openssh.com", UInt32(1) + UInt32(0)),
        ("tun@openssh.com", UInt32(2) + UInt32(0x7FFFFFFF)),
    ],
)
def test_nothing_is_forwarded(places: Places, kind: str, more: bytes) -> None:
    async def say(alice: Client) -> None:
        alice.say(OPEN, opening(kind) + more)
        assert b"forwards nothing; go through another host" in await alice.hear(OPEN_FAILED)

    to(places, say)


@pytest.mark.parametrize(
    "kind", ["x11", "auth-agent@openssh.com", "forwarded-tcpip", "", "nonesuch"]
)
def test_other_channels(places: Places, kind: str) -> None:
    async def say(alice: Client) -> None:
        alice.say(OPEN, opening(kind))
        await alice.hear(OPEN_FAILED)

    to(places, say)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("tcpip-forward", String("localhost") + UInt32(0)),
        ("streamlocal-forward@openssh.com", String("/tmp/x")),
        ("hostkeys-prove-00@openssh.com", String(bytes(51))),
        ("hostkeys-prove-00@openssh.com", b""),
        ("nonesuch", b""),
    ],
)
def test_global_requests(places: Places, name: str, more: bytes) -> None:
    async def say(alice: Client) -> None:
        for _ in range(2000):  # one is answered after the other, not inside it
            alice.say(GLOBAL, String(name) + Boolean(False) + more)
        waiter = asyncio.get_running_loop().create_future()
        alice._global_request_waiters.append(waiter)
        alice.say(GLOBAL, String(name) + Boolean(True) + more)
        assert (await asyncio.wait_for(waiter, 10))[0] == FAILURE
        done = await alice.run("ping")
        assert ("forwards nothing" in str(done.stderr)) is ("-forward" in name)

    to(places, say)


@pytest.mark.parametrize("exchanging", [False, True])
def test_who_does_not_read_the_answers(places: Places, exchanging: bool) -> None:
    async def say(alice: Client) -> None:
        before = resident(places.pids["ssh"])
        if exchanging:  # then answers wait for the new key
            alice.deaf = {KEXINIT}
            alice.say(KEXINIT, kexinit()[1:])
            await alice.hear(KEXINIT)
        transport: Any = alice._transport
        transport.pause_reading()
        await flood(alice, GLOBAL, String("nonesuch") + Boolean(True) + bytes(1000))
        assert resident(places.pids["ssh"]) - before < FLAT

    to(places, say)


def test_an_answer_waits_for_the_new_key(places: Places) -> None:
    """A client that begins a key exchange and says no more has no room for more of it."""

    async def say(alice: Client) -> None:
        alice.say(OPEN, opening(window=1 << 31))
        await alice.hear(OPENED)
        alice.deaf = {KEXINIT}
        alice.say(KEXINIT, kexinit()[1:])
        await alice.hear(KEXINIT)
        alice.say(REQUEST, UInt32(0) + String("exec") + Boolean(True) + String("count 100000"))
        before = resident(places.pids["ssh"])
        worked = cpu(places.pids["worker1"])
        async with client(handing_over(places), ALICE) as other:
            assert (await other.run("count 3000")).exit_status == 0
        assert cpu(places.pids["worker1"]) - worked < 500
        assert not alice.ended.is_set()
        assert resident(places.pids["ssh"]) - before < FLAT

    to(places, say)


def cpu(pid: int) -> int:
    """Return the time that a process has worked for, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_key_exchanges_without_end(tmp_path: Path) -> None:
    def hurry() -> None:
        vars(connection_module)["REKEYS_MAX"] = FEW

    async def say(alice: Client) -> None:
        for number in range(FEW):
            alice.heard.clear()
            alice._send_kexinit()
            alice._kexinit_sent = True
            if number == FEW - 1:  # the first one was before the login
                assert b"no key exchange is due" in await alice.hear(DISCONNECT)
            else:
                await alice.hear(NEWKEYS)

    with alice_in(tmp_path / "door", ALICE, hurry) as places:
        to(places, say)


def test_a_transcript_is_of_the_first_hash() -> None:
    kept: list[bytes] = []
    made = Transcript(hashlib.sha256, kept.append)
    assert made(b"two halves").digest() == hashlib.sha256(b"two halves").digest()
    hash = made()
    hash.update(b"some")
    hash.update(b"thing")
    assert hash.digest() == hashlib.sha256(b"something").digest()
    assert kept == [b"something"]
    later = made()
    later.update(b"a key")
    assert later.digest() == hashlib.sha256(b"a key").digest()
    assert kept == [b"something"]


def test_a_guess_is_wrong_unless_both_prefer_it() -> None:
    first = b"mlkem768x25519-sha256"
    assert not _guessed_wrong(kexinit(follows=False))
    assert _guessed_wrong(kexinit(b"diffie-hellman-group14-sha256", follows=True))
    assert _guessed_wrong(kexinit(b"nonesuch," + first, follows=True))


def test_who_comes_with_every_key_exchange_we_know(places: Places) -> None:
    for name in (b"curve25519-sha256", b"ecdh-sha2-nistp384", b"mlkem768x25519-sha256"):
        to(
            places, lambda alice: alice.run("ping", check=True),
            kex_algs=[name.decode()],
        )  # fmt: skip


def test_nobody_with_a_wrong_key(places: Places) -> None:
    async def visit() -> None:
        async with client(handing_over(places), sshclients.key()):
            pytest.fail("in")

    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(visit())
