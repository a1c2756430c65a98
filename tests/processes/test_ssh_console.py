"""Tests of a console's screen: pages, greeting and prompt, on a terminal that only remembers."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from panicdoor.commands.registry import Here
from panicdoor.config import Door
from panicdoor.processes.ssh_console import MORE, Console

HERE = Here("192.0.2.10", 903)
DOOR = Door(name="web1", fleet="", contact="", listen=(), elsewhere={}, grants=())


@dataclass
class Screen:
    """A channel with a terminal of 80 columns and 10 rows."""

    size: tuple[int, int] = (80, 10)
    term: str = "xterm"
    environment: dict[str, str] = field(default_factory=dict)
    written: str = ""
    lines: bool = True
    keys: dict[str, Any] = field(default_factory=dict)

    def write(self, text: str) -> None:
        self.written += text

    def screen(self) -> tuple[str, int, int]:
        return (self.term, *self.size)

    def get_environment(self) -> dict[str, str]:
        return self.environment

    def register_key(self, key: str, handler: Any) -> None:
        self.keys[key] = handler

    def set_line_mode(self, lines: bool) -> None:
        self.lines = lines

    def clear_input(self) -> None:
        pass


@dataclass(frozen=True)
class Somebody:
    principal: str = "alice"
    level: str = "recover"
    note: str = ""
    peer: str = "192.0.2.7"
    here: Here = HERE


def console(screen: Screen, who: Somebody | None = None) -> tuple[Console, list[str]]:
    calls: list[str] = []
    made = Console(
        screen, DOOR, who or Somebody(), lambda: calls.append("on"), lambda: calls.append("stop")
    )
    return made, calls


def text(lines: int) -> str:
    return "".join(f"{n}\n" for n in range(1, lines + 1))


def test_what_fits_is_shown_at_once() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("doc",))
    made.show(text(9))
    assert screen.written == text(9)
    assert not made.paging
    assert made.finish()


def test_what_does_not_fit_waits_for_a_key() -> None:
    screen = Screen()
    made, calls = console(screen)
    made.begin(("doc",))
    made.show(text(30))
    assert screen.written == text(9) + MORE
    assert made.paging
    assert not screen.lines
    assert not made.finish()
    made.key("x")
    assert made.paging
    made.key(" ")
    assert screen.written.count("\n") == 18
    made.key("\r")
    assert screen.written.count("\n") == 19
    made.key("a")
    assert screen.written.count("\n") == 30
    assert (made.paging, screen.lines) == (False, True)
    assert calls == ["on"] * 3


@pytest.mark.parametrize("key", ["q", "\x03", "\x04"])
def test_enough(key: str) -> None:
    screen = Screen()
    made, calls = console(screen)
    made.begin(("doc",))
    made.show(text(30))
    made.key(key)
    assert calls == ["stop"]
    made.interrupted()
    assert (made.paging, screen.lines) == (False, True)
    assert "\n10\n" not in screen.written


def test_long_lines_have_several_rows() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("doc",))
    made.show(("x" * 161 + "\n") * 10)
    assert screen.written.count("\n") == 3


def test_a_line_that_is_larger_than_the_screen_goes_on() -> None:
    screen = Screen(size=(10, 3))
    made, _ = console(screen)
    made.begin(("doc",))
    made.show("x" * 500 + "\ny\n")
    assert made.paging
    made.key(" ")
    assert screen.written.endswith("y\n")


def test_a_smaller_terminal_from_the_next_page_on() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("doc",))
    made.show(text(40))
    made.resize(80, 5)
    made.key(" ")
    assert screen.written.count("\n") == 9 + 4


def test_what_follows_is_not_paged() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("kernel", "--follow"))
    made.show(text(100))
    assert screen.written == text(100)


@pytest.mark.parametrize(
    ("screen", "coloured"),
    [
        (Screen(), True),
        (Screen(term="dumb"), False),
        (Screen(term="vt100"), False),
        (Screen(environment={"NO_COLOR": "1"}), False),
    ],
)
def test_colours(screen: Screen, coloured: bool) -> None:
    made, _ = console(screen)
    made.prompt()
    assert ("\x1b[33m" in screen.written) is coloured


def test_the_greeting_says_who_and_why() -> None:
    screen = Screen(term="dumb")
    made, _ = console(screen, Somebody(level="observe", note="Observe only: because.\n"))
    made.greet()
    assert "You are alice from 192.0.2.7" in screen.written
    assert screen.written.endswith("Observe only: because.\nalice@web1 observe> ")
    assert all(len(line) < 80 for line in screen.written.split("\n"))


def test_completion_shows_what_is_possible() -> None:
    screen = Screen(term="dumb")
    made, _ = console(screen)
    assert screen.keys["\t"]("pin", 3) == ("ping ", 5)
    assert screen.keys["\t"]("", 0) == ("", 0)
    assert "about" in screen.written
    assert screen.written.endswith("alice@web1 recover> ")
    assert screen.keys["\t"]("nonesuch", 8) is False
    made.begin(("ping",))
    assert screen.keys["\t"]("pin", 3) is False
