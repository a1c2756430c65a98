"""The list of commands, and one in full."""

import json
import re
from dataclasses import replace

import pytest
from tests.documentation.doors import manual

from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.documentation.help import explain, level_listing, listing
from panicdoor.errors import CommandError

KILL = replace(
    COMMANDS["order"],
    name="kill",
    level=Level.RECOVER,
    undo="none",
    makes_root=True,
    manual=("word " * 40, "  as   it\n  stands"),
)


def test_the_list_has_every_command_under_its_level() -> None:
    text = listing([KILL, *COMMANDS.values()])
    rest, _, recover = text.partition("RECOVER  (repair)\n")
    public, _, observe = rest.partition("OBSERVE  (look, change nothing)\n")
    assert public.startswith("PUBLIC  (anyone, without a key)\n")
    assert recover.startswith("  kill\n")
    for command in COMMANDS.values():
        if command.level is Level.PUBLIC:
            assert re.search(rf"  {re.escape(command.brief)} +{command.summary}\n", public)
        else:
            assert command.name in observe.split()
    assert "DEFEND" not in text
    end = "help NAME explains one of them. help observe lists those. help recover lists those."
    assert " ".join(text.split()).endswith(end)
    assert all(len(line) < 80 for line in text.split("\n"))
    assert text.count("\n") < 20  # it is read on a terminal that does not scroll


def test_a_level_has_a_line_for_each_command() -> None:
    door = manual()
    here = [c for c in COMMANDS.values() if c.level is Level.OBSERVE]
    text = door.help("observe")
    assert text == level_listing(Level.OBSERVE, here)
    for command in here:
        assert command.brief in text
        assert command.summary in text
    named = json.loads(door.help_json("observe"))["commands"]
    assert [command["name"] for command in named] == [command.name for command in here]
    with pytest.raises(CommandError):
        door.help("defend")  # a door without such commands


def test_one_command_in_full() -> None:
    text = explain(KILL)
    for words in (
        "kill NAME [WORDS...]\n",
        f"  {KILL.summary}\n",
        "Level recover: repair.",
        "Undo: none",
        "can become root",
        "    as   it\n    stands\n",
        "  NAME      the command that the order is to run\n",
        "    > order ping\n    Nothing was run...\n",
    ):
        assert words in text
    assert all(len(line) < 80 for line in text.split("\n"))
    assert "> order" not in explain(KILL, examples=False)


def test_the_manual_has_all_of_them_ready() -> None:
    door = manual()
    assert door.help() == listing(COMMANDS.values())
    assert {name: door.help(name) for name in COMMANDS} == {
        name: explain(command) for name, command in COMMANDS.items()
    }
