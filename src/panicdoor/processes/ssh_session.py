"""One session inside an ssh connection: a command, a console, or lines from a pipe.

An answer comes part by part, and the next part is asked for when the client has taken the last:
a reader that is slow, or has stopped at a page, costs nobody anything.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import asyncssh

from panicdoor import words as grammar
from panicdoor.commands.registry import Here
from panicdoor.config import Door
from panicdoor.errors import CommandError
from panicdoor.processes.clock import now_text
from panicdoor.processes.desk import Asked, Desk, Prepared
from panicdoor.processes.ssh_console import Console
from panicdoor.protocols.base import Part, Request

LINES_MAX: Final = 64  # lines that wait while a command runs; what is pasted beyond is dropped
LINE_MAX: Final = 1024  # characters of a line, as the grammar has it
BUFFER_MAX: Final = 16 * 1024  # bytes written and not yet sent, beyond which nothing more is asked

NO_FILES: Final = (
    "panicdoor: no files are copied here. The door runs its own commands; `help` lists them.\n"
)
COPIERS: Final = frozenset({"scp", "sftp", "rsync", "/usr/lib/openssh/sftp-server"})


@dataclass(frozen=True, slots=True)
class Login:
    """Who is at the other end. `token` is "" for nobody in particular."""

    principal: str
    level: str
    token: str
    note: str
    peer: str
    here: Here


class Kind(Enum):
    """What a session is for."""

    NOTHING = "nothing yet"
    COMMAND = "one command"
    CONSOLE = "a terminal"
    LINES = "lines from a pipe"
    REFUSED = "what is not there"


class Host(Protocol):
    """What a session needs of the process it lives in."""

    desk: Desk
    door: Door
    loop: asyncio.SelectorEventLoop


class Channel(asyncssh.SSHServerSession[str]):
    """A session."""

    def __init__(self, host: Host, login: Login, gone: Callable[["Channel"], None]) -> None:
        self.choked = False
        self._host = host
        self._login = login
        self._gone = gone
        self._chan: Any = None
        self._kind = Kind.NOTHING
        self._command = ""
        self._terminal = False
        self._console: Console | None = None
        self._asked: Asked | Prepared | None = None
        self._busy = self._ready = self._full = self._ended = False
        self._pumping = self._taking = self._at_prompt = False
        self._input = ""
        self._words: tuple[str, ...] = ()
        self._lines: deque[str] = deque()
        self._code = 0

    # What asyncssh tells

    def connection_made(self, chan: Any) -> None:
        """The channel is open."""
        self._chan = chan
        chan.set_write_buffer_limits(BUFFER_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel has ended: nobody waits any more."""
        self._ended = True
        self._drop()
        self._gone(self)

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """A terminal it is, if it has a name."""
        self._terminal = bool(term_type)
        return self._terminal

    def shell_requested(self) -> bool:
        """A console, or lines."""
        self._kind = Kind.CONSOLE if self._terminal else Kind.LINES
        return True

    def exec_requested(self, command: str) -> bool:
        """One command."""
        self._kind, self._command = Kind.COMMAND, command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """There is none; but a sentence says more than a refusal."""
        self._kind = Kind.REFUSED
        return True

    def session_started(self) -> None:
        """Begin."""
        if self._kind is Kind.REFUSED:
            self._leave(1, NO_FILES)
        elif self._kind is Kind.COMMAND:
            if self._terminal:
                self._chan.set_echo(False)
            self._run(self._command)
        elif self._kind is Kind.CONSOLE:
            self._console = Console(
                self._chan, self._host.door, self._login, self.go_on, self._stop
            )
            self._console.greet()
        elif self._login.note:
            self.remark(self._login.note)

    def data_received(self, data: str, datatype: Any) -> None:
        """Take what was typed: whole lines from a terminal, any cut from a pipe."""
        if self._console is not None and self._console.keyed:
            if not self._console.entering:  # else it was typed before the page was full
                self._soon(lambda: self._key(data))
            return
        if self._kind not in (Kind.CONSOLE, Kind.LINES):
            return
        if not self._lines:
            self._at_prompt = not self._busy
        *lines, self._input = (self._input + data).split("\n")
        if self._kind is Kind.CONSOLE:
            del lines[max(0, LINES_MAX - len(self._lines)) :]
        self._lines.extend(lines)
        if len(self._input) > LINE_MAX:
            self._leave(2, f"panicdoor: a line may have {LINE_MAX} characters\n")
            return
        self._soon(self._next_line)

    def eof_received(self) -> bool:
        """Nothing more is typed: finish what there is."""
        if self._kind in (Kind.CONSOLE, Kind.LINES):
            self._lines += [self._input, "exit"]
            self._input = ""
            self._soon(self._next_line)
        return True

    def soft_eof_received(self) -> None:
        """Ctrl-D at an empty line."""
        if not self._busy:
            self._at_prompt = True
            self._lines.append("exit")
            self._write("exit\n")
            self._soon(self._next_line)

    def break_received(self, msec: int) -> bool:
        """Ctrl-C: the running command ends, and nothing else."""
        self._soon(self._stop)
        return True

    def signal_received(self, signal: str) -> None:
        """The same, from a client that sends signals."""
        if signal in ("INT", "TERM", "HUP", "QUIT"):
            self._soon(self._stop)

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Another size from the next page on; the editor knows by itself."""
        if self._console is not None:
            self._console.resize(*self._chan.screen()[1:])

    def pause_writing(self) -> None:
        """The client's window is full."""
        self._full = True

    def resume_writing(self) -> None:
        """The client has taken some."""
        self._full = False
        self.go_on()

    def choke(self, choked: bool) -> None:
        """The same, of the whole connection."""
        self.choked = choked
        self.go_on()

    def remark(self, text: str) -> None:
        """Say something beside the answer."""
        if self._chan is not None and not self._ended:
            self._write(text, beside=not self._terminal)

    def regrade(self, login: Login) -> None:
        """Go on as somebody who may type other levels."""
        self._login = login
        if self._console is not None:
            self._console.know(login)

    def expel(self, text: str) -> None:
        """Say why, and end."""
        if self._terminal:
            text = f"\n{text}"
        self._leave(1, text)

    def _write(self, text: str, beside: bool = False) -> None:
        if beside:
            self._chan.write_stderr(text)
        else:
            self._chan.write(text)

    def _soon(self, act: Callable[[], None]) -> None:
        """Do it when the line editor has written what it has to: it does not look after that."""

        def later() -> None:
            if not self._ended:
                act()

        self._host.loop.call_soon(later)

    # Running

    def _next_line(self) -> None:
        """Run the lines that wait, one after another."""
        if self._taking:
            return
        self._taking = True
        try:
            while self._lines and not self._busy and not self._ended:
                line = self._lines.popleft().strip(" \t\r")
                if self._console is not None and not self._at_prompt:
                    self._console.echo(line)
                self._at_prompt = False
                if line in ("exit", "quit", "logout"):
                    self._leave(self._code)
                elif line and not line.startswith("#"):
                    self._run(line)
                elif self._console is not None:
                    self._console.prompt()
        finally:
            self._taking = False
        if self._kind is Kind.LINES and not self._ended:
            # What cannot be run yet waits at the client.
            if self._busy:
                self._chan.pause_reading()
            else:
                self._chan.resume_reading()

    def _run(self, line: str) -> None:
        """Ask for what a line says."""
        self._busy = True
        try:
            words = grammar.parse(line)
            if words and words[0] in COPIERS:
                self._deliver(Part(NO_FILES, end=True, code=1))
                return
            if not words:
                raise CommandError("nothing to do; try: help")
        except CommandError as error:
            self._deliver(Part(f"{error}\n", end=True, code=2))
            return
        if self._console is not None:
            self._console.begin(words)
        login = self._login
        self._ready, self._words = True, words
        self._asked = self._host.desk.ask(
            Request(words), login.here, "ssh", login.peer, "", self._deliver, login.token
        )
        self.go_on()

    def go_on(self) -> None:
        """Ask for the next part, if there is one and the client has room for it."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._asked is not None and self._ready and not self._waits():
                self._ready = False
                self._asked.more()
        finally:
            self._pumping = False
        if self._busy and self._asked is None and not self._ended and not self._waits():
            self._done()

    def _waits(self) -> bool:
        held = self._console is not None and self._console.full
        return self._full or self.choked or held

    def _deliver(self, part: Part) -> None:
        """Take a part from the desk."""
        if self._ended:
            return
        if part.end:
            self._asked = None
            self._code = part.code
        self._ready = True
        if part.top:
            self._top()
        if self._console is not None:
            self._console.show(part.text)
        elif part.text:
            self._write(part.text, beside=bool(part.end and part.code) and not self._terminal)
        self.go_on()

    def _top(self) -> None:
        """A round of a watch begins."""
        if self._console is not None:
            self._console.top()
        elif "--json" not in self._words:
            self._write(f"-- {now_text()}; {' '.join(self._words)} --\n")

    def _key(self, data: str) -> None:
        if self._console is not None:
            self._console.key(data)

    def _done(self) -> None:
        """An answer is complete, and shown."""
        if self._kind is Kind.COMMAND:
            note = self._login.note if self._code == 1 else ""
            self._leave(self._code, note)
        elif self._console is None or self._console.finish():
            self._busy = False
            self._next_line()

    def _stop(self) -> None:
        """End the running command; what was typed ahead is forgotten."""
        self._lines.clear()
        self._drop()
        self._busy = False
        if self._kind is Kind.COMMAND:
            self._leave(1)
        elif self._console is not None:
            self._console.interrupted()

    def _drop(self) -> None:
        asked, self._asked = self._asked, None
        self._ready = False
        if asked is not None:
            asked.cancel()

    def _leave(self, code: int, text: str = "") -> None:
        if self._ended:
            return
        if text:
            self.remark(text)
        self._drop()
        self._ended = True
        with contextlib.suppress(OSError):
            self._chan.exit(code)
