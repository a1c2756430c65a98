"""Real places of a door, each in a process of its own, spoken to from the other ends of its wires.

Nothing is faked but the absence of everybody else: the door is opened as `serve` opens it, a place
is filled as the supervisor fills it, and a test holds all ends of all wires and says what it likes.
"""

import fcntl
import functools
import importlib
import os
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from tests.child import kib
from tests.running import LOOPBACK, free_port, wait_for

from panicdoor.cli.init import make_door
from panicdoor.commands.registry import COMMANDS, Command
from panicdoor.config import Address
from panicdoor.messages import PACKET_MAX, Answer, Ask, Message
from panicdoor.processes.opening import close, open_door
from panicdoor.processes.place import World, fill
from panicdoor.processes.supervisor import ENTRIES
from panicdoor.processes.wires import Wire
from panicdoor.roles import ROLE_OF

EPOCH = 4711  # of the frontends that a test plays
FAR = 2.0**40  # a time that does not come

M = TypeVar("M", bound=Message)


@functools.cache
def _extra() -> dict[str, Command]:
    before = dict(COMMANDS)
    importlib.import_module("tests.extra")
    found = {name: c for name, c in COMMANDS.items() if c.run.__module__ == "tests.extra"}
    COMMANDS.clear()
    COMMANDS.update(before)
    return found


@contextmanager
def extra_commands() -> Iterator[None]:
    """Have the commands of `tests/extra.py` here for a while: what others see stays as it is."""
    before = dict(COMMANDS)
    COMMANDS.update(_extra())
    try:
        yield
    finally:
        COMMANDS.clear()
        COMMANDS.update(before)


class End:
    """The end that `place` holds of its wire to `peer`, in a test's hands."""

    def __init__(self, place: str, peer: str, fd: int) -> None:
        self._wire = Wire(place, peer, os.dup(fd))
        self.socket = socket.socket(fileno=os.dup(fd))
        self._heard: list[Message] = []

    def say(self, *messages: Message) -> None:
        """Send messages, waiting for room."""
        for message in messages:
            self.push(msgspec.msgpack.encode(message))

    def push(self, packet: bytes, descriptors: list[int] | None = None) -> None:
        """Send any bytes as one packet, waiting for room."""
        while True:
            try:
                socket.send_fds(self.socket, [packet], descriptors or [])
            except BlockingIOError:
                select.select([], [self.socket], [], 0.1)
            else:
                return

    def hear(self, kind: type[M], seconds: float = 5.0, /, **wanted: object) -> M:
        """Return the next message of that kind with those fields; what came before it is kept."""
        give_up = time.monotonic() + seconds
        looked = 0
        while True:
            for at in range(looked, len(self._heard)):
                message = self._heard[at]
                if isinstance(message, kind) and all(
                    getattr(message, name) == value for name, value in wanted.items()
                ):
                    del self._heard[at]
                    return message
            looked = len(self._heard)
            left = give_up - time.monotonic()
            if not self._read(max(0.0, left)) and left < 0:
                pytest.fail(f"no {kind.__name__} {wanted or ''} within {seconds} s")

    def waiting(self) -> list[Message]:
        """Return everything that has come and was not heard yet."""
        while self._read(0.0):
            pass
        heard, self._heard = self._heard, []
        return heard

    def said_within(self, seconds: float) -> bool:
        """Return whether anything is said within that time; it is then lost."""
        self._read(seconds)
        return bool(self.waiting())

    def is_read(self) -> bool:
        """Return whether the peer has read everything that was said."""
        (size,) = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))
        return not size

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.socket], [], [], seconds)
        before = len(self._heard)
        if ready:
            self._heard += self._wire.receive()
        return len(self._heard) > before

    def close(self) -> None:
        """Let go of this end; the wire stays."""
        self._wire.close()
        self.socket.close()


