"""docs/panicdoor.8, as groff reads it."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.documentation.man import EXIT_CODES, man

SUBCOMMANDS = (
    ("serve DIR", "Be the door. It's a \\ test - with 'quotes'."),
    ("demo", ".Dot first"),
)
KILL = replace(
    COMMANDS["ping"],
    name="kill",
    level=Level.DEFEND,
    undo="thaw it",
    makes_root=True,
    manual=("'Quote first. And more", "    .code  here"),
)


def rendered(page: str) -> str:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    shown = subprocess.run(
        [groff, "-man", "-Tascii", "-P-cbou", "-ww"],
        input=page, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    return " ".join(shown.stdout.split())


def test_groff_shows_everything() -> None:
    text = rendered(man(SUBCOMMANDS, {**COMMANDS, "kill": KILL}))
    wanted = ["panicdoor serve DIR", *(about for _, about in SUBCOMMANDS)]
    for command in (*COMMANDS.values(), KILL):
        wanted += [command.usage, command.summary]
        wanted += [a.about for a in command.arguments]
    wanted += ["'Quote first. And more", ".code here", "Undo: thaw it", "can become root"]
    wanted += [f"{code} {meaning}" for code, meaning in EXIT_CODES]
    squeezed = text.replace(" ", "")
    for words in wanted:
        assert words.replace(" ", "") in squeezed, words


def test_sections() -> None:
    page = man(SUBCOMMANDS, COMMANDS)
    sections = [line for line in page.split("\n") if line.startswith(".SH")]
    assert sections[0] == ".SH NAME"
    assert ".SH SYNOPSIS" in sections
    assert ".SH EXIT STATUS" in sections
    assert ".SH FILES" in sections
