"""`panicdoor serve DIR`: opens the door that a directory describes."""

import argparse
import sys
from pathlib import Path

from panicdoor.processes.place import World
from panicdoor.processes.supervisor import serve

_ABOUT = """\
Open the door that DIR describes, as `panicdoor init` made it, and keep it open
in the foreground. Everything is checked before anything is opened: what is
wrong is said in one line, and nothing is left half started.
"""

_MORE = """\
SIGTERM or Ctrl-C closes the door. Where NOTIFY_SOCKET is set, ready is
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
        print(f"panicdoor: note: {note}", file=sys.stderr)
    where = ", ".join(str(address) for address in world.door.listen)
    key = world.manual.fingerprint
    print(
        f"panicdoor: ready: {world.door.name} on {where}, tcp and udp, key {key}",
        file=sys.stderr,
        flush=True,
    )
