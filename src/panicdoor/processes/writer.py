"""The writer: the only process that writes to a disk, so that only it can hang on one.

It appends the monitor's and the supervisor's entries to the journal, tells the monitor when one
stands on disk, says to standard error what an installer wants to read there, and keeps the list of
who holds which place. Its queue is its wires: when it hangs they fill, and senders go on without.
"""

import os
import time
from typing import Final

from panicdoor.kernel import process
from panicdoor.messages import Places, Write, Written
from panicdoor.processes.opening import PLACES_SIZE
from panicdoor.processes.place import Place
from panicdoor.records import journal

TOLD: Final = frozenset({"lost", "filled", "empty", "bug", "damaged"})  # kinds also said on stderr


def run(place: Place) -> None:
    """Be the writer."""
    writer = Writer(place)
    place.on(Write, writer.write)
    place.on(Places, writer.places)
    place.give_up_rights()
    place.serve()
    writer.drain()


class Writer:
    """The open journal and its last entry."""

    def __init__(self, place: Place) -> None:
        files = place.world.holdings.files
        self._place = place
        self._journal, self._places, self._stderr = (
            files["journal"],
            files["places"],
            files["stderr"],
        )
        self._boot = process.boot_id()
        size = os.fstat(self._journal).st_size
        tail = os.pread(self._journal, journal.LINE_MAX, max(0, size - journal.LINE_MAX))
        self._last, unfinished = journal.last(tail)
        self._end = size - unfinished
        if unfinished:
            self._append("damaged", f'{{"lost":{unfinished}}}')

    def write(self, message: Write, sender: str) -> None:
        """Append an entry; the monitor is told when it stands on disk, and not told otherwise."""
        if self._append(message.kind, message.fields) and sender == "monitor" and self._last:
            done = Written(message.id, message.epoch, self._last.n, self._last.hash)
            self._place.tell(sender, done)
        if message.kind in TOLD:
            self._say(f"panicdoor: {message.kind}: {message.fields}\n")

    def places(self, message: Places, _: str) -> None:
        """Write down who holds which place, over what was written before: no block is needed."""
        lines = [self._boot, *(f"{h.place} {h.pid} {h.started}" for h in message.holders), ""]
        text = "\n".join(lines).ljust(PLACES_SIZE - 1) + "\n"
        try:
            os.pwrite(self._places, text.encode("ascii"), 0)
        except OSError as error:
            self._say(f"panicdoor: the list of places is not written: {error.strerror}\n")

    def drain(self) -> None:
        """Write what still waits, at the end."""
        for peer, wire in self._place.wires.items():
            for message in wire.receive():
                if isinstance(message, Write):
                    self.write(message, peer)

    def _append(self, kind: str, fields: str) -> bool:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = journal.following(self._last, now, kind, fields)
        data = entry.line + b"\n"
        try:
            if os.pwrite(self._journal, data, self._end) != len(data):
                raise OSError(28, "no space left")  # the rest of a line would not fit either
            os.fdatasync(self._journal)
        except OSError as error:
            self._say(f"panicdoor: journal not written: {error.strerror}: {kind} {fields}\n")
            return False
        self._last = entry
        self._end += len(data)
        return True

    def _say(self, text: str) -> None:
        try:
            os.write(self._stderr, text.encode("ascii", "replace"))
        except OSError:
            return  # nobody reads it any more
