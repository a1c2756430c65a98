"""A terminal inside an ssh session: greeting, prompt, completion, and answers page by page.

The line editor itself, with its history, is asyncssh's. What is printed here is printable ASCII,
but for the colour of the prompt, where the terminal has colours and nobody asked for none.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from panicdoor.commands.completion import complete
from panicdoor.commands.registry import COMMANDS, Here
from panicdoor.config import Door

MORE: Final = "-- more: Space a page, Enter a line, a all, q enough --"
ENDLESS: Final = frozenset({"--follow", "--watch"})  # answers that nobody wants to stop at a page
HELD_MAX: Final = 64 * 1024  # characters that wait at the end of a page: some parts at most
PAGED_MIN: Final = 3  # rows of a terminal; with fewer there is nothing to divide
COLOURS: Final = {"observe": "32", "recover": "33", "defend": "31"}
COLOURLESS: Final = frozenset({"", "dumb", "vt100", "vt102", "vt220"})

_CTRL_C, _CTRL_D, _TAB = "\x03", "\x04", "\t"


class Who(Protocol):
    """Who has logged in, as far as it is shown."""

    @property
    def principal(self) -> str:
        """The name, "" for nobody in particular."""

    @property
    def level(self) -> str:
        """The highest level that may be typed."""

    @property
    def note(self) -> str:
        """What there is to say about that."""

    @property
    def peer(self) -> str:
        """Where from."""

    @property
    def here(self) -> Here:
        """The address reached."""


class Console:
    """What is on the screen."""

    def __init__(
        self, chan: Any, door: Door, who: Who, go_on: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        self.paging = False
        self._chan = chan
        self._door = door
        self._go_on = go_on
        self._stop = stop
        self._held = ""
        self._pages = self._running = self.entering = False
        self._room = 0
        width, height = chan.get_terminal_size()[:2]
        self.resize(width, height)
        self.know(who)
        chan.register_key(_TAB, self._complete)

    def know(self, who: Who) -> None:
        """Show who that is from the next prompt on."""
        self._who = who
        chan = self._chan
        colour = COLOURS.get(who.level, "")
        plain = "NO_COLOR" in chan.get_environment() or chan.get_terminal_type() in COLOURLESS
        name = f"{who.principal or 'stranger'}@{self._door.name}"
        level = who.level or "public"
        shown = level if plain or not colour else f"\x1b[{colour}m{level}\x1b[0m"
        self._prompt = f"{name} {shown}> "

    def resize(self, width: int, height: int) -> None:
        """The terminal has another size; 0 where it is not known."""
        self._width, self._height = width or 80, height or 24

    def greet(self) -> None:
        """Say where one is, and ask for the first line."""
        who = self._who
        lines = [
            f"panicdoor of {self._door.name}. You are {who.principal or 'a stranger'}"
            f" from {who.peer}: what you type here runs.",
            "help lists the commands, Tab completes, Ctrl-C ends a command, exit leaves.",
        ]
        if who.principal and who.level == "public":
            lines.append("No grant of this door lets you run more than the public commands here.")
        self._chan.write("\n".join([*lines, who.note]))
        self.prompt()

    def prompt(self) -> None:
        """Ask for a line."""
        self._running = False
        self._chan.write(self._prompt)

    def begin(self, words: tuple[str, ...]) -> None:
        """A command is about to answer."""
        self._running = True
        self._pages = self._height >= PAGED_MIN and ENDLESS.isdisjoint(words)
        self._room = self._height - 1

    def show(self, text: str) -> None:
        """Show a part of an answer, up to the end of the page."""
        self._held = (self._held + text)[-HELD_MAX:]
        self._flush()

    def finish(self) -> bool:
        """Ask for the next line; False while not everything has been shown."""
        if self.paging:
            return False
        self.prompt()
        return True

    def interrupted(self) -> None:
        """The command has been ended, or the line that was typed given up."""
        self._held = ""
        if self.paging:
            self._leave_page()
        else:
            self._chan.clear_input()
            self._chan.write("^C\n")
        self.prompt()

    def key(self, data: str) -> None:
        """Take what was typed at the end of a page."""
        for key in data:
            if not self.paging:
                return  # typed behind the key that ended it
            if key in (" ", "\r", "\n", "a"):
                self._pages = key != "a"
                self._room = self._height - 1 if key == " " else 1
                self._leave_page()
                self._flush()
                self._go_on()
            elif key in ("q", _CTRL_C, _CTRL_D):
                self._stop()

    def _flush(self) -> None:
        shown = ""
        while self._held and not self.paging:
            line, end, rest = self._held.partition("\n")
            rows = 1 + max(0, len(line) - 1) // self._width
            if self._pages and rows > self._room and self._room < self._height - 1:
                break
            shown += line + end
            self._held = rest
            self._room -= rows
        if shown:
            self._chan.write(shown)
        if self._held and not self.paging:
            self._enter_page()

    def _enter_page(self) -> None:
        self.paging = self.entering = True
        self._chan.set_line_mode(False)
        self.entering = False
        self._chan.write(MORE[: self._width - 1])

    def _leave_page(self) -> None:
        count = len(MORE[: self._width - 1])
        self._chan.write("\b" * count + " " * count + "\b" * count)
        self.paging = False
        self._chan.set_line_mode(True)

    def _complete(self, line: str, position: int) -> Any:
        """Add what is certain; show what is possible when that is nothing."""
        if self._running:
            return False
        done = complete(line, position, COMMANDS)
        if done.line == line and not done.choices:
            return False
        if done.line == line:
            shown = _rows(done.choices, self._width)
            self._chan.write(f"{line}\n{shown}\n{self._prompt}")
        return done.line, done.position


def _rows(words: tuple[str, ...], width: int) -> str:
    """Return words in as many columns as fit."""
    cell = max(map(len, words)) + 2
    across = max(1, (width - 1) // cell)
    return "\n".join(
        "".join(word.ljust(cell) for word in words[at : at + across]).rstrip()
        for at in range(0, len(words), across)
    )
