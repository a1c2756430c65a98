"""Tests of a console's screen: pages, greeting and prompt, on a terminal that only remembers."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from panicdoor.commands.registry import Here
from panicdoor.config import Door
from panicdoor.processes.ssh_channel import DUMB
from panicdoor.processes.ssh_console import AHEAD_MAX, MORE, Console

HERE = Here("192.0.2.10", 903)
DOOR = Door(name="web1", fleet="", contact="", listen=(), elsewhere={}, grants=())
PROMPT = "alice@web1 \x1b[33mrecover\x1b[0m> "


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


def test_enter_shows_a_line_whole_however_many_rows_it_has() -> None:
    screen = Screen(size=(10, 5))
    made, _ = console(screen)
    made.begin(("doc",))
    made.show(text(4) + "x" * 25 + "\ny\nz\n")
    made.key("\r")
    assert screen.written.count("x") == 25
    assert "y" not in screen.written.partition("x")[2]
    made.key("\r")
    assert screen.written.partition("x")[2].count("y") == 1


def test_a_line_that_comes_in_pieces_takes_the_rows_that_it_has() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("changes",))
    for _ in range(15):
        made.show("x" * 20)
    made.show("\n" + text(4))
    assert not made.paging  # 300 columns are four rows of 80
    made.show("y" * 20)
    assert not made.paging
    made.show("z" * 61)
    assert made.paging


def test_the_next_parts_are_taken_ahead_while_a_page_is_read() -> None:
    made, _ = console(Screen())
    made.begin(("doc",))
    made.show(text(30))
    assert (made.paging, made.full) == (True, False)
    made.show("x" * AHEAD_MAX)
    assert made.full
    made.key("a")
    assert not made.full


def test_what_a_narrower_terminal_has_broken_is_not_erased() -> None:
    screen = Screen()
    made, _ = console(screen)
    made.begin(("doc",))
    made.show(text(30))
    made.resize(40, 10)
    made.key(" ")
    assert f"{MORE}\n10\n" in screen.written
    assert len(screen.written.rpartition("\n")[2]) < 40


# Watches


def watching(screen: Screen, *more: str) -> tuple[Console, list[str]]:
    made, calls = console(screen)
    made.begin(("memory", "--watch", *more))
    return made, calls


def test_each_round_of_a_watch_draws_the_screen_anew() -> None:
    screen = Screen()
    made, _ = watching(screen)
    assert not made.keyed  # nothing has come yet: what is typed is a line
    for _ in range(2):
        screen.written = ""
        made.top()
        made.show("one\n")
        made.show("two\n")
        clear, foot, rows = screen.written.partition("\x1b[10;1H")[0], *_foot(screen)
        assert clear == "\x1b[H\x1b[2J\x1b[m"
        assert foot.startswith("-- Ctrl-C ends it; every 2 s; 20")
        assert foot.endswith(" UTC; memory --watch --")
        assert rows == "one\ntwo\n"
    assert (screen.lines, made.keyed, made.paging) == (False, True, False)


def _foot(screen: Screen) -> tuple[str, str]:
    foot, _, rows = screen.written.partition("\x1b[10;1H")[2].partition("\x1b[H")
    return foot, rows


def test_a_watch_is_cut_to_the_screen_and_says_so() -> None:
    screen = Screen()
    made, _ = watching(screen)
    for _ in range(2):
        screen.written = ""
        made.top()
        made.show("x" * 100 + "\n" + text(20))
        made.show(text(20))
        assert _foot(screen)[1].startswith(
            "x" * 80 + "\n" + text(8) + "\x1b[10;1H-- more than fits; C"
        )
        assert screen.written.count("\n") == 9
        assert screen.written.count("more than fits") == 1
    made.resize(30, 5)
    screen.written = ""
    made.top()
    made.show(text(20))
    assert "\x1b[5;1H-- Ctrl-C ends it; every 2 s;\x1b[H" in screen.written
    assert text(4) + "\x1b[5;1H-- more" in screen.written


@pytest.mark.parametrize("key", ["q", "\x03", "\x04"])
def test_a_key_ends_a_watch(key: str) -> None:
    screen = Screen()
    made, calls = watching(screen)
    made.top()
    made.show(text(20))
    made.key(f"x a{key}")
    assert calls == ["stop"]
    made.interrupted()
    assert (screen.lines, made.keyed) == (True, False)
    assert screen.written.endswith("\x1b[10;1H\n" + PROMPT)


def test_a_watch_that_ends_by_itself_shows_what_was_cut() -> None:
    screen = Screen()
    made, _ = watching(screen)
    made.top()
    made.show(text(11))
    made.show("the observer did not answer\n")
    assert made.finish()
    assert screen.written.endswith("\x1b[10;1H\n10\n11\nthe observer did not answer\n" + PROMPT)
    assert screen.lines


def test_a_watch_that_is_refused_is_an_answer_like_others() -> None:
    screen = Screen()
    made, _ = watching(screen)
    made.show("refused\n")
    assert made.finish()
    assert screen.written == "refused\n" + PROMPT


@pytest.mark.parametrize("term", sorted(DUMB))
def test_a_dumb_terminal_sees_one_round_after_another(term: str) -> None:
    screen = Screen(term=term)
    made, _ = watching(screen)
    for _ in range(2):
        made.top()
        made.show(text(20))
    assert screen.written.count("-- Ctrl-C ends it") == 2
    assert screen.written.count("\n20\n") == 2
    assert "\x1b" not in screen.written
    assert not made.keyed


def test_a_watch_in_json_is_json_and_nothing_else() -> None:
    screen = Screen()
    made, _ = watching(screen, "--json")
    made.top()
    made.show("{}\n")
    assert screen.written == "{}\n"


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
    assert "on one screen: triage\n" in screen.written
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


def test_triage_is_named_to_those_who_may_run_it() -> None:
    screen = Screen()
    made, _ = console(screen, Somebody(level="public"))
    made.greet()
    assert "triage" not in screen.written


@pytest.mark.parametrize(
    ("line", "position", "left", "at"),
    [
        ("help pi", 7, "help ", 5),
        ("help pi  ", 9, "help ", 5),
        ("help", 4, "", 0),
        ("help ping now", 9, "help  now", 5),
        ("help", 0, "help", 0),
        ("", 0, "", 0),
    ],
)
def test_ctrl_w_erases_a_word(line: str, position: int, left: str, at: int) -> None:
    screen = Screen()
    console(screen)
    assert screen.keys["\x17"](line, position) == (left, at)


def test_ctrl_l_begins_the_screen_anew() -> None:
    screen = Screen()
    made, _ = console(screen)
    assert screen.keys["\x0c"]("help pi", 4) == ("help pi", 4)
    assert screen.written == "\x1b[H\x1b[2J\x1b[m" + PROMPT
    made.begin(("ping",))
    assert screen.keys["\x0c"]("", 0) is False
    dumb = Screen(term="dumb")
    console(dumb)
    assert dumb.keys["\x0c"]("", 0) is False
    assert dumb.written == ""
