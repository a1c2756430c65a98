"""A place as its process sees it: the descriptors that belong to it, and nothing else.

The supervisor opens everything (`Holdings`) before the first fork. Whoever takes a place keeps
what ROLES and MESSAGES give to that place and closes the rest, gives up the rights that its role
does not need, and then waits in one event loop, on one thread, until it is told to stop.

Descriptors are plain numbers until they are kept: a socket object that was closed behind its back
would one day close somebody else's descriptor of the same number.
"""

import asyncio
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn

import setproctitle

from panicdoor.config import Door
from panicdoor.documentation.manual import Manual
from panicdoor.kernel import confine, libc, memory
from panicdoor.keys import PublicKey
from panicdoor.messages import Bug, Hello, Message, Ping, Pong
from panicdoor.orders.signers import Signers
from panicdoor.printable import escape_line
from panicdoor.processes.policy_memory import PolicyMemory
from panicdoor.processes.wires import Wire
from panicdoor.roles import ROLE_OF, SPARE, SUPERVISOR, Role

_SIGTERM, _SIGINT, _SIGHUP = map(int, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
_SIG_DFL, _SIG_IGN = int(signal.SIG_DFL), int(signal.SIG_IGN)
BUGS_A_MINUTE: Final = 5  # reported by one process; a bug in a loop must not fill the journal


Gaps = tuple[tuple[int, int], ...]  # of descriptors: the first, and one after the last


def gaps(fds: set[int]) -> Gaps:
    """Return every descriptor but those and the first three."""
    ends = sorted({2, *fds, os.sysconf("SC_OPEN_MAX")})
    return tuple((low + 1, high) for low, high in pairwise(ends) if low + 1 < high)


@dataclass(frozen=True, slots=True)
class User:
    """Whom processes without root become."""

    uid: int
    gid: int


@dataclass(slots=True)
class Holdings:
    """Everything the supervisor opened, by what it is for, as descriptors.

    `volatile` says that the files are in memory alone: the directory was read-only.
    """

    wires: dict[tuple[str, str], int] = field(default_factory=dict)
    listeners: dict[str, tuple[int, ...]] = field(default_factory=dict)
    secrets: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    policy: PolicyMemory = field(default_factory=PolicyMemory)
    null: int = -1
    empty: int = -1
    lock: int = -1
    volatile: bool = False

    def of(self, place: str) -> set[int]:
        """Return the descriptors that belong to `place`."""
        role = ROLE_OF[place]
        return {
            *(fd for (owner, _), fd in self.wires.items() if owner == place),
            *self.listeners.get(role.listens, ()),
            *(self.secrets[name] for name in role.secrets),
            *(self.files[name] for name in role.files),
            *({self.policy.fd} if role.policy else ()),
        }

    def root_of(self, place: str) -> set[int]:
        """Return the empty directory, where `place` is to be shut into one."""
        return set() if self.empty < 0 or ROLE_OF[place].root else {self.empty}

    def gaps(self) -> dict[str, Gaps]:
        """Return what whoever takes a place closes; a spare keeps what it may need in any."""
        return {
            place: gaps(
                self.without(SUPERVISOR)
                if role.name == SPARE
                else self.of(place) | self.root_of(place)
            )
            for place, role in ROLE_OF.items()
        }

    def without(self, owner: str) -> set[int]:
        """Return every descriptor but the ends of wires that `owner` holds: what a spare keeps."""
        return {
            *(fd for (place, _), fd in self.wires.items() if place != owner),
            *(fd for fds in self.listeners.values() for fd in fds),
            *self.secrets.values(),
            *self.files.values(),
            self.policy.fd,
            *({self.empty} - {-1}),
        }


@dataclass(frozen=True, slots=True)
class World:
    """What every process of one door knows from before its birth.

    `door`, `signers` and `manual` are as at the start: see `reloading` for the policy in force.
    """

    directory: Path
    door: Door
    host_key: PublicKey
    signers: Signers
    manual: Manual
    holdings: Holdings
    user: User | None
    landlock: int
    gaps: dict[str, Gaps]


def close_all(gaps: Gaps) -> None:
    """Close what is not ours."""
    for low, high in gaps:
        os.closerange(low, high)


class Place:
    """A place, held by this process from now on.

    Messages go out by `tell`; each kind that comes in is handled by what `on` was given for it.
    """

    def __init__(self, name: str, fill: int, world: World) -> None:
        if ROLE_OF[name].policy != "writes":
            world.holdings.policy.only_read()
        close_all(world.gaps[name])
        self.name = name
        self.fill = fill
        self.world = world
        self.role: Role = ROLE_OF[name]
        self.epoch = time.monotonic_ns()
        setproctitle.setproctitle(f"panicdoor: {name} of {world.door.name}")
        self.loop = asyncio.SelectorEventLoop()
        self.loop.set_exception_handler(self._unexpected)
        self.wires: dict[str, Wire] = {
            peer: Wire(name, peer, fd)
            for (owner, peer), fd in world.holdings.wires.items()
            if owner == name
        }
        self._handlers: dict[type[Message], Callable[[Any, str], None]] = {Ping: self._pong}
        sys.unraisablehook = self._unraisable
        self._bugs: list[float] = []
        self._unheard: deque[tuple[Message, str]] = deque()
        self._awake = self._ending = False
        self._pinged = 0

    def on(self, kind: type[Message], handler: Callable[[Any, str], None]) -> None:
        """Have messages of one kind handled: the handler is given the message and who sent it."""
        self._handlers[kind] = handler

    def tell(self, peer: str, message: Message) -> bool:
        """Send a message to a peer; False, at once, where its wire is full or over."""
        return self.wires[peer].send(message)

    def hand_over(self, peer: str, message: Message, fd: int) -> bool:
        """Send a message and a copy of a descriptor; False, at once, where there is no room."""
        return self.wires[peer].send(message, fd)

    def hear(self, peer: str, wanted: Callable[[Message], bool], seconds: float) -> Message | None:
        """Wait for one message of a peer, and for nothing else; None when it is not there in time.

        For what cannot wait in the loop. What else the peer says meanwhile is handled afterwards.
        """
        wire = self.wires[peer]
        poll = select.poll()
        poll.register(wire.fileno(), select.POLLIN)
        until = time.monotonic() + seconds
        found = None
        while found is None and not wire.over and (left := until - time.monotonic()) > 0:
            poll.poll(left * 1000)
            for message in wire.receive():
                if found is None and wanted(message):
                    found = message
                else:
                    self._unheard.append((message, peer))
        if self._unheard:
            self.loop.call_soon(self._catch_up)
        return found

    def _catch_up(self) -> None:
        while self._unheard:
            message, peer = self._unheard.popleft()
            self._handlers[type(message)](message, peer)

    def give_up_rights(self) -> None:
        """Do without what this role does not need: other user, no capabilities, no files.

        Everything that needs the file system (a certificate from its memfd) was loaded before.
        """
        confine.no_new_privileges()
        world = self.world
        if not self.role.root:
            if world.landlock:
                confine.deny_files(world.landlock)
            elif world.holdings.empty >= 0:
                confine.enter_empty_root(world.holdings.empty)
            if world.user is not None:
                confine.change_user(world.user.uid, world.user.gid)
            # Root's go with its user, unless securebits keep them; others may have ambient ones.
            confine.drop_capabilities()
        confine.hide_memory()

    def serve(
        self,
        warm_up: Callable[[], None] = lambda: None,
        last: Callable[[], None] | None = None,
    ) -> None:
        """Wait and act until SIGTERM. Ctrl-C and a lost terminal reach the whole group: ignored.

        `warm_up` is run before the first ping is answered: it does everything once, so that
        nothing is done for the first time when it matters. `last` is what is still to be done
        after SIGTERM; whoever has nothing to do then is ended by the kernel, at once.
        """
        if last is not None:
            self.loop.add_signal_handler(signal.SIGTERM, self._end)
        for wire in self.wires.values():
            self.loop.add_reader(wire.fileno(), self._read, wire)
        if "monitor" in self.wires:
            self.tell("monitor", Hello(self.name, self.fill, self.epoch))
        warm_up()
        self._awake = True
        if self._pinged:
            self.tell(SUPERVISOR, Pong(self._pinged))
        if not self._ending:
            self.loop.run_forever()
        if last is not None:
            last()

    def run_for(self, seconds: float) -> None:
        """Let everything that waits go on for a while: for a warm-up alone."""
        timer = self.loop.call_later(seconds, self.loop.stop)
        if not self._ending:
            self.loop.run_forever()
        timer.cancel()

    def _end(self) -> None:
        self._ending = True
        self.loop.stop()

    def report(self, error: BaseException) -> None:
        """Tell of a bug, without reading a source file: what was raised, and where."""
        now = time.monotonic()
        self._bugs = [at for at in self._bugs if at > now - 60]
        if len(self._bugs) >= BUGS_A_MINUTE:
            return
        self._bugs.append(now)
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
        text = escape_line(f"{type(error).__name__}: {error} at {at[-80:]}")
        self._handlers.get(Bug, self._send_bug)(Bug(self.name, text[:512]), self.name)

    def _send_bug(self, bug: Bug, _: str) -> None:
        self.tell("monitor", bug)

    def _read(self, wire: Wire) -> None:
        self._catch_up()
        for message in wire.receive():
            self._handlers[type(message)](message, wire.peer)
        if wire.over:
            # Its end reads as ready for ever: alone now, and the door stays open.
            self.loop.remove_reader(wire.fileno())

    def _pong(self, ping: Ping, _: str) -> None:
        self._pinged = ping.n
        if self._awake:
            self.tell(SUPERVISOR, Pong(ping.n))

    def _unraisable(self, raised: "sys.UnraisableHookArgs") -> None:
        """Python's own way of telling what a destructor raised would read source files."""
        if raised.exc_value is not None:
            self.report(raised.exc_value)

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.report(error if isinstance(error, BaseException) else RuntimeError(context["message"]))


def fill(name: str, fill_number: int, world: World, entry: Callable[[Place], None]) -> NoReturn:
    """Be the process that fills a place, from just after the fork until its end."""
    place = None
    try:
        place = Place(name, fill_number, world)
        entry(place)
    except BaseException as error:
        if place is not None:
            place.report(error)
        os._exit(1)
    os._exit(0)


def be_born(world: World, ranges: memory.Ranges, forever: bool) -> None:
    """What every process of the door does first after its fork."""
    signal.set_wakeup_fd(-1)
    libc.set_signal(_SIGTERM, _SIG_DFL)
    libc.set_signal(_SIGINT, _SIG_IGN)
    libc.set_signal(_SIGHUP, _SIG_IGN)
    for fd in (0, 1, 2):
        os.dup2(world.holdings.null, fd)
    memory.lock(ranges, forever)
