"""Tests of the ssh process and its wires: a frontend that was taken over, and hostile handovers."""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asyncssh.packet import Boolean, String
from tests import sshclients
from tests.child import kib
from tests.places import EPOCH, FAR, End, Places, descriptors, hostile, opened
from tests.running import LOOPBACK, wait_for
from tests.sshclients import (
    GLOBAL,
    alice_in,
    client,
    handing_over,
    journal_has_no_bug,
    kexinit,
    wire_packet,
)
from tests.sshkeys import Exchange, Key, ed25519_key, exchange

from panicdoor.judge.pace import BURST, TOO_FAST
from panicdoor.judge.sessions import HOSTBOUND, PLAIN
from panicdoor.messages import (
    Answer,
    Ask,
    Bug,
    Cancel,
    Fresh,
    Handover,
    Hello,
    Login,
    Logout,
    Message,
    Ping,
    Pong,
    Regraded,
    Run,
    Session,
    Sign,
    Signed,
    Write,
)
from panicdoor.orders.sshwire import Reader, string
from panicdoor.processes import ssh as ssh_module
from panicdoor.processes.desk import ASKS_MAX
from panicdoor.processes.opening import open_door
from panicdoor.processes.ssh import STRANGERS
from panicdoor.processes.ssh_connection import CHANNELS_MAX

ALICE = ed25519_key()


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """A door that knows alice, with nobody in it."""
    with opened(tmp_path / "first") as made:
        directory = made.directory
    people = f'alice namespaces="login@panicdoor" {ALICE.line()}\n'
    (directory / "allowed_signers").write_text(people)
    policy = (directory / "door.toml").read_text().partition("\n# [[grant]]")[0]
    grant = '\n[[grant]]\nto = ["alice"]\nmay = ["defend"]\n'
    (directory / "door.toml").write_text(policy + grant)
    with reopened(directory) as found:
        yield found


@contextmanager
def reopened(directory: Path) -> Iterator[Places]:
    """Open a door that is there, as it is now."""
    places = Places(open_door(directory, demo=True), directory, 0)
    try:
        yield places
    finally:
        places.close()


class TakenOver:
    """An ssh frontend that says to the monitor whatever it likes."""

    def __init__(self, places: Places) -> None:
        self.end: End = places.end("ssh", "monitor")
        self.host = places.world.host_key.blob
        self._ids = self._monitor = 0
        self.hello(1, EPOCH)

    def hello(self, fill: int, epoch: int) -> None:
        """Say that a process has taken the place, and hear a challenge of another monitor."""
        self.end.say(Hello("ssh", fill, epoch))
        while (fresh := self.end.hear(Fresh)).epoch == self._monitor:
            pass
        self.challenge, self._monitor = fresh.challenge, fresh.epoch
        self.h1, self.h2 = self.met(1), self.met(2)

    def met(self, client: object, **other: Any) -> Exchange:
        """Return a key exchange that names this door and its last challenge."""
        return exchange(self.host, self.challenge, client, **other)

    def sign(self, made: Exchange, connection: int = 1, epoch: int = EPOCH) -> bytes:
        self._ids += 1
        self.end.say(Sign(self._ids, epoch, connection, made.hash, made.transcript))
        return self.end.hear(Signed, id=self._ids).signature

    def login(
        self, user: str, key: Key, made: Exchange, *, connection: int = 1,
        host: bytes | None = None, method: str = HOSTBOUND, algorithm: str = "", tail: bytes = b"",
    ) -> Session:  # fmt: skip
        body = (
            b"\x32" + string(user.encode()) + string(b"ssh-connection") + string(method.encode())
            + b"\x01" + string((algorithm or key.algorithm).encode()) + string(key.blob)
        )  # fmt: skip
        if method == HOSTBOUND:
            body += string(self.host if host is None else host)
        return self.say_login(body, key.sign(string(made.hash) + body) + tail, connection)

    def say_login(
        self, body: bytes, signature: bytes, connection: int = 1, epoch: int = EPOCH
    ) -> Session:
        self._ids += 1
        self.end.say(Login(self._ids, epoch, connection, body, signature, "192.0.2.7"))
        return self.end.hear(Session, id=self._ids)

    def ask(self, words: str, session: str, epoch: int = EPOCH) -> Answer:
        self._ids += 1
        asked = Ask(self._ids, epoch, FAR, "ssh", LOOPBACK, "", (words,), "", session)
        self.end.say(asked)
        return self.end.hear(Answer, id=self._ids)


