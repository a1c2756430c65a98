"""What an operator's ssh client does: one command, many sessions, and strangers at the same port.

One command is OpenSSH's own client, a process from its beginning to its end. Where the login is to
be apart, asyncssh holds the connection, in this process.
"""

import asyncio
import json
import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from bench.client import BUILD, HOST, SkippedError
from bench.doors import OPERATOR, Server, installed, make_key

OPTIONS = (
    "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
)  # fmt: skip
PATIENCE = 30  # s for one command
SAID_MAX = 300  # characters of a client's complaint that are told


@contextmanager
def key() -> Iterator[Path]:
    """Make a private key for a while."""
    with tempfile.TemporaryDirectory(prefix="panicdoor-bench-") as directory:
        file = Path(directory) / "key"
        make_key(file)
        yield file


def public(key: Path) -> Path:
    """Return the file of the public half of a key."""
    return key.with_suffix(".pub")


@dataclass(frozen=True, slots=True)
class Login:
    """Where to log in, as whom, and with which private key."""

    port: int
    user: str
    key: Path

    def command(self, *words: str) -> list[str]:
        """Return the command line of OpenSSH's client."""
        program, port = installed("ssh", "openssh-client"), str(self.port)
        return [program, *OPTIONS, "-i", str(self.key), "-p", port, f"{self.user}@{HOST}", *words]


def at_door(door: Server, key: Path) -> Login:
    """Return how the operator logs in at the door."""
    return Login(door.port, OPERATOR, key)


def at_sshd(sshd: Server, key: Path) -> Login:
    """Return how whoever runs this logs in at an sshd."""
    return Login(sshd.port, pwd.getpwuid(os.geteuid()).pw_name, key)


def run(login: Login, *words: str, patience: float = PATIENCE) -> float:
    """Return the ms that one command took, from the client's start to its end."""
    argv = login.command(*words)
    began = time.perf_counter()
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SkippedError(f"ssh {' '.join(words)} took {patience} s") from error
    took = time.perf_counter() - began
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-SAID_MAX:]
        raise SkippedError(f"ssh {' '.join(words)} ended with {done.returncode}: {said}")
    return took * 1000


class Session:
    """A connection that has logged in and stays, and commands inside it."""

    def __init__(self, login: Login, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection = loop.run_until_complete(
            asyncssh.connect(
                HOST,
                login.port,
                username=login.user,
                client_keys=[str(login.key)],
                known_hosts=None,
                config=None,
                agent_path=None,
            )
        )

    def run(self, *words: str) -> float:
        """Return the ms from the request for a command until its exit code."""
        began = time.perf_counter()
        done = self._loop.run_until_complete(
            self._connection.run(" ".join(words), timeout=PATIENCE)
        )
        took = time.perf_counter() - began
        if done.exit_status:
            raise SkippedError(f"{' '.join(words)} ended with {done.exit_status}: {done.stderr!r}")
        return took * 1000

    def type(self) -> None:
        """Open what a person would type into, and wait until it has said something."""

        async def opened() -> None:
            process = await self._connection.create_process(term_type="vt100")
            await asyncio.wait_for(process.stdout.read(1), PATIENCE)

        self._loop.run_until_complete(opened())

    def close(self) -> None:
        """Log out."""
        self._connection.abort()
        self._loop.run_until_complete(self._connection.wait_closed())


@contextmanager
def sessions(login: Login, count: int = 1) -> Iterator[list[Session]]:
    """Log in so often, one after another, and out in the end."""
    loop = asyncio.new_event_loop()
    held: list[Session] = []
    try:
        for _ in range(count):
            held.append(Session(login, loop))
        yield held
    except (OSError, asyncssh.Error, TimeoutError) as error:
        raise SkippedError(f"ssh as {login.user}: {error or type(error).__name__}") from error
    finally:
        for session in held:
            session.close()
        loop.close()


@contextmanager
def knockers(port: int, at_once: int, sources: int) -> Iterator[dict[str, float]]:
    """Have strangers keep an ssh server busy meanwhile; what they did is filled in in the end."""
    done: dict[str, float] = {}
    process = subprocess.Popen(
        [BUILD / "knockers", str(port), str(at_once), str(sources)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield done
    finally:
        said, _ = process.communicate()
        if process.returncode:
            raise SkippedError("the strangers did not come: see above")
        done |= json.loads(said)


@contextmanager
def sleepers(count: int) -> Iterator[None]:
    """Have so many processes more on this machine meanwhile."""
    process = subprocess.Popen(
        [BUILD / "sleepers", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        made = int(process.stdout.readline() or b"0")
        if made < count:
            raise SkippedError(f"the kernel made {made:,} of {count:,} processes")
        yield
    finally:
        process.communicate()
