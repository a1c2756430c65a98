"""The list of commands, and one in full."""

import json
import re
from dataclasses import replace

import pytest
from tests.documentation.doors import V4, WEB1, manual

from panicdoor.commands.authority import need
from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.config import Grant
from panicdoor.documentation.help import explain, level_line, level_listing, listing, takes
from panicdoor.documentation.layout import wrap
from panicdoor.documentation.manual import Manual
from panicdoor.errors import CommandError

KILL = replace(
    COMMANDS["order"],
    name="kill",
    level=Level.RECOVER,
    undo="none",
    makes_root=True,
    manual=("word " * 40, "  as   it\n  stands"),
)
ONE = Grant(to=("alice",), may=("recover",), networks=("198.51.100.0/24",))
TWO = Grant(to=("alice", "bob"), may=("kill",), signatures=2)


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
    for name, command in COMMANDS.items():
        level = "\n".join(wrap(f"{level_line(command)} {takes(need((), command))}".rstrip(), "  "))
        assert door.help(name) == explain(command, level=level)
        assert all(len(line) < 80 for line in level.split("\n"))


@pytest.mark.parametrize(
    ("grants", "said"),
    [
        ((), "Level recover: repair. No grant names it: nobody."),
        ((ONE,), "Level recover: repair. One signature, or typed in ssh by whoever a grant names."),
        ((TWO,), "Level recover: repair. Two signatures; not to be typed, even in ssh."),
        ((TWO, ONE), "Level recover: repair. One signature, or typed in ssh by whoever a"),
    ],
)
def test_how_many_must_sign_and_never_who(grants: tuple[Grant, ...], said: str) -> None:
    door = Manual(WEB1, {"kill": KILL})
    door.grant(grants)
    text = " ".join(door.help("kill").split())
    assert said in text
    found = json.loads(door.help_json("kill"))["needs"]
    assert found["signatures"] == min((g.signatures for g in grants), default=None)
    assert found["typed"] == (ONE in grants)
    everything = json.loads(door.json(V4))
    assert everything["commands"][0]["needs"] == found
    assert json.loads(door.help_json())["commands"][0]["needs"] == found
    assert json.loads(door.help_json("recover"))["commands"][0]["needs"] == found
    for secret in ("alice", "198.51"):
        assert secret not in text + door.json(V4) + door.help_json("kill")
