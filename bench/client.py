"""The client's side: what is sent, what is waited for, and how long it took.

The hot loops are in load.c; Python only prepares and counts.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
PROGRAMS = ("load", "floor", "sleepers", "knockers")
HOST = "127.0.0.1"
QUIET = 0.3  # s; an answer is over when nothing has followed for so long
SOURCES = 16  # addresses that held connections come from: dropbear admits few from one
END_MAX = 64  # bytes of an answer's end that are compared; its last line is not longer


class SkippedError(Exception):
    """Something cannot be measured here. The sentence says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent after connecting, and what is a whole answer: its length and its end."""

    send: bytes
    need: int
    end: bytes


FIRST_BYTE = Answer(b"", 1, b"")


@dataclass(frozen=True, slots=True)
class Timing:
    """One run of connections: how long each took, in ms, and the whole run, in s."""

    ms: tuple[float, ...]
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Flood:
    """One run of datagrams: `taken` were read by the server, `dropped` by the kernel before."""

    sent: int
    dropped: int
    taken: int
    answered: int
    seconds: float


def build() -> None:
    """Compile what is older than its source. SkippedError where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SkippedError("there is no C compiler (cc), and the client is a C program")
    BUILD.mkdir(exist_ok=True)
    for name in PROGRAMS:
        source, program = HERE / f"{name}.c", BUILD / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            flags = ["-std=gnu17", "-O2", "-Wall", "-Wextra"]
            subprocess.run([compiler, *flags, "-o", program, source], check=True)


def _load(*arguments: object) -> str:
    done = subprocess.run(
        [BUILD / "load", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout


def connections(
    port: int, answer: Answer, count: int, *, at_once: int = 1, seconds: float = 10
) -> Timing:
    """Connect `count` times, at most for `seconds`, `at_once` of them open at a time."""
    send, end = answer.send.hex() or "-", answer.end.hex() or "-"
    found = json.loads(_load("tcp", port, count, at_once, seconds, answer.need, send, end))
    return Timing(
        tuple(us / 1000 for us in found["microseconds"]), found["failed"], found["seconds"]
    )


def flood(port: int, seconds: float, sources: int, payloads: tuple[bytes, ...]) -> Flood:
    """Send the payloads in turn as fast as one core can, from so many source addresses."""
    return Flood(**json.loads(_load("udp", port, seconds, sources, *(p.hex() for p in payloads))))


def fetch(port: int, send: bytes) -> bytes:
    """Return all that comes until it stops coming. OSError where nobody listens."""
    received = bytearray()
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(send)
        while select.select([connection], [], [], QUIET if received else 2)[0]:
            data = connection.recv(65536)
            if not data:
                break
            received += data
    return bytes(received)


def reference(port: int, send: bytes) -> Answer:
    """Return what a whole answer is: two must have the same length and the same end."""
    first, second = fetch(port, send), fetch(port, send)
    same = 0
    while same < min(len(first), len(second), END_MAX) and first[-same - 1] == second[-same - 1]:
        same += 1
    if not same or len(first) != len(second):
        raise SkippedError(
            f"two answers differ in length or end: {len(first)}, {len(second)} bytes"
        )
    return Answer(send, len(first), first[-same:])


def _read_until(poll: select.poll, wanted: dict[int, int], patience: float) -> None:
    """Read until each socket has what it wanted, or was closed, or nothing came for so long."""
    open_ones = set(wanted)
    while open_ones and any(wanted[fd] > 0 for fd in open_ones):
        ready = poll.poll(patience * 1000)
        if not ready:
            return
        for fd, _ in ready:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            wanted[fd] -= len(data)
            if not data:
                poll.unregister(fd)
                open_ones.discard(fd)


def _is_open(connection: socket.socket) -> bool:
    """Drain a connection and say whether the other end still holds it."""
    try:
        while data := connection.recv(65536):
            del data
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


@contextmanager
def held(port: int, answer: Answer, count: int, settle: float) -> Iterator[int]:
    """Hold connections that have had their answer and are idle; yields how many are admitted."""
    with ExitStack() as stack:
        sockets = []
        poll = select.poll()
        for i in range(count):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(5)
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((f"127.0.0.{1 + i % SOURCES}", 0))
            try:
                connection.connect((HOST, port))
                connection.sendall(answer.send)
            except OSError:
                continue
            connection.setblocking(False)
            poll.register(connection, select.POLLIN)
            sockets.append(connection)
            if i % 100 == 99:  # as a crowd arrives: not faster than a backlog is emptied
                time.sleep(0.02)
        wanted = {connection.fileno(): answer.need for connection in sockets}
        _read_until(poll, wanted, 3)
        time.sleep(settle)
        yield sum(
            _is_open(connection) and wanted[connection.fileno()] <= 0 for connection in sockets
        )
