"""Floods of ssh connections that never become logins: operators get in, the rest is answered."""

import asyncio
import contextlib
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asyncssh.packet import String
from tests import sshclients
from tests.bounds.harm import Bystander, come_from, descriptors
from tests.child import kib
from tests.running import Door, running, wait_for
from tests.sshclients import client, kexinit, wire_packet

from panicdoor.keys import parse_public_key
from panicdoor.processes.ssh import STRANGERS

ALICE = sshclients.key()
GRANT = '\n[[grant]]\nto = ["alice"]\nmay = ["observe"]\nfrom = ["127.77.0.0/16"]\n'
BEYOND = STRANGERS + 150
WAIT_S = 5.0  # seconds that anybody else may have to wait, on a machine that is busy with tests
GROWN = 24 << 10  # KiB for a pool full of key exchanges, which stay allocated
FULL = 64  # descriptors of an ssh process whose smaller pool is full
BANNER = b"SSH-2.0-flood\r\n"
FIREHOSE = "as many packets as fit"
TINY = wire_packet(b"\x02\0\0\0\0")
# Begun and not gone on with; begun and a packet of nothing, again and again; all but the login.
SAID = {
    "silent": (BANNER, b""),
    "tiny packets": (BANNER, TINY),
    FIREHOSE: (BANNER + TINY * 2000, TINY * 2000),
    "key exchange": (
        BANNER + wire_packet(kexinit()) + wire_packet(b"\x1e" + String(b"\x09" + bytes(31))),
        b"",
    ),
}
FROM: dict[str, Callable[[int], str]] = {
    "one /16": lambda i: f"127.9.{i // 250}.{1 + i % 250}",
    "many /16s": lambda i: f"127.{128 + i % 120}.{i // 120}.1",
}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door with an operator in 127.77.0.0/16, who may log in from anywhere."""
    line = f"ssh-ed25519 {b64encode(ALICE.public_data).decode()}"
    signers = [("alice", parse_public_key(line.encode(), "alice.pub"))]
    directory = tmp_path_factory.mktemp("flooded") / "door"
    with running(directory, more=GRANT, signers=signers) as found:
        yield found


def has_gone(old: socket.socket, again: bytes) -> bool:
    """Say it again; return whether the door has let go of that connection."""
    try:
        with contextlib.suppress(BlockingIOError):
            if not old.recv(65536):
                return True
        with contextlib.suppress(BlockingIOError):
            old.send(again)
    except OSError:
        return True
    return False


@contextmanager
def flood(door: Door, first: bytes, again: bytes, where: Callable[[int], str]) -> Iterator[None]:
    """Hold more connections than there is room for; who is dropped comes again, all the while."""
    held: list[socket.socket] = []
    over = threading.Event()

    def come(number: int) -> None:
        with contextlib.suppress(OSError):
            fresh = come_from(door, where(number))
            held.append(fresh)
            fresh.sendall(first)
            fresh.setblocking(False)

    def keep_on() -> None:
        number = BEYOND
        while not over.wait(0.002):
            old = held.pop(0)
            if has_gone(old, again):
                old.close()
                come(number)
                number += 1
            else:
                held.append(old)

    for number in range(BEYOND):
        come(number)
    keeping_on = threading.Thread(target=keep_on)
    keeping_on.start()
    try:
        yield
    finally:
        over.set()
        keeping_on.join()
        for sock in held:
            sock.close()


async def asked(door: Door, address: str) -> str:
    async with client(lambda: come_from(door, address), ALICE) as alice:
        return str((await alice.run("ping", check=True)).stdout)


@pytest.mark.parametrize("where", FROM)
@pytest.mark.parametrize("kind", SAID)
def test_a_flood_of_half_open_connections(door: Door, kind: str, where: str) -> None:
    ssh = door.place("ssh")
    before = kib("VmRSS", ssh)
    someone = Bystander(door)
    with flood(door, *SAID[kind], FROM[where]):
        if kind != FIREHOSE:  # of those none is held for long
            wait_for(lambda: descriptors(ssh) > STRANGERS)
        for address in ("127.77.0.1", "127.200.0.1", "127.77.0.1", "127.9.0.1"):
            assert "pong" in asyncio.run(asyncio.wait_for(asked(door, address), 2 * WAIT_S))
            for _ in range(25):
                someone.ask()
    assert someone.failures == []
    assert max(someone.waits) < WAIT_S
    assert door.place("ssh") == ssh
    assert kib("VmRSS", ssh) - before < GROWN
    assert '"place":"ssh"' not in (door.directory / "journal").read_text()
    wait_for(lambda: "pong" in asyncio.run(asked(door, "127.77.0.1")))


def test_login_when_strangers_fill_the_pool_of_operators(door: Door) -> None:
    """Those who share a granted network with an operator lose to their own crowd."""
    with flood(door, *SAID["silent"], lambda i: f"127.77.{1 + i // 250}.{1 + i % 250}"):
        wait_for(lambda: descriptors(door.place("ssh")) > FULL)
        for address in ("127.77.0.1", "127.99.0.1"):
            assert "pong" in asyncio.run(asyncio.wait_for(asked(door, address), 2 * WAIT_S))


def test_the_journal_of_a_flood(door: Door, tmp_path: Path) -> None:
    """What strangers do is counted, at most."""
    before = len((door.directory / "journal").read_text().splitlines())
    with flood(door, *SAID["key exchange"], FROM["many /16s"]):
        wait_for(lambda: descriptors(door.place("ssh")) > FULL)
    assert len((door.directory / "journal").read_text().splitlines()) - before <= 1
