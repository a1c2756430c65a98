"""The generated pages are current, and the examples in docstrings do what they show."""

import argparse
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from tests.documentation.doors import CHALLENGE, NOW, V4, manual

import panicdoor.cli
import panicdoor.commands
from panicdoor.cli import docs
from panicdoor.commands.registry import COMMANDS, Context, Level, call
from panicdoor.words import parse

PAGES = Path(__file__).parent.parent / "docs"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    docs.add_arguments(parser)
    return docs.run(parser.parse_args(words))


def test_pages_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(PAGES), "--check") == 0, capsys.readouterr().err


def test_check_finds_what_is_not_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path / "new"), "--check") == 1
    assert not (tmp_path / "new").exists()
    assert run(str(tmp_path / "new")) == 0
    assert run(str(tmp_path / "new"), "--check") == 0
    page = tmp_path / "new" / "panicdoor.8"
    page.write_text(page.read_text() + "more\n")
    capsys.readouterr()
    assert run(str(tmp_path / "new"), "--check") == 1
    assert capsys.readouterr().err == f"{page} is not current; run: panicdoor docs\n"


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(str(tmp_path / "file" / "docs")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_every_file_of_commands_is_in_the_pages() -> None:
    known = set(COMMANDS)
    for module in pkgutil.iter_modules(panicdoor.commands.__path__):
        importlib.import_module(f"panicdoor.commands.{module.name}")
    assert set(COMMANDS) == known, "commands/__init__.py does not import them all"


def test_every_subcommand_is_in_the_manual_page() -> None:
    named = {usage.split(" ")[0] for usage, _ in docs.SUBCOMMANDS}
    for module in pkgutil.iter_modules(panicdoor.cli.__path__):
        text = (Path(panicdoor.cli.__path__[0]) / f"{module.name}.py").read_text()
        if re.search("^def add_arguments", text, re.MULTILINE):
            assert module.name.replace("_", "-") in named


def test_every_command_has_an_example() -> None:
    assert [c.name for c in COMMANDS.values() if not c.examples] == []


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (example.line, example.output)
        for command in COMMANDS.values()
        if command.level is Level.PUBLIC
        for example in command.examples
    ],
)
def test_examples(line: str, output: str) -> None:
    context = Context(manual(), V4, NOW, lambda: CHALLENGE)
    printed = "".join(call(context, parse(line))).strip("\n")
    pattern = ".*".join(map(re.escape, output.split("...")))
    assert re.fullmatch(pattern, printed, re.DOTALL), printed
