"""The writer: the only process that writes to a disk, so that only it can hang on one.

It appends the monitor's and the supervisor's entries to the journal, tells the monitor when one
stands on disk, says to standard error what an installer wants to read there, and keeps the list of
who holds which place. Nothing waits for it:

- while it hangs, its wires are its queue; when they are full their senders drop what they have to
  say, count it, and say how many entries are `missed` once there is room again;
- while the disk fails, entries wait here, WAITING_MAX of them, and are tried again in their order;
  what comes beyond them is dropped, and counted as `missed` in an entry after them;
- what would not be one line of the journal is dropped and counted in the same way.

An entry is told to the monitor as written when fdatasync(2) has said so, not before, and in the
journal it has the time at which it was taken. A line that was cut is written again, at its place.
"""

import contextlib
import errno
import os
import select
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from panicdoor.kernel import libc, process
from panicdoor.messages import Places, Write, Written
from panicdoor.printable import escape_line
from panicdoor.processes.opening import JOURNAL_RESERVE, PLACES_SIZE
from panicdoor.processes.place import Place
from panicdoor.records import journal

# Kinds of entries that are said to standard error, too.
TOLD: Final = frozenset({"lost", "filled", "empty", "bug", "damaged", "missed", "reload"})
WAITING_MAX: Final = 256  # entries that wait for the disk: 1 MiB at the most
LINGER_S: Final = 0.3  # seconds without a word after which nobody has anything left to say
RETRY_S: Final = 1.0  # seconds until a disk that failed is tried again
TAIL_MAX: Final = 1 << 20  # bytes at the end of a journal in which its last entry is looked for
SAY_MAX: Final = select.PIPE_BUF  # bytes that a pipe with room takes at once


def run(place: Place) -> None:
    """Be the writer."""
    writer = Writer(place, Disk(place.world.holdings.files["journal"]))
    place.on(Write, writer.write)
    place.on(Places, writer.places)
    place.give_up_rights()
    place.serve(last=writer.drain)


