"""`panicdoor serve DIR`: opens the door that a directory describes."""

from panicdoor.processes import libraries  # noqa: F401 - before anybody else imports them

# isort: split
import argparse
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Final

from panicdoor.processes.place import World
from panicdoor.processes.supervisor import serve

_STDERR: Final = 2  # by its number: Python may have found it closed

_ABOUT = """\
Open the door that DIR describes, as `panicdoor init` made it, and keep it open
in the foreground. Everything is checked before anything is opened: what is
wrong is said in one line, and nothing is left half started.
"""

_MORE = """\
SIGTERM or Ctrl-C closes the door; SIGHUP, or panicdoor reload DIR, has it read
its policy anew. Where NOTIFY_SOCKET is set, ready is
announced there, as systemd expects of Type=notify.

exit codes: 0 closed as asked, 1 failed, 2 a file in DIR is wrong, an address
cannot be listened on, or this door is open already

example:
  panicdoor serve /etc/panicdoor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument("dir", metavar="DIR", type=Path, help="the directory of the door")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to end."""
    return serve(arguments.dir, ready=_ready)


def _ready(world: World, notes: tuple[str, ...]) -> None:
    """Say to the installer, once, what is open and what this door cannot do."""
    for note in notes:
        _say(f"note: {note}")
    where = ", ".join(str(address) for address in world.door.listen)
    key = world.manual.fingerprint
    _say(f"ready: {world.door.name} on {where}, tcp and udp, key {key}")


def _say(text: str) -> None:
    """Say a line, unless nobody empties the pipe or it is broken: the door opens all the same."""
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    with suppress(OSError):
        if poll.poll(0):
            os.write(_STDERR, f"panicdoor: {text}\n".encode("ascii", "replace"))
