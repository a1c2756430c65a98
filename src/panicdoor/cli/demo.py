"""`panicdoor demo`: a door to play with, which leaves nothing behind.

Rules:
- the process that becomes the supervisor never sees a secret: what it has read once, everything
  forked from it would inherit, so the keys are made by a child that ends at once;
- only the process that made the directory removes it, however it ends.
"""

from panicdoor.processes import libraries  # noqa: F401 - before anybody else imports them

# isort: split
import argparse
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from panicdoor.cli.init import make_door, program
from panicdoor.config import PORT_MAX, Address
from panicdoor.errors import CommandError
from panicdoor.keys import generate_identity, parse_public_key
from panicdoor.printable import escape_line
from panicdoor.processes.supervisor import serve

PORT: Final = 9903  # above 1023, where nobody needs to be root
LINE_MAX: Final = 40  # columns of a line to copy that leave room for what is said about it
WIDTH: Final = 80  # columns of the usual terminal
OPERATOR: Final = "you"  # whose key the door knows

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ABOUT = """\
Open a throwaway door on this machine's loopback addresses, tcp and udp, and
say what to type to try it. It needs no root, no other machine can reach it, and
its keys are made for this one run: the door's, and one of an operator, with
which ssh is let in to look.
"""

# With this file ssh asks no question, and leaves nothing in the files of who tries it.
_SSH_CONFIG = """\
Host demo
    HostName 127.0.0.1
    Port {port}
    User {user}
    HostKeyAlias demo
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {hosts}
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
"""

_MORE = """\
Ctrl-C ends it and removes everything it made.

exit codes: 0 ended as asked, 1 failed, 2 the port cannot be listened on

example:
  panicdoor demo --port 9904
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which arguments there are."""
    parser.description = _ABOUT
    parser.epilog = _MORE
    parser.add_argument(
        "--port",
        type=_port,
        default=PORT,
        metavar="N",
        help=f"the port, tcp and udp, 1 to {PORT_MAX} (default: {PORT})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve a new door until told to end, then remove it."""
    port: int = arguments.port
    hosts = ["127.0.0.1", *(["::1"] if _has_ipv6() else [])]
    owner = os.getpid()
    for number in _ENDS[1:]:
        signal.signal(number, _end)
    directory = Path(tempfile.mkdtemp(prefix="panicdoor-demo-"))
    try:
        _make(directory, tuple(Address(host, port) for host in hosts))
        return serve(
            directory,
            ready=lambda _, notes: print(welcome(port, notes, program(), directory), flush=True),
            demo=True,
        )
    finally:
        if os.getpid() == owner:
            for number in _ENDS:
                signal.signal(number, signal.SIG_IGN)
            shutil.rmtree(directory)


def welcome(port: int, notes: Iterable[str], start: str, directory: Path) -> str:
    """Return what a newcomer is told: lines to copy, and what this door cannot do (`notes`).

    `start` is how this program is started, as `init.program` says it.
    """
    ssh = f"ssh -F {shlex.quote(str(directory / 'ssh_config'))} demo"
    lines = (
        (f"{ssh} triage", "what is wrong?"),
        (ssh, "a console"),
        (f"nc 127.0.0.1 {port}", "wait for the greeting, type: help"),
        (f"telnet 127.0.0.1 {port}", "the same"),
        (f"http://127.0.0.1:{port}/", "in a browser"),
        (f"https://127.0.0.1:{port}/", "with its own certificate: a warning"),
        (f"{start} ask 127.0.0.1:{port}", "the manual, by datagrams"),
    )
    limits = "".join(f"Here {note}.\n" for note in notes)
    first = max(len(line) for line, _ in lines[:2])
    left = max(len(line) for line, _ in lines[2:] if len(line) <= LINE_MAX)
    rows = [_row(line, first if line.startswith(ssh) else left, about) for line, about in lines]
    what = "\n".join(rows)
    return f"""\
panicdoor demo: a throwaway emergency door on this machine. In another terminal:

{what}

{limits}Ctrl-C removes everything."""


def _row(line: str, left: int, about: str) -> str:
    """Return a line to copy, and beside it what it is for, where a terminal has room for that."""
    row = f"  {line:{left}}  {about}"
    return row if len(row) <= WIDTH else f"  {line}"


def _port(text: str) -> int:
    """Return the port number in `text`."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"expected a port, 1 to {PORT_MAX}, got {text!r}")
    return int(text)


def _has_ipv6() -> bool:
    """Return whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _end(number: int, _frame: FrameType | None) -> None:
    """End by way of every `finally` until the supervisor has its own way to end."""
    raise SystemExit(128 + number)


def _make(directory: Path, listen: tuple[Address, ...]) -> None:
    """Make the door in a child of its own, which takes what it knew of the keys with it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            private, public = generate_identity(f"panicdoor demo {OPERATOR}")
            key = parse_public_key(public, OPERATOR)
            make_door(directory, name="demo", listen=listen, signers=[(OPERATOR, key)])
            _make_ssh(directory, private, listen[0].port)
            code = 0
        except Exception as wrong:
            said = escape_line(str(wrong) or type(wrong).__name__)
            print(f"panicdoor: {said}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        # Nothing may write into the directory any more when it is removed.
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise
    if status:
        raise CommandError("the demo's door could not be made")


def _make_ssh(directory: Path, private: bytes, port: int) -> None:
    """Write what ssh needs to come in: the operator's key, and which host key to expect."""
    key, hosts = directory / OPERATOR, directory / "known_hosts"
    key.touch(mode=0o600)
    key.write_bytes(private)
    hosts.write_text(f"demo {(directory / 'identity.pub').read_text('ascii')}", "ascii")
    config = _SSH_CONFIG.format(port=port, user=OPERATOR, key=f'"{key}"', hosts=f'"{hosts}"')
    (directory / "ssh_config").write_text(config, "utf-8")
