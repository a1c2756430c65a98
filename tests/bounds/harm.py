"""Other clients while somebody misbehaves, and the door's memory before and after."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.child import kib
from tests.measures import everybody
from tests.running import LOOPBACK, Door, read_all

SOON = 1.0  # seconds within which everybody else is answered, on a machine that is busy with tests
FLAT = 2 << 10  # KiB that a process may have grown by: what is bounded, and what is left of it
PAUSE = 0.005  # seconds between two questions of the bystander


def come_from(door: Door, address: str, timeout: float = 5.0) -> socket.socket:
    """Return a new connection from an address of 127.0.0.0/8."""
    return socket.create_connection((LOOPBACK, door.port), timeout, (address, 0))


@dataclass
class Bystander:
    """A client that asks for the documentation again and again, and notes what it had to wait."""

    door: Door
    address: str = "127.33.0.1"
    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self) -> None:
        begun = time.monotonic()
        try:
            with come_from(self.door, self.address) as client:
                client.sendall(b"\0")
                client.shutdown(socket.SHUT_WR)
                if b"PANICDOOR" not in read_all(client):
                    self.failures.append("no documentation")
        except OSError as error:
            self.failures.append(repr(error))
        self.waits.append(time.monotonic() - begun)


@contextmanager
def bystander(door: Door) -> Iterator[Bystander]:
    """Somebody who is answered all the while, and soon: or the test fails."""
    someone, over = Bystander(door), threading.Event()

    def ask_on() -> None:
        while not over.wait(PAUSE):
            someone.ask()

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        yield someone
    finally:
        over.set()
        asking.join()
    someone.ask()
    assert someone.failures == []
    assert max(someone.waits) < SOON


@contextmanager
def no_harm(door: Door, flat: int = FLAT) -> Iterator[Bystander]:
    """Nobody else is harmed, no process has grown or ended, and nothing was a bug."""
    who = everybody(door)
    before = {place: kib("VmRSS", pid) for place, pid in who.items()}
    with bystander(door) as someone:
        yield someone
    assert everybody(door) == who
    grown = {place: kib("VmRSS", pid) - before[place] for place, pid in who.items()}
    assert {place: size for place, size in grown.items() if size > flat} == {}
    assert "bug" not in door.said()


def until_closed(client: socket.socket, data: bytes, most: int) -> tuple[bytes, int]:
    """Send `data` again and again until the door has had enough.

    Returns what it said and how many bytes it took. Fails where it takes more than `most`.
    """
    said, sent = b"", 0
    client.settimeout(5)
    try:
        while sent < most:
            sent += client.send(data)
            client.settimeout(0)
            try:
                while piece := client.recv(65536):
                    said += piece
                break
            except BlockingIOError:
                client.settimeout(5)
    except ConnectionError:
        pass
    assert sent < most
    client.settimeout(5)
    with suppress(ConnectionError):
        said += read_all(client)
    return said, sent


def has_ended(client: socket.socket, seconds: float = 5.0) -> bool:
    """Return whether the door closes within that time; what it says is thrown away."""
    client.settimeout(seconds)
    try:
        read_all(client)
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