@pytest.fixture
def taken_over(places: Places) -> TakenOver:
    places.fill("monitor")
    places.end("writer", "monitor")
    return TakenOver(places)


def test_a_login_by_the_book(taken_over: TakenOver, places: Places) -> None:
    signed = Reader(taken_over.sign(taken_over.h1))
    assert signed.string() == b"ssh-ed25519"
    session = taken_over.login("alice", ALICE, taken_over.h1)
    assert (session.principal, session.level, session.note) == ("alice", "defend", "")
    assert session.token
    entries = [m for m in places.end("writer", "monitor").waiting() if isinstance(m, Write)]
    assert [m.kind for m in entries] == ["start", "login"]
    assert '"by":"alice"' in entries[1].fields
    assert "pong" in taken_over.ask("ping", session.token).text


def test_a_login_to_another_host_replayed(taken_over: TakenOver) -> None:
    elsewhere = ed25519_key().blob
    there = exchange(elsewhere, taken_over.challenge)
    for method, host in ((HOSTBOUND, elsewhere), (HOSTBOUND, taken_over.host), (PLAIN, None)):
        assert taken_over.sign(there) == b""
        assert taken_over.sign(Exchange(taken_over.h1.transcript, there.hash)) == b""
        assert not taken_over.login("alice", ALICE, there, host=host, method=method).token
    taken_over.sign(taken_over.h1)
    assert not taken_over.login("alice", ALICE, taken_over.h1, host=elsewhere).token


def test_plain_publickey_may_look(taken_over: TakenOver) -> None:
    taken_over.sign(taken_over.h1)
    session = taken_over.login("alice", ALICE, taken_over.h1, method=PLAIN)
    assert session.level == "observe"
    assert "Observe only" in session.note
    assert "needs more than observe" in taken_over.ask("forbidden", session.token).text


def test_a_login_replayed_to_the_next_monitor(taken_over: TakenOver, places: Places) -> None:
    """Also when the door has been started again: it is a monitor with the same key."""
    old = taken_over.h1
    taken_over.sign(old)
    body = (
        b"\x32" + string(b"alice") + string(b"ssh-connection") + string(HOSTBOUND.encode())
        + b"\x01" + string(b"ssh-ed25519") + string(ALICE.blob) + string(taken_over.host)
    )  # fmt: skip
    signature = ALICE.sign(string(old.hash) + body)
    assert taken_over.say_login(body, signature).token
    places.stop("monitor", signal.SIGKILL)
    places.fill("monitor", fill_no=2)
    taken_over.hello(2, EPOCH)
    for connection in (1, 2):
        assert taken_over.sign(old, connection) == b""
        assert not taken_over.say_login(body, signature, connection).token
    assert taken_over.sign(taken_over.h2, 3)
    assert taken_over.sign(old, 3)  # as if it were a rekey
    assert not taken_over.say_login(body, signature, 3).token
    assert taken_over.sign(taken_over.h1, 4)
    assert taken_over.login("alice", ALICE, taken_over.h1, connection=4).token


def test_a_session_id_used_twice(taken_over: TakenOver) -> None:
    taken_over.sign(taken_over.h1)
    assert taken_over.login("alice", ALICE, taken_over.h1).token
    assert not taken_over.login("alice", ALICE, taken_over.h1).token
    assert taken_over.sign(taken_over.h1, connection=2) == b""
    assert not taken_over.login("alice", ALICE, taken_over.h1, connection=2).token


@pytest.mark.parametrize("size", [0, 20, 32, 65, 6144])
def test_what_is_no_hash_is_not_signed(taken_over: TakenOver, size: int) -> None:
    made = Exchange(taken_over.h1.transcript, b"x" * size)
    assert taken_over.sign(made) == b""
    assert not taken_over.login("alice", ALICE, made).known


def test_a_hash_of_sha1_is_not_signed(taken_over: TakenOver) -> None:
    made = taken_over.met(1, digest="sha1")
    assert len(made.hash) == 20
    assert taken_over.sign(made) == b""
    assert not taken_over.login("alice", ALICE, made).known


def test_a_rekey_hash(taken_over: TakenOver) -> None:
    taken_over.sign(taken_over.h1)
    assert taken_over.sign(taken_over.h2)
    assert not taken_over.login("alice", ALICE, taken_over.h2).token