class Disk:
    """The open journal as a file. Everything may raise OSError, or never return."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def size(self) -> int:
        """Return how many bytes it has."""
        return os.fstat(self._fd).st_size

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`."""
        data = os.pread(self._fd, end - start, start)
        if len(data) < end - start:
            raise OSError(errno.EIO, "the file is shorter than it was")
        return data

    def write(self, data: bytes, at: int) -> None:
        """Put bytes on the disk at `at`; returns when they are there."""
        if os.pwrite(self._fd, data, at) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(self._fd)

    def cut(self, size: int) -> None:
        """Drop what is beyond `size`, and with it the space reserved there."""
        os.ftruncate(self._fd, size)

    def reserve(self, size: int) -> None:
        """Have the file system keep room up to `size`, without a change of the file's own."""
        libc.fallocate_keep_size(self._fd, size)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry to be written, and the message that asked for it, if the monitor did."""

    time: str
    kind: str
    fields: str
    message: Write | None = None


class Writer:
    """The journal's end, and what waits to be written there."""

    def __init__(self, place: Place, disk: Disk) -> None:
        files = place.world.holdings.files
        self._place = place
        self._disk = disk
        self._places, self._stderr = files["places"], files["stderr"]
        self._boot = process.boot_id()
        self._last: journal.Entry | None = None
        self._end = -1  # until it has been found
        self._reserved = 0
        self._waiting: deque[Waiting] = deque()
        self._missed = 0
        self._failing = False
        self._flush()

    def write(self, message: Write, sender: str) -> None:
        """Append an entry; the monitor is told when it stands on disk, and not told otherwise."""
        self._tell(message.kind, message.fields)
        if len(self._waiting) < WAITING_MAX:
            asked = message if sender == "monitor" else None
            self._waiting.append(Waiting(_now(), message.kind, message.fields, asked))
        else:
            self._missed += 1
        if not self._failing:
            self._flush()

    def places(self, message: Places, _: str) -> None:
        """Write down who holds which place, over what was written before: no block is needed."""
        lines = [self._boot, *(f"{h.place} {h.pid} {h.started}" for h in message.holders), ""]
        text = "\n".join(lines).ljust(PLACES_SIZE - 1) + "\n"
        try:
            os.pwrite(self._places, text.encode("ascii", "replace")[:PLACES_SIZE], 0)
        except OSError as error:
            self._say(f"the list of places is not written: {error.strerror}")

    def drain(self) -> None:
        """Write what still comes, at the end, until all have been quiet for LINGER_S.

        Where a whole group is told to end, the writer hears of it no later than those who have
        something to say about it.
        """
        poll = select.poll()
        wires = {wire.fileno(): (peer, wire) for peer, wire in self._place.wires.items()}
        for fd in wires:
            poll.register(fd, select.POLLIN)
        while ready := poll.poll(LINGER_S * 1000):
            for fd, _ in ready:
                peer, wire = wires[fd]
                for message in wire.receive():
                    if isinstance(message, Write):
                        self.write(message, peer)
                if wire.over:
                    poll.unregister(fd)
        self._flush()

    def _flush(self) -> None:
        """Write what waits, in its order; while the disk fails, come back to it."""
        try:
            if self._end < 0:
                self._find_end()
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting.popleft()
            if self._missed:
                missed, self._missed = self._missed, 0
                self._add("missed", entries=missed)
                self._append(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            if not self._failing:
                self._say(f"journal not written, entries wait: {error.strerror}")
            self._failing = True
            self._place.loop.call_later(RETRY_S, self._flush)
        else:
            if self._failing:
                self._say("journal written again")
            self._failing = False

    def _append(self, waiting: Waiting) -> None:
        try:
            entry = journal.following(self._last, waiting.time, waiting.kind, waiting.fields)
        except ValueError:
            self._missed += 1
            return
        data = entry.line + b"\n"
        self._disk.write(data, self._end)
        self._last = entry
        self._end += len(data)
        self._reserve()
        if waiting.message is not None:
            asked = waiting.message
            self._place.tell("monitor", Written(asked.id, asked.epoch, entry.n, entry.hash))

    def _find_end(self) -> None:
        """Find what the next entry follows, and mend what is wrong after it."""
        size = self._disk.size()
        length = 2 * journal.LINE_MAX
        found = None
        while found is None:
            if length > TAIL_MAX:
                raise OSError(errno.EUCLEAN, f"no entry in its last {TAIL_MAX} bytes; move it away")
            start = max(0, size - length)
            found = journal.end_of(self._disk.read(start, size), start == 0)
            length *= 2
        if found.unfinished:
            self._disk.cut(size - found.unfinished)
        self._last, self._end = found.last, size - found.unfinished
        self._reserve()
        wrong = {"junk": found.junk, "lost": found.unfinished}
        if any(wrong.values()):
            self._add("damaged", **{what: n for what, n in wrong.items() if n})

    def _reserve(self) -> None:
        """Keep room ahead, so that a full disk still records."""
        if self._end + JOURNAL_RESERVE // 2 > self._reserved:
            self._reserved = self._end + JOURNAL_RESERVE
            with contextlib.suppress(OSError):  # full, or a file system that cannot
                self._disk.reserve(self._reserved)

    def _add(self, kind: str, **fields: journal.Value) -> None:
        """Put an entry of our own before all that waits."""
        text = journal.encode(fields)
        self._waiting.appendleft(Waiting(_now(), kind, text))
        self._tell(kind, text)

    def _tell(self, kind: str, fields: str) -> None:
        if kind in TOLD:
            self._say(f"{kind}: {fields}")

    def _say(self, text: str) -> None:
        """Say a line to standard error, unless it is a pipe that nobody empties."""
        line = escape_line(f"panicdoor: {text}")[: SAY_MAX - 1] + "\n"
        poll = select.poll()
        poll.register(self._stderr, select.POLLOUT)
        try:
            if poll.poll(0):
                os.write(self._stderr, line.encode("ascii"))
        except OSError:
            return  # nobody reads it any more


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
