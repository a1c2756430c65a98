"""The plain values behind the JSON."""

from tests.documentation.doors import WEB1

from panicdoor.commands.registry import COMMANDS
from panicdoor.documentation import data
from panicdoor.documentation.facts import Stock
from panicdoor.documentation.template import HOST, PORT


def test_address_and_port_are_blanks() -> None:
    door = data.door(Stock(WEB1, COMMANDS))
    assert (door["address"], door["port"]) == (HOST, PORT)
    assert door["elsewhere"] == WEB1.elsewhere


def test_arguments_are_named_as_they_are_typed() -> None:
    assert [a["name"] for a in data.command(COMMANDS["order"])["arguments"]] == ["name", "words"]