def test_nobody_else(taken_over: TakenOver) -> None:
    mallory = ed25519_key()
    tries: tuple[tuple[str, Key, dict[str, Any]], ...] = (
        ("alice", mallory, {}),
        ("root", ALICE, {}),
        ("alice", ALICE, {"tail": b"\0"}),
        ("alice", ALICE, {"connection": 77}),
        ("alice", ALICE, {"algorithm": "ssh-rsa"}),
    )
    for number, (user, key, other) in enumerate(tries):
        made = taken_over.met(number)
        assert taken_over.sign(made, connection=number)
        options = {"connection": number, **other}
        assert not taken_over.login(user, key, made, **options).token


def test_a_thousand_algorithm_names(taken_over: TakenOver) -> None:
    for i in range(1000):
        made = taken_over.met(i)
        assert taken_over.sign(made, connection=i)
        name = f"ssh-ed25519{i}"
        assert not taken_over.login("alice", ALICE, made, connection=i, algorithm=name).token


def test_a_flood_of_commands_leaves_the_journal_room_for_others(
    taken_over: TakenOver, places: Places
) -> None:
    taken_over.sign(taken_over.h1)
    token = taken_over.login("alice", ALICE, taken_over.h1).token
    said = [taken_over.ask("forbidden", token).text for _ in range(400)]
    assert TOO_FAST in said[BURST:]
    assert TOO_FAST not in said[:BURST]
    taken_over.sign(taken_over.h2, connection=2)
    taken_over.login("alice", ALICE, taken_over.h2, connection=2)
    entries = [m.kind for m in places.end("writer", "monitor").waiting() if isinstance(m, Write)]
    assert entries[-1] == "login"
    assert "missed" not in entries


def test_tokens_that_are_not_ones_own(taken_over: TakenOver) -> None:
    taken_over.sign(taken_over.h1)
    token = taken_over.login("alice", ALICE, taken_over.h1).token
    for wrong, epoch in ((token[:-1], EPOCH), ("0" * 32, EPOCH), (token, EPOCH + 1)):
        assert taken_over.ask("ping", wrong, epoch).text == "this session has ended; log in again\n"
    taken_over.end.say(Logout(EPOCH, 1))
    assert "has ended" in taken_over.ask("ping", token).text


def test_a_logout_ends_what_was_asked_in_its_sessions_and_no_more(
    taken_over: TakenOver, places: Places
) -> None:
    runners = [places.end(name, "monitor") for name in ("worker1", "worker2")]
    for runner, name in zip(runners, ("worker1", "worker2"), strict=True):
        runner.say(Hello(name, 1, 31))
    runs = []
    for connection, made in ((1, taken_over.h1), (2, taken_over.h2)):
        taken_over.sign(made, connection=connection)
        token = taken_over.login("alice", ALICE, made, connection=connection).token
        words = ("forbidden",)
        taken_over.end.say(Ask(100 + connection, EPOCH, FAR, "ssh", LOOPBACK, "", words, "", token))
        runs.append(runners[connection - 1].hear(Run))
    taken_over.end.say(Logout(EPOCH, 1))
    assert runners[0].hear(Cancel).id == runs[0].id
    assert "pong" in taken_over.ask("ping", token).text
    assert not any(isinstance(m, Cancel) for m in runners[1].waiting())


def test_a_session_dies_with_the_process_that_has_it(taken_over: TakenOver) -> None:
    taken_over.sign(taken_over.h1)
    token = taken_over.login("alice", ALICE, taken_over.h1).token
    taken_over.end.say(Hello("ssh", 2, EPOCH + 9))
    assert "has ended" in taken_over.ask("ping", token).text
    assert "has ended" in taken_over.ask("ping", token, EPOCH + 9).text


def test_a_stream_cannot_use_a_session(taken_over: TakenOver, places: Places) -> None:
    taken_over.sign(taken_over.h1)
    token = taken_over.login("alice", ALICE, taken_over.h1).token
    stream = places.end("stream1", "monitor")
    stream.say(Ask(1, EPOCH, FAR, "tcp", LOOPBACK, "", ("forbidden",), "", token))
    assert stream.hear(Answer, id=1).code


