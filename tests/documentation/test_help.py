"""The list of commands, and one in full."""

from dataclasses import replace

from tests.documentation.doors import manual

from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.documentation.help import explain, listing

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
    assert "  kill NAME [WORDS...]" in recover
    for command in COMMANDS.values():
        under = {Level.PUBLIC: public, Level.OBSERVE: observe}[command.level]
        assert f"  {command.brief:<22} " in under
        assert command.summary in under
    assert "DEFEND" not in text
    assert all(len(line) < 80 for line in text.split("\n"))


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
