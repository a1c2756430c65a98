"""Running the programs that people knock with: once, in a pipe, or in a terminal of their own.

Nothing here waits for a fixed time. What a program writes is waited for; what must stay silent is
given as long as the door's own deadlines say.
"""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = Path(sys.executable).with_name("panicdoor")
PATH: Final = f"{PROGRAM.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
ENVIRONMENT: Final = {**os.environ, "PATH": PATH, "LC_ALL": "C", "TERM": "vt100"}
SECONDS: Final = 10.0  # for whatever happens at once on a machine that is not busy
ROWS, COLUMNS = 24, 80
NOBODY: Final = 65534


def need(*programs: str) -> None:
    """Skip the test where one of these programs is not installed."""
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is not installed")


def run(
    *command: str, data: bytes = b"", seconds: float = SECONDS
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, with `data` as all of its input."""
    need(command[0])
    return subprocess.run(
        command, input=data, capture_output=True, timeout=seconds, check=False, env=ENVIRONMENT
    )


def shell(line: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[bytes]:
    """Run a line as it was printed, in bash."""
    return run("bash", "-c", line, seconds=seconds)


def as_nobody(scratch: Path) -> tuple[str, ...]:
    """Return what to put before a command so that the user nobody runs it; for root only.

    Where the interpreter or the project is in a directory that is closed to others, as /root is,
    the command sees an open one in its place, with nothing else in it. `scratch` is for the mounts.
    """
    need("setpriv", "unshare")
    steps: dict[str, None] = {}
    later: list[str] = []
    for number, path in enumerate(sorted({sys.base_prefix, sys.prefix, os.getcwd()})):
        closed = [p for p in (Path(path), *Path(path).parents) if not p.stat().st_mode & 1]
        if closed:
            real, copy = shlex.quote(path), shlex.quote(f"{scratch}/{number}")
            steps[f"mkdir -p {copy} && mount --bind {real} {copy}"] = None
            later.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(closed[-1]))}")
            later.append(f"mkdir -p {real} && mount --bind {copy} {real}")
    script = " && ".join([*steps, *sorted(set(later), reverse=True), 'exec "$@"'])
    become = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return ("unshare", "--mount", "sh", "-c", script, "sh", "setpriv", *become)


class Conversation:
    """A program at work: what it wrote so far is `seen`, with line ends as LF."""

    def __init__(self, process: subprocess.Popen[bytes], reads: int, writes: int) -> None:
        self.process = process
        self.seen = ""
        self._reads = reads
        self._writes = writes
        self._taken = 0

    def type(self, line: str) -> None:
        """Type a line."""
        self.send(f"{line}\n".encode())

    def send(self, data: bytes) -> None:
        """Type these bytes."""
        os.write(self._writes, data)

    def until(self, text: str, seconds: float = SECONDS) -> str:
        """Return what is written, after what `until` returned before, up to and with `text`."""
        give_up = time.monotonic() + seconds
        while (at := self.seen.find(text, self._taken)) < 0:
            left = give_up - time.monotonic()
            if left <= 0 or not self._read(left):
                pytest.fail(f"no {text!r} in {self.seen[self._taken :]!r}")
        end = at + len(text)
        new, self._taken = self.seen[self._taken : end], end
        return new

    def end(self, seconds: float = SECONDS) -> str:
        """Wait until the program has ended by itself, and return the rest of what it wrote."""
        give_up = time.monotonic() + seconds
        while self._read(max(0.0, give_up - time.monotonic())):
            pass
        try:
            self.process.wait(max(0.1, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not end; it wrote {self.seen[-200:]!r}")
        new, self._taken = self.seen[self._taken :], len(self.seen)
        return new

    def _read(self, seconds: float) -> bool:
        if not select.select([self._reads], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._reads, 65536)
        except OSError:  # how a terminal ends when its last program has
            return False
        self.seen += data.decode("latin-1").replace("\r", "")
        return bool(data)


@contextmanager
def terminal(*command: str) -> Iterator[Conversation]:
    """A program in a terminal of its own, 80x24, without echo; killed at the end."""
    need(command[0], "setsid")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT
    ) as process:
        os.close(theirs)
        try:
            yield Conversation(process, ours, ours)
        finally:
            _kill(process)
            os.close(ours)


@contextmanager
def piped(*command: str, errors: bool = False) -> Iterator[Conversation]:
    """A program between two pipes, with its standard error in the one it writes if `errors`."""
    need(command[0])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Conversation(process, process.stdout.fileno(), process.stdin.fileno())
        finally:
            _kill(process)
            with suppress(BrokenPipeError):
                process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