@pytest.mark.parametrize(
    "message",
    [
        Sign(1, EPOCH, 1, b"1" * 32, b"2"),
        Login(1, EPOCH, 1, b"2", b"", LOOPBACK),
        Logout(EPOCH, 1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_hostile_packets_to_the_monitor(taken_over: TakenOver, message: Message) -> None:
    for packet in hostile(message):
        taken_over.end.push(packet)
    taken_over.sign(taken_over.h1, connection=50)
    assert taken_over.login("alice", ALICE, taken_over.h1, connection=50).token


# The ssh process


@pytest.fixture
def ssh(places: Places) -> End:
    """An ssh process without a monitor; the end of a stream that speaks to it."""
    places.fill("ssh")
    return places.end("stream1", "ssh")


def _banner(end: End) -> bytes:
    """Hand a client over, and return what it reads first."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end.push(_packet(Handover("192.0.2.7", LOOPBACK, 903)), [theirs.fileno()])
        ours.settimeout(10)
        return ours.recv(100)


def _packet(message: Message) -> bytes:
    return msgspec.msgpack.encode(message)


def test_a_client_is_handed_over(ssh: End) -> None:
    assert _banner(ssh) == b"SSH-2.0-panicdoor\r\n"


def test_what_is_handed_over_and_is_no_socket_is_closed(ssh: End, places: Places) -> None:
    assert _banner(ssh)
    pid = places.pids["ssh"]
    before = descriptors(pid)
    null = os.open("/dev/null", os.O_RDONLY)
    for _ in range(50):
        ssh.push(_packet(Handover("192.0.2.7", LOOPBACK, 903)), [null])
    os.close(null)
    assert _banner(ssh)
    wait_for(lambda: descriptors(pid) <= before + 2)


def test_sockets_that_carry_no_stream_are_closed(ssh: End, places: Places) -> None:
    pid = places.pids["ssh"]
    monitor = places.end("monitor", "ssh")
    assert _banner(ssh)
    before = descriptors(pid)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with ours, theirs:
            ssh.push(_packet(Handover("192.0.2.7", LOOPBACK, 903)), [theirs.fileno()])
        monitor.hear(Logout)
    assert _banner(ssh)
    wait_for(lambda: descriptors(pid) <= before + 2)
    assert not any(isinstance(m, Bug) for m in monitor.waiting())


def test_a_monitor_that_does_not_sign_is_waited_for_now_and_then(places: Places) -> None:
    """In between no key exchange keeps everybody else waiting."""
    places.fill("ssh", lambda: setattr(ssh_module, "UNSIGNED_S", 3.0))
    monitor, supervisor = places.end("monitor", "ssh"), places.end("supervisor", "ssh")
    supervisor.say(Ping(1))
    supervisor.hear(Pong, 15.0)  # it has warmed up, with two key exchanges
    assert sum(isinstance(m, Sign) for m in monitor.waiting()) == 1
    exchange_keys = kexinit(b"curve25519-sha256")
    point = b"\x1e" + string(b"\x09" + bytes(31))

    def asked() -> bool:
        with handing_over(places)() as sock:
            sock.sendall(b"SSH-2.0-x\r\n" + wire_packet(exchange_keys) + wire_packet(point))
            while sock.recv(4096):  # until it is refused
                pass
        return any(isinstance(m, Sign) for m in monitor.waiting())

    assert not asked()
    wait_for(asked, 10.0)


def test_what_a_monitor_says_before_it_signs_is_not_lost(places: Places) -> None:
    places.fill("ssh", lambda: setattr(ssh_module, "SIGN_S", 5.0))
    monitor, stream = places.end("monitor", "ssh"), places.end("stream1", "ssh")
    monitor.say(Fresh("one", 1))
    for _ in range(2):  # of its warm-up, and of a client
        signed = monitor.hear(Sign)
        monitor.say(Fresh("two", 1), Signed(signed.id, signed.epoch, b""))
    assert _banner(stream) == b"SSH-2.0-panicdoor two\r\n"


def test_another_level_is_for_the_process_that_was_meant(places: Places, ssh: End) -> None:
    monitor = places.end("monitor", "ssh")
    epoch = monitor.hear(Hello).epoch
    with handing_over(places)() as sock:
        sock.settimeout(10)
        assert sock.recv(100).startswith(b"SSH-2.0-")
        everybody = range(20)  # whatever its number is
        monitor.say(*(Regraded(epoch - 1, number, "") for number in everybody))
        places.read_by("ssh")
        assert _banner(ssh)
        assert not select.select([sock], [], [], 0)[0]
        monitor.say(*(Regraded(epoch, number, "") for number in everybody))
        while sock.recv(4096):
            pass


def test_more_strangers_than_there_is_room_for(ssh: End, places: Places) -> None:
    """Who is dropped before it has begun is dropped all the same."""
    pid = places.pids["ssh"]
    assert _banner(ssh)
    before = descriptors(pid)
    with ExitStack() as stack:
        for number in range(STRANGERS + 200):
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            peer = f"198.51.{number % 100}.7"
            ssh.push(_packet(Handover(peer, LOOPBACK, 903)), [theirs.fileno()])
            theirs.close()
        assert _banner(ssh)
        wait_for(lambda: descriptors(pid) <= before + STRANGERS + 8)
    wait_for(lambda: descriptors(pid) <= before + 2)


def test_who_holds_most_loses_the_oldest(tmp_path: Path) -> None:
    """Of more that have logged in than there is room for."""

    def hurry() -> None:
        vars(ssh_module)["LOGGED_IN_MAX"] = 3

    alice = sshclients.key()

    async def visit(places: Places) -> None:
        async with AsyncExitStack() as stack:
            made = [
                await stack.enter_async_context(client(handing_over(places), alice))
                for _ in range(5)
            ]
            await made[0].end()
            await made[1].end()
            for still in made[2:]:
                assert (await still.run("ping")).exit_status == 0

    with alice_in(tmp_path / "door", alice, hurry) as places:
        asyncio.run(visit(places))


def test_one_principal_leaves_room_for_the_others(tmp_path: Path) -> None:
    """All sessions of one must not use up what this process can ask the monitor at once."""
    assert ssh_module.OF_ONE_MAX * CHANNELS_MAX <= ASKS_MAX // 2

    def hurry() -> None:
        vars(ssh_module)["OF_ONE_MAX"] = 2

    alice = sshclients.key()

    async def visit(places: Places) -> None:
        async with AsyncExitStack() as stack:
            made = [
                await stack.enter_async_context(client(handing_over(places), alice))
                for _ in range(3)
            ]
            await made[0].end()
            for still in made[1:]:
                assert (await still.run("ping")).exit_status == 0

    with alice_in(tmp_path / "door", alice, hurry) as places:
        asyncio.run(visit(places))


def test_sockets_of_other_kinds_leave_nothing_behind(ssh: End, places: Places) -> None:
    """A stream that was taken over can make them; they take no stranger's slot, and no memory."""
    assert _banner(ssh)
    pid = places.pids["ssh"]
    before = descriptors(pid), kib("VmRSS", pid)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for _ in range(1500):
            ssh.push(_packet(Handover("192.0.2.7", LOOPBACK, 903)), [other.fileno()])
    assert _banner(ssh)
    wait_for(lambda: descriptors(pid) <= before[0])
    assert kib("VmRSS", pid) - before[1] < 2048  # 8 MiB, where each has left something
    journal_has_no_bug(places)


def test_a_socket_that_its_stream_lets_wait_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A stream that was taken over keeps a copy, and with it a hand on the socket's flags."""
    alice = sshclients.key()

    async def visit(places: Places) -> None:
        stream = places.end("stream1", "ssh")
        ours, theirs = socket.socketpair()
        with theirs:
            stream.push(_packet(Handover(LOOPBACK, LOOPBACK, 903)), [theirs.fileno()])
            async with client(lambda: ours, alice, tries=1) as slow:
                theirs.setblocking(True)
                transport: Any = slow._transport
                transport.pause_reading()
                for _ in range(20_000):  # each is answered, and nobody reads that
                    slow.say(GLOBAL, String("nonesuch") + Boolean(True))
                await asyncio.sleep(0)
                async with client(handing_over(places), alice) as other:
                    assert (await other.run("ping")).exit_status == 0

    with alice_in(tmp_path / "door", alice) as places:
        asyncio.run(visit(places))


def test_handovers_with_more_or_fewer_sockets(ssh: End, places: Places) -> None:
    assert _banner(ssh)
    pid = places.pids["ssh"]
    wait_for(lambda: places.lives("ssh"))
    before = descriptors(pid)
    good = _packet(Handover("192.0.2.7", LOOPBACK, 903))
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for count in (0, 2, 3, 8, 9, 20, 100):
            for packet in (good, b"", b"junk", good + b"x"):
                if packet or count:
                    ssh.push(packet, [null] * count)
        for packet in hostile(Handover("192.0.2.7", LOOPBACK, 903)):
            if packet:
                ssh.push(packet, [null])
        ssh.push(good, [null])  # what is no socket
    finally:
        os.close(null)
    assert _banner(ssh) == b"SSH-2.0-panicdoor\r\n"
    wait_for(lambda: descriptors(pid) <= before)