@dataclass
class Places:
    """The places of one door that a test has filled, and the ends of the others'."""

    world: World
    directory: Path
    port: int
    pids: dict[str, int] = field(default_factory=dict)
    _ends: dict[tuple[str, str], End] = field(default_factory=dict)

    def fill(self, name: str, before: Callable[[], object] = lambda: None, fill_no: int = 1) -> int:
        """Fill a place, with the commands of `tests/extra.py`; `before` is done there first."""
        pid = os.fork()
        if pid == 0:
            try:
                for number in (signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                COMMANDS.update(_extra())
                before()
                fill(name, fill_no, self.world, ENTRIES[ROLE_OF[name].entry])
            finally:
                os._exit(1)
        self.pids[name] = pid
        return pid

    def end(self, place: str, peer: str) -> End:
        """Return the end by which `place` speaks to `peer`."""
        if (place, peer) not in self._ends:
            self._ends[place, peer] = End(place, peer, self.world.holdings.wires[place, peer])
        return self._ends[place, peer]

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """End a place and return how it ended: an exit code, or a negative signal."""
        pid = self.pids.pop(name)
        os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def read_by(self, name: str) -> None:
        """Wait until a place has read all that was said to it."""
        for (_, peer), end in self._ends.items():
            if peer == name:
                wait_for(end.is_read)

    def lives(self, name: str) -> bool:
        """Return whether the process that was to fill a place is still there."""
        if name in self.pids and os.waitpid(self.pids[name], os.WNOHANG) != (0, 0):
            del self.pids[name]
        return name in self.pids

    def close(self) -> None:
        """End everything."""
        for name in list(self.pids):
            self.stop(name, signal.SIGKILL)
        for end in self._ends.values():
            end.close()
        close(self.world.holdings)


@contextmanager
def opened(directory: Path) -> Iterator[Places]:
    """A door, opened, with nobody in it. `directory` is made."""
    port = free_port()
    make_door(directory, name="web1", contact="", listen=(Address(LOOPBACK, port),))
    places = Places(open_door(directory, demo=True), directory, port)
    try:
        yield places
    finally:
        places.close()


def ask(number: int, *words: str, until: float = FAR, epoch: int = EPOCH, order: str = "") -> Ask:
    """Return a request as a frontend sends it."""
    return Ask(number, epoch, until, "tcp", "127.0.0.1", "", words, order)


def answered(end: End, number: int, *words: str, seconds: float = 5.0) -> str:
    """Ask for something with one part, and return it."""
    end.say(ask(number, *words))
    return end.hear(Answer, seconds, id=number, end=True).text


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Return the memory of a process, in KiB."""
    return kib("VmRSS", pid)


def packet(**fields: object) -> bytes:
    """Return a map as a packet. `tag` is the message's."""
    if "tag" in fields:
        fields["is"] = fields.pop("tag")
    return msgspec.msgpack.encode(fields)


def hostile(template: Message) -> Iterator[bytes]:
    """Yield packets that are nearly a message, and none."""
    good: dict[str, object] = msgspec.to_builtins(template)
    wrong: list[object] = [
        None, True, -1, 2**63, 2**64 - 1, 0.5, -0.5, float("nan"), float("inf"), float("-inf"),
        1e300, b"bytes", [], {}, [[]], {"a": 1}, "x" * 9000, ["x"] * 65, ["x" * 1025], [None],
        msgspec.msgpack.Ext(1, b"x"), "",
    ]  # fmt: skip
    fits = type(template)
    required = {f.name for f in msgspec.structs.fields(fits) if f.required}
    for name in good:
        if name in required:
            yield packet(**{other: good[other] for other in good if other != name})
        for value in wrong:
            bad = {**good, name: value}
            try:
                msgspec.convert(bad, fits)
            except msgspec.ValidationError:
                yield msgspec.msgpack.encode(bad)
    yield packet(**good, extra=1)
    for tag in ("nobody", "", 0, None, "ASK", ["ask"], "become", "replace", "written"):
        if tag != good["is"]:
            yield msgspec.msgpack.encode({**good, "is": tag})
    whole = msgspec.msgpack.encode(good)
    yield from (whole[:size] for size in range(0, len(whole), 7))
    yield whole + b"\0"
    yield whole.ljust(PACKET_MAX + 1, b"\0")
    yield b"\xc1" * PACKET_MAX
    yield b"\x91" * PACKET_MAX
    yield b"\x81\xa1x" * 5000
    yield b"\xdd\xff\xff\xff\xff"
    yield b"\xdf\xff\xff\xff\xff"
    yield b"\xdb\xff\xff\xff\xff"
    yield b"\x82\xa1x" + b"\x91" * 9000 + b"\xc0\xa2is\xa3ask"
    yield b"\xc0"
    yield b""
    yield whole.replace(b"\xa2is", b"\xa2\xff\xfe")
    first = next((name for name, value in good.items() if isinstance(value, str)), "is")
    mark = "zz" + first
    yield msgspec.msgpack.encode({**good, first: mark}).replace(
        mark.encode(), b"\xff\xfe" + mark[2:].encode()
    )
