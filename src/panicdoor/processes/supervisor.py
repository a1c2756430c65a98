"""The supervisor: forks everything, fills places that fall empty, and does nothing else.

After start it reads nothing from outside but the start time of each child it has made, runs one
poll(2), writes to no disk (what it has to say goes to the writer), and never waits for anybody. Its
children outlive it.

An empty place is filled by a spare where there is one, which costs no new process, and by a fork
where there is none. A place whose holder died within a second of its birth waits, longer each
time: a crash at birth must not become a storm.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import setproctitle

from panicdoor.errors import PanicdoorError
from panicdoor.kernel import confine, memory, notify, process, sockets
from panicdoor.messages import (
    Become,
    Holder,
    Message,
    Ping,
    Places,
    Pong,
    Reload,
    Replace,
    Write,
)
from panicdoor.printable import escape_line
from panicdoor.processes import datagram, monitor, spare, ssh, stream, worker, writer
from panicdoor.processes.errands import RUNNERS
from panicdoor.processes.limits import limits
from panicdoor.processes.opening import close, open_door
from panicdoor.processes.place import Place, World, be_born, fill
from panicdoor.processes.warmup import rehearse
from panicdoor.processes.wires import Wire
from panicdoor.records import journal
from panicdoor.roles import ROLE_OF, ROLES, SPARE, SUPERVISOR, Role, allowed, places_of

ENTRIES: Final[dict[str, Callable[[Place], None]]] = {
    "monitor": monitor.run,
    "writer": writer.run,
    "worker": worker.run,
    "ssh": ssh.run,
    "datagram": datagram.run,
    "stream": stream.run,
}

Ready = Callable[[World, tuple[str, ...]], None]

PING_S: Final = 1.0  # seconds between two pings of one place
MISSES: Final = 5  # unanswered pings after which a place is replaced
BIRTH_MISSES: Final = 10  # the same until the first answer: warming up takes longer on a bad day
STORM_S: Final = 1.0  # seconds of life below which a death counts as one at birth
BACKOFF_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # seconds to wait after 1, 2, ... of those
NO_ROOM_S: Final = 0.5  # seconds until the next try when the kernel had no room for a process
ASKED_S: Final = 0.1  # seconds to wait for one that was told to end: so may we be, in a moment
TAKE_S: Final = 1.0  # seconds for a spare to read what it becomes, before its seat is filled again
LOOK_S: Final = 0.01  # seconds between two looks whether it has
BUG_S: Final = 0.5  # seconds until all goes on after a bug here: it may come again at once
DOOMED_MAX: Final = 2  # killed holders of one place that may still hang in the kernel
READY_S: Final = 10.0  # seconds within which every place answers at start, or the door gives up
STOP_S: Final = 1.0  # seconds a role has to end by itself
COLLECT: Final = (200, 5, 5)  # gc.set_threshold(): what waits for longer fills pages of its own


@dataclass(slots=True)
class Seat:
    """A place and who holds it. `doomed` are killed holders that have not been reaped yet.

    `started` is the holder's start time, for the list of places. `became` is when the last holder
    of a spare's seat was told to take another place.
    """

    name: str
    role: Role
    pinged: bool
    pid: int = 0
    pidfd: int = -1
    started: int = 0
    fills: int = 0
    born: float = 0.0
    missed: int = 0
    answered: bool = False
    early_deaths: int = 0
    not_before: float = 0.0
    told_empty: bool = False
    became: float = 0.0
    doomed: dict[int, int] = field(default_factory=dict)


def serve(directory: Path, ready: Ready, demo: bool = False) -> int:
    """Run the door of `directory` until SIGTERM or SIGINT; return the exit code.

    SIGHUP has the policy read anew. `ready` is called once, when every place answers, with what
    this door cannot do here. With `demo`, root changes to no other user, and SIGHUP ends it, too.
    Raises ConfigError before anything has been started, PanicdoorError when the start failed.
    """
    world = open_door(directory, demo)
    try:
        return Supervisor(world, reloads=not demo).run(ready)
    finally:
        close(world.holdings)


class Supervisor:
    """The parent of all. One instance, one poll."""

    def __init__(self, world: World, reloads: bool) -> None:
        self._world = world
        self._reloads = reloads
        self._me = Holder(SUPERVISOR, os.getpid(), process.start_time(os.getpid()))
        self._seats = {
            place: Seat(place, role, Ping in allowed(SUPERVISOR, role.name))
            for role in ROLES
            for place in places_of(role)
        }
        self._wires = {
            peer: Wire(SUPERVISOR, peer, fd)
            for (owner, peer), fd in world.holdings.wires.items()
            if owner == SUPERVISOR
        }
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._epoch = time.monotonic_ns()
        self._pings = 0
        self._next_ping = 0.0
        self._untold = 0
        self._stopping = self._unrecorded = False
        self._ranges = memory.Ranges()
        self._unlimited = self._privileged = False

    def run(self, ready: Ready) -> int:
        """Fill every place, say that all is ready, and keep them filled until told to stop."""
        signals = self._catch_signals()
        memory.settle_malloc()
        for peer, wire in self._wires.items():
            if allowed(ROLE_OF[peer].name, SUPERVISOR):
                self._watch(wire.fileno(), self._reader(wire))
        setproctitle.setproctitle(f"panicdoor: supervisor of {self._world.door.name}")
        ssh.prepare(self._world.host_key)
        rehearse(self._world.manual)
        gc.collect()
        memory.trim_malloc()
        memory.plug_gaps()
        gc.freeze()
        gc.set_threshold(*COLLECT)
        self._ranges = memory.survey()
        self._privileged = memory.privileged()
        self._unlimited = memory.raise_limit()
        # As those without rights do, so that the note at start is true of them.
        locked = memory.lock(self._ranges, self._unlimited)
        notes = limits(self._world, locked, process.escape_oom_killer())
        # Inherited by all: others of this user must not reach the secrets through our descriptors.
        confine.hide_memory()
        try:
            if self._start():
                notify.notify(os.environ.get("NOTIFY_SOCKET", ""), "READY=1")
                ready(self._world, notes)
                while not self._stopping:
                    self._go_on()
        finally:
            notify.notify(os.environ.get("NOTIFY_SOCKET", ""), "STOPPING=1")
            self._stop()
            signals.close()
        return 0

    def _start(self) -> bool:
        """Fill all places and wait until they answer; False when told to stop meanwhile."""
        give_up = time.monotonic() + READY_S
        self._populate()
        while not self._stopping:
            self._turn()
            waiting = [s.name for s in self._seats.values() if s.pinged and not s.answered]
            if not waiting:
                return True
            if time.monotonic() > give_up:
                raise PanicdoorError(f"{', '.join(waiting)} did not start in {READY_S:.0f} seconds")
        return False

    def _populate(self) -> None:
        """Fork everybody in one go, and do the books afterwards.

        What the supervisor writes between two forks, every child has as a page of its own.
        """
        born = []
        for seat in self._seats.values():
            try:
                born.append((seat, *self._fork(seat)))
            except OSError:
                break  # the next turn tries again, and says so
        for seat, pid, pidfd in born:
            self._hold(seat, pid, pidfd, process.start_time(pid))
        self._unrecorded = True

    def _go_on(self) -> None:
        """Take a turn. Whatever is raised there, the door stays open."""
        try:
            self._turn()
        except Exception as error:
            what = escape_line(f"{type(error).__name__}: {error}")[:200]
            self._say("bug", place=SUPERVISOR, what=what)
            time.sleep(BUG_S)

    def _turn(self) -> None:
        """Do what is due, then wait for the next thing to happen."""
        now = time.monotonic()
        for seat in sorted(self._seats.values(), key=_can_wait):
            if not seat.pid and now >= seat.not_before and len(seat.doomed) <= DOOMED_MAX:
                self._unrecorded = self._fill(seat) or self._unrecorded
        if now >= self._next_ping:  # after filling: the first is answered as soon as all is warm
            self._next_ping = now + PING_S
            self._ping()
        if self._unrecorded:
            self._unrecorded = not self._record_places()
        due = [s.not_before for s in self._seats.values() if not s.pid and s.not_before > now]
        wait = max(0.0, min([self._next_ping, *due]) - time.monotonic())
        for fd, _ in self._poll.poll(wait * 1000):
            reader = self._readers.get(fd)
            if reader is not None:
                reader()

    # Filling

    def _fill(self, seat: Seat) -> bool:
        """Give an empty place a holder: a spare's, or a new process. False when there is none."""
        if seat.role.name != SPARE and seat.fills:
            for other in self._seats.values():
                if other.role.name == SPARE and other.pid:
                    become = Become(seat.name, seat.fills + 1, other.pid)
                    if self._wires[other.name].send(become):
                        self._hold(seat, other.pid, other.pidfd, other.started)
                        other.pid, other.pidfd = 0, -1
                        other.became = time.monotonic()
                        return True
        if self._heir(seat):
            seat.not_before = time.monotonic() + LOOK_S
            return False
        try:
            pid, pidfd = self._fork(seat)
        except OSError as error:
            seat.not_before = time.monotonic() + NO_ROOM_S
            if not seat.told_empty:
                seat.told_empty = True
                self._say("empty", place=seat.name, why=f"no room for a process: {error.strerror}")
            return False
        self._hold(seat, pid, pidfd, process.start_time(pid))
        return True

    def _heir(self, seat: Seat) -> bool:
        """Whether a spare has yet to read what it becomes: a successor would read it instead."""
        if seat.role.name != SPARE or time.monotonic() > seat.became + TAKE_S:
            return False
        return sockets.untaken(self._wires[seat.name].fileno()) > 0

    def _fork(self, seat: Seat) -> tuple[int, int]:
        """Return a new process that fills a place, and its pidfd. Raises OSError."""
        pid = os.fork()
        if pid == 0:
            self._be_child(seat)
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _hold(self, seat: Seat, pid: int, pidfd: int, started: int) -> None:
        seat.pid, seat.pidfd, seat.started = pid, pidfd, started
        seat.fills += 1
        seat.born = time.monotonic()
        seat.missed = 0
        seat.answered = seat.told_empty = False
        self._watch(pidfd, lambda: self._reap(seat, pidfd))
        if seat.fills > 1:
            self._say("filled", place=seat.name, fill=seat.fills)

    def _be_child(self, seat: Seat) -> NoReturn:
        """Be the new process, until its end: nothing of the supervisor's runs after this."""
        try:
            name, number = seat.name, seat.fills + 1
            keeps_lock = self._privileged and seat.role.root and seat.role.name != SPARE
            be_born(self._world, self._ranges, self._unlimited or keeps_lock)
            if seat.role.name == SPARE:
                setproctitle.setproctitle(f"panicdoor: {name} of {self._world.door.name}")
                become = spare.wait(name, self._world)
                name, number = become.place, become.fill
            fill(name, number, self._world, ENTRIES[ROLE_OF[name].entry])
        finally:
            os._exit(1)

    # Deaths

    def _reap(self, seat: Seat, pidfd: int) -> None:
        self._unwatch(pidfd)
        pid = seat.doomed.pop(pidfd, seat.pid)
        code = 0
        with contextlib.suppress(ChildProcessError):
            code = os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
        os.close(pidfd)
        if pidfd == seat.pidfd:
            self._vacate(seat, f"signal {-code}" if code < 0 else f"exit code {code}")
            if code in (0, -signal.SIGTERM):
                seat.not_before = max(seat.not_before, time.monotonic() + ASKED_S)

    def _vacate(self, seat: Seat, why: str) -> None:
        lived = time.monotonic() - seat.born
        seat.early_deaths = seat.early_deaths + 1 if lived < STORM_S else 0
        if seat.early_deaths:
            wait = BACKOFF_S[min(seat.early_deaths, len(BACKOFF_S)) - 1]
            seat.not_before = time.monotonic() + wait
        seat.pid, seat.pidfd = 0, -1
        if not self._stopping:
            self._say("lost", place=seat.name, why=why, lived=f"{lived:.1f} s")

    def _replace(self, seat: Seat, why: str) -> None:
        """Kill whoever holds a place and give the place to another, though the first may hang."""
        if not seat.pid:
            return
        os.kill(seat.pid, signal.SIGKILL)
        seat.doomed[seat.pidfd] = seat.pid
        self._vacate(seat, why)

    # Messages

    def _reader(self, wire: Wire) -> Callable[[], None]:
        def read() -> None:
            for message in wire.receive():
                self._heard(message, wire.peer)
            if wire.over:
                self._unwatch(wire.fileno())

        return read

    def _heard(self, message: Message, sender: str) -> None:
        """Act on a message; who sent it is known by the wire, never by what it says."""
        match message:
            case Pong(n) if 0 <= self._pings - n < MISSES:
                self._seats[sender].answered = True
                self._seats[sender].missed = 0
            case Replace(place, why) if place in RUNNERS:
                self._replace(self._seats[place], why)
            case _:
                pass

    def _ping(self) -> None:
        self._pings += 1
        for seat in self._seats.values():
            # A wire that its holder has shut is shut for every successor: no reason to end them.
            if seat.pinged and seat.pid and not self._wires[seat.name].over:
                seat.missed += 1
                patience = MISSES if seat.answered else BIRTH_MISSES
                if seat.missed > patience:
                    self._replace(seat, f"no answer to {patience} pings")
                else:
                    self._wires[seat.name].send(Ping(self._pings))

    def _say(self, kind: str, **fields: journal.Value) -> None:
        """Have something recorded. What the writer's wire has no room for is lost, but counted."""
        untold = {"untold": self._untold} if self._untold else {}
        text = journal.encode({**fields, **untold})
        told = self._wires["writer"].send(Write(0, self._epoch, kind, text))
        self._untold = 0 if told else self._untold + 1

    def _record_places(self) -> bool:
        holders = [
            Holder(seat.name, seat.pid, seat.started) for seat in self._seats.values() if seat.pid
        ]
        return self._wires["writer"].send(Places((self._me, *holders)))

    # The poll, signals and the end

    def _watch(self, fd: int, reader: Callable[[], None]) -> None:
        self._readers[fd] = reader
        self._poll.register(fd, select.POLLIN)

    def _unwatch(self, fd: int) -> None:
        if self._readers.pop(fd, None):
            self._poll.unregister(fd)

    def _catch_signals(self) -> socket.socket:
        reader, waker = socket.socketpair()
        reader.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup(1) has it ignored, so that a demo outlives the terminal: it stays so.
            ignored = signal.getsignal(number) == signal.SIG_IGN
            if number != signal.SIGHUP or self._reloads or not ignored:
                signal.signal(number, lambda *_: None)
        self._waker = waker

        def heed() -> None:
            caught = set(reader.recv(64))
            if caught - ({signal.SIGHUP} if self._reloads else set()):
                self._stopping = True
            elif caught and not self._wires["monitor"].send(Reload()):
                self._say("reload", error="the monitor does not answer")

        self._watch(reader.fileno(), heed)
        return reader

    def _stop(self) -> None:
        """End every role in the reverse order of ROLES, by force where it takes too long."""
        self._stopping = True
        for role in reversed(ROLES):
            seats = [self._seats[place] for place in places_of(role) if self._seats[place].pid]
            for seat in seats:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(seat.pidfd, signal.SIGTERM)
            self._await_end(seats, STOP_S)
            for seat in seats:
                if seat.pid:
                    os.kill(seat.pid, signal.SIGKILL)
            self._await_end(seats, STOP_S)
        signal.set_wakeup_fd(-1)
        self._waker.close()

    def _await_end(self, seats: list[Seat], seconds: float) -> None:
        until = time.monotonic() + seconds
        while any(seat.pid for seat in seats) and (left := until - time.monotonic()) > 0:
            for fd, _ in self._poll.poll(left * 1000):
                if fd in self._readers:
                    self._readers[fd]()


def _can_wait(seat: Seat) -> bool:
    """Whether others get the last spare first: above all, the door answers."""
    return seat.fills > 0 and not seat.role.listens
