"""A terminal inside an ssh session: greeting, prompt, completion, pages, and watches.

The line editor itself, with its history, is asyncssh's. What is printed here is printable ASCII,
but for the colour of the prompt, where the terminal has colours and nobody asked for none, and for
the screen that a watch draws anew, where the terminal is not dumb.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from panicdoor.commands.completion import complete
from panicdoor.commands.registry import COMMANDS, WATCH, WATCH_S, Here
from panicdoor.config import Door
from panicdoor.processes.clock import now_text
from panicdoor.processes.ssh_channel import DUMB

MORE: Final = "-- more: Space a page, Enter a line, a all, q enough --"
ENDLESS: Final = frozenset({"--follow", WATCH})  # answers that nobody wants to stop at a page
AHEAD_MAX: Final = 16 * 1024  # characters taken ahead at a page: whoever answers is then done
HELD_MAX: Final = 64 * 1024  # characters that wait at the end of a page: some parts at most
PAGED_MIN: Final = 3  # rows of a terminal; with fewer there is nothing to divide
COLOURS: Final = {"observe": "32", "recover": "33", "defend": "31"}
COLOURLESS: Final = DUMB | {"vt100", "vt102", "vt220"}

_CTRL_C, _CTRL_D, _CTRL_L, _CTRL_W, _TAB = "\x03", "\x04", "\x0c", "\x17", "\t"
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[m"  # the editor takes all up to an `m` for no text


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
        self._held = self._top = self._mark = ""
        self._words: tuple[str, ...] = ()
        self._pages = self._running = self._watching = self._whole = self.entering = False
        self._page = self._room = self._column = 0
        self._terminal, width, height = chan.screen()
        self._clears = self._terminal not in DUMB
        self.resize(width, height)
        self.know(who)
        # The line editor has most keys that people know; these it has not.
        chan.register_key(_TAB, self._complete)
        chan.register_key(_CTRL_W, _erase_word)
        chan.register_key(_CTRL_L, self._clear)

    def know(self, who: Who) -> None:
        """Show who that is from the next prompt on."""
        self._who = who
        chan = self._chan
        colour = COLOURS.get(who.level, "")
        plain = "NO_COLOR" in chan.get_environment() or self._terminal in COLOURLESS
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
        if who.level not in ("", "public"):
            lines.append("What is wrong with this host, on one screen: triage")
        if who.principal and who.level == "public":
            lines.append("No grant of this door lets you run more than the public commands here.")
        self._chan.write("\n".join([*lines, who.note]))
        self.prompt()

    def echo(self, line: str) -> None:
        """Show a line that was typed before its prompt was there."""
        self._chan.write(f"{line}\n")

    def prompt(self) -> None:
        """Ask for a line."""
        self._running = False
        self._chan.write(self._prompt)

    @property
    def keyed(self) -> bool:
        """Whether keys mean something by themselves, and are no line that is typed."""
        return self.paging or self._watching

    @property
    def full(self) -> bool:
        """Whether nothing more is to be asked for until there is another page."""
        return self.paging and len(self._held) >= AHEAD_MAX

    def begin(self, words: tuple[str, ...]) -> None:
        """A command is about to answer."""
        self._running = True
        self._words = words
        self._column = 0
        self._pages = self._height >= PAGED_MIN and ENDLESS.isdisjoint(words)
        self._turn(self._height - 1)

    def top(self) -> None:
        """A round of a watch begins."""
        if "--json" in self._words:
            return
        if not self._clears:
            self._chan.write(f"{self._foot()}\n")
            return
        if not self._watching:
            self._watching = True
            self._take_keys()
        self._held = ""
        self._column = 0
        self._turn(self._height - 1)
        self._whole = True
        self._top = f"{_CLEAR}{self._last_row(self._foot())}\x1b[H"

    def show(self, text: str) -> None:
        """Show a part of an answer, up to the end of the page."""
        self._held = (self._held + text)[-HELD_MAX:]
        self._flush()

    def finish(self) -> bool:
        """Ask for the next line; False while not everything has been shown."""
        if self.paging:
            return False
        if self._watching:
            self._leave_watch()
            self._chan.write(self._held)
            self._held = ""
        self.prompt()
        return True

    def interrupted(self) -> None:
        """The command has been ended, or the line that was typed given up."""
        self._held = ""
        if self.paging:
            self._leave_page()
        elif self._watching:
            self._leave_watch()
        else:
            self._chan.clear_input()
            self._chan.write("^C\n")
        self.prompt()

    def key(self, data: str) -> None:
        """Take what was typed at the end of a page, or at a watch."""
        for key in data:
            if not self.keyed:
                return  # typed behind the key that ended it
            if self.paging and key in (" ", "\r", "\n", "a"):
                self._pages = key != "a"
                self._turn(self._height - 1 if key == " " else 1)
                self._leave_page()
                self._flush()
                self._go_on()
            elif key in ("q", _CTRL_C, _CTRL_D):
                self._stop()

    def _flush(self) -> None:
        shown, self._top = self._top, ""
        while self._held and not self.paging:
            line, end, rest = self._held.partition("\n")
            if self._watching:
                line = line[: max(0, self._width - self._column)]
            column = self._column + len(line)
            rows = self._height_of(column) - (self._height_of(self._column) if self._column else 0)
            if self._stops(rows):
                break
            shown += line + end
            self._held = rest
            self._room -= rows
            self._column = 0 if end else column
        if shown:
            self._chan.write(shown)
        if self._watching and self._held and self._whole:
            self._whole = False
            self._chan.write(self._last_row(self._foot("more than fits; ")))
        elif self._held and not self.keyed:
            self._enter_page()

    def _height_of(self, columns: int) -> int:
        return 1 + max(0, columns - 1) // self._width

    def _stops(self, rows: int) -> bool:
        """Return whether a line of so many rows has no place on this page."""
        return rows > self._room and (self._watching or (self._pages and self._room < self._page))

    def _turn(self, rows: int) -> None:
        """Begin a page of so many rows; its first line is shown whole, however long."""
        self._page = self._room = rows

    def _foot(self, first: str = "") -> str:
        line = " ".join(self._words)
        return f"-- {first}Ctrl-C ends it; every {WATCH_S:.0f} s; {now_text()}; {line} --"

    def _last_row(self, text: str) -> str:
        return f"\x1b[{self._height};1H{text[: self._width - 1]}"

    def _take_keys(self) -> None:
        self.entering = True
        self._chan.set_line_mode(False)
        self._chan.clear_input()  # the line editor forgets what was typed, but not where it stood
        self.entering = False

    def _leave_watch(self) -> None:
        self._watching = False
        self._top = ""
        self._chan.set_line_mode(True)
        self._chan.write(f"{self._last_row('')}\n")

    def _enter_page(self) -> None:
        self.paging = True
        self._take_keys()
        self._mark = MORE[: self._width - 1]
        self._chan.write(self._mark)

    def _leave_page(self) -> None:
        count = len(self._mark)
        # Where the terminal has become narrower, it has broken that line, and nothing erases it.
        fits = count < self._width
        self._chan.write("\b" * count + " " * count + "\b" * count if fits else "\n")
        self.paging = False
        self._chan.set_line_mode(True)

    def _clear(self, line: str, position: int) -> Any:
        """Begin the screen anew, with the line that is being typed."""
        if self._running or not self._clears:
            return False
        self._chan.write(f"{_CLEAR}{self._prompt}")
        return line, position

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


def _erase_word(line: str, position: int) -> tuple[str, int]:
    """Return the line without the word before the cursor."""
    start = line[:position].rstrip(" ").rfind(" ") + 1
    return line[:start] + line[position:], start


def _rows(words: tuple[str, ...], width: int) -> str:
    """Return words in as many columns as fit."""
    cell = max(map(len, words)) + 2
    across = max(1, (width - 1) // cell)
    return "\n".join(
        "".join(word.ljust(cell) for word in words[at : at + across]).rstrip()
        for at in range(0, len(words), across)
    )
