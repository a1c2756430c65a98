"""A terminal of 80 columns and 24 lines, as a person sees it: nothing scrolls away."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.clients.programs import COLUMNS, ENVIRONMENT, ROWS, need
from tests.running import LOOPBACK, Door, wait_for


class Screen:
    """A terminal in a tmux of its own."""

    def __init__(self, socket: Path, *command: str) -> None:
        self._tmux = ("tmux", "-S", str(socket), "-f", "/dev/null")
        size = ("-x", str(COLUMNS), "-y", str(ROWS))
        self._run("new-session", "-d", *size, *command)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, check=True, env=ENVIRONMENT, timeout=10
        )
        return done.stdout.decode()

    def shown(self) -> list[str]:
        """Return the lines that can be seen now."""
        return self._run("capture-pane", "-p").split("\n")[:ROWS]

    def shows(self, text: str) -> bool:
        """Say whether a text can be seen now."""
        return text in "\n".join(self.shown())

    def type(self, line: str) -> None:
        """Type a line."""
        self._run("send-keys", line, "Enter")

    def end(self) -> None:
        """End it, and what runs in it."""
        self._run("kill-server")


@contextmanager
def screen(socket: Path, *command: str) -> Iterator[Screen]:
    need("tmux", command[0])
    made = Screen(socket, *command)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("program", ["telnet", "nc"])
def test_what_a_person_sees(house: Door, tmp_path: Path, program: str) -> None:
    with screen(tmp_path / "tmux", program, LOOPBACK, str(house.port)) as terminal:
        wait_for(lambda: terminal.shows("Door key SHA256:"))
        assert sum(bool(line) for line in terminal.shown()) < ROWS // 2
        for number, last in ((1, "more: doc 2"), (2, "back: doc")):
            terminal.type(f"doc {number}")
            wait_for(partial(terminal.shows, last))
            shown = terminal.shown()
            heading = next(i for i, line in enumerate(shown) if f"{number} of 2" in line)
            end = next(i for i, line in enumerate(shown) if line.endswith(last))
            assert shown[heading].startswith("PANICDOOR web1 ")
            assert heading < end < ROWS - 1
            assert not any(shown[end + 1 :])
        terminal.type("help")
        wait_for(lambda: terminal.shows("help NAME explains one of them."))
        assert terminal.shows("PUBLIC  (anyone, without a key)")
        terminal.type("nonsense")
        wait_for(lambda: terminal.shows("no command 'nonsense'; type: help"))
