"""What stands in a door's directory, read and checked: in one way at start, on reload, at the desk.

Whoever reads here may wait for a disk: no frontend, no monitor, and no supervisor once it serves.
"""

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

from panicdoor.commands.registry import COMMANDS
from panicdoor.config import FILE_MAX, check_commands, check_principals, parse
from panicdoor.errors import ConfigError
from panicdoor.kernel import process
from panicdoor.messages import Holder
from panicdoor.orders import signers
from panicdoor.processes.policy_memory import Document

SECRETS: Final = {"identity": "identity", "tls": "tls.pem"}  # role's word: file in the directory
POLICY: Final = "door.toml"  # who may do what, and where the door is
POLICY_MAX: Final = 4 * FILE_MAX + 1  # bytes of FILE_MAX characters in UTF-8, and one too many
SIGNERS: Final = "allowed_signers"  # who there is
JOURNAL: Final = "journal"
PLACES: Final = "places"  # who holds which place, and who is the supervisor
OURS: Final = "panicdoor: "  # how the titles of all processes of a door begin

_HOLDER: Final = re.compile(r"(\S+) ([0-9]{1,9}) ([0-9]{1,19})")  # a line of the list of places


def read_policy(directory: Path) -> Document:
    """Return what the directory says of who may do what.

    Raises ConfigError: one line with the file, and the key or line that is wrong.
    """
    check_owner(directory)
    listed = _signers(directory / SIGNERS)
    people = signers.parse(listed, str(directory / SIGNERS))
    file = directory / POLICY
    try:
        text = _read(file, POLICY_MAX).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
        raise ConfigError(f"{file}: {reason}") from error
    door = parse(text, str(file))
    check_commands(door, COMMANDS, str(file))
    check_principals(door, people.named, str(file))
    return Document(door, listed)


def check_owner(directory: Path) -> None:
    """Refuse what somebody else could have written, as sshd does (sshd_config(5), StrictModes).

    Raises ConfigError.
    """
    names = (POLICY, SIGNERS, *SECRETS.values())
    for file in (directory, *(directory / name for name in names)):
        try:
            status = file.stat()
        except OSError:
            continue  # whoever needs it says what is wrong
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"{file}: belongs to another user; expected root or who serves it")
        # Of the secrets it is said at start that others may not even read them.
        if file.name not in SECRETS.values() and stat.S_IMODE(status.st_mode) & 0o022:
            raise ConfigError(f"{file}: others may write to it; expected: chmod go-w {file}")


def holders(directory: Path) -> list[Holder]:
    """Return who holds which place, as the writer wrote it since this boot.

    It was written by a process without rights, and we may be root: only those are returned that
    call themselves one of ours, which nobody can make another process do.
    """
    try:
        lines = (directory / PLACES).read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
    if lines[0].strip() != process.boot_id():
        return []
    found = [
        Holder(line[1], int(line[2]), int(line[3]))
        for line in filter(None, map(_HOLDER.fullmatch, lines[1:]))
    ]
    return [holder for holder in found if process.name(holder.pid).startswith(OURS)]


def _signers(file: Path) -> bytes:
    """Return the list of who there is; a door without it knows nobody."""
    try:
        return _read(file, signers.FILE_MAX + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


def _read(file: Path, most: int) -> bytes:
    """Return a file, or its first `most` bytes. Raises OSError, also where it is no regular file.

    A pipe would never end, or keep a worker waiting until it is replaced.
    """
    with open(file, "rb", opener=_open_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        return opened.read(most)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
