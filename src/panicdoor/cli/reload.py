"""`panicdoor reload DIR`: has an open door read its policy anew, and says what the door says to it.

The files are checked here first, by the same code, so that what is wrong is said before anybody is
asked. What counts is the door's own verdict, an entry in its journal.
"""

import argparse
import signal
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from panicdoor.errors import CommandError
from panicdoor.kernel import process
from panicdoor.printable import escape_line
from panicdoor.processes.directory import JOURNAL, holders, read_policy
from panicdoor.records import journal
from panicdoor.roles import SUPERVISOR

VERDICT_S: Final = 25.0  # seconds: ten until a worker is free, ten until one that hangs is lost
LOOK_S: Final = 0.05  # seconds between two looks at the journal

_ABOUT = """\
Have the door that is open on DIR read door.toml and allowed_signers anew. What
is right takes effect at once and as a whole; where anything is wrong, it is
said with its file and its key or line, and the door goes on as before.
"""

_MORE = """\
Sessions whose grant or key is gone are ended. The name, the fleet, the contact,
the addresses and the other ways take a restart, which is said. The same is done
by SIGHUP to the supervisor, and recorded in the journal.

exit codes: 0 the door has taken it, 1 it has not, no door is open on DIR or
nobody answered, 2 a file in DIR is wrong: nothing was asked of the door

example:
  panicdoor reload /etc/panicdoor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument("dir", metavar="DIR", type=Path, help="the directory of the door")


def run(arguments: argparse.Namespace) -> int:
    """Check, ask, and say what came of it. Raises ConfigError, CommandError."""
    read_policy(arguments.dir)
    print(said(ask(arguments.dir)))
    return 0


def ask(directory: Path) -> dict[str, Any]:
    """Have the door read its policy; return the entry that says what holds from now on.

    Raises CommandError where no door is open, it refused, or nobody answered in VERDICT_S.
    """
    at = _size(directory / JOURNAL)
    signal_supervisor(directory)
    verdict = _verdict(directory / JOURNAL, at)
    if verdict is None:
        raise CommandError(
            f"the door was asked, and has recorded nothing in {VERDICT_S:.0f} seconds;"
            " its policy may be the old one"
        )
    if "error" in verdict:
        raise CommandError(f"the door goes on as before: {verdict['error']}")
    return verdict


def signal_supervisor(directory: Path) -> None:
    """Send SIGHUP to the supervisor of the door that is open. Raises CommandError."""
    found = next((holder for holder in holders(directory) if holder.place == SUPERVISOR), None)
    try:
        if found is None or not process.tell(found.pid, found.started, signal.SIGHUP):
            raise CommandError(
                f"no supervisor of a door on {directory}; panicdoor serve starts one"
            )
    except PermissionError:
        raise CommandError(f"the door on {directory} is another user's") from None


def said(verdict: dict[str, Any]) -> str:
    """Return what an entry of a reload that took effect means, in a few lines."""
    lines = [f"policy {verdict.get('policy')} of this door holds from now on"]
    if fixed := verdict.get("restart"):
        lines.append(f"{', '.join(fixed)}: takes a restart, and is as before until then")
    if ended := verdict.get("ended"):
        lines.append(f"sessions ended: {ended}, of {verdict.get('of')}")
    lines += [f"note: allowed_signers: {line}" for line in verdict.get("skipped", ())]
    lines += [f"note: {note}" for note in verdict.get("notes", ())]
    return "\n".join(map(escape_line, lines))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0  # the directory was read-only, and the journal is in the door's memory


def _verdict(file: Path, start: int) -> dict[str, Any] | None:
    """Return the first entry of a reload after `start`; None where none comes in time."""
    give_up = time.monotonic() + VERDICT_S
    while time.monotonic() < give_up:
        try:
            with file.open("rb") as lines:
                lines.seek(start)
                new = lines.read()
        except OSError:
            new = b""
        for line in new.split(b"\n")[:-1]:
            entry = journal.parse(line)
            _, _, _, kind, fields = line.split(b" ", 4) if entry else (b"",) * 5
            if kind == b"reload":
                return msgspec.json.decode(fields, type=dict[str, Any])
        time.sleep(LOOK_S)
    return None
