"""One door's manual: every form, and errors. What a form looks like is tested beside its module."""

import json
from dataclasses import replace

import pytest
from tests.documentation.doors import CHALLENGE, LONGEST, NOW, V4, V6, WEB1, manual

from panicdoor.commands import registry
from panicdoor.commands.registry import COMMANDS, Here
from panicdoor.documentation.data import ARGUMENT_KEYS, COMMAND_KEYS, DOOR_KEYS, FIELD_KEYS
from panicdoor.errors import CommandError


def test_it_is_what_commands_expect() -> None:
    expected: registry.Manual = manual()
    assert (expected.name, expected.fingerprint) == (WEB1.name, WEB1.fingerprint)


def test_screens_that_are_not_there() -> None:
    for n in (0, 3, -1, 10**17):
        with pytest.raises(CommandError, match="the manual has 2 screens: doc 1, doc 2"):
            manual().screen(n, V4, NOW, CHALLENGE)


def test_the_whole_is_every_screen() -> None:
    door = manual()
    for here in (V4, replace(V4, secure=True)):
        screens = [door.screen(n + 1, here, NOW, CHALLENGE) for n in range(door.screens)]
        assert door.whole(here, NOW, CHALLENGE) == "\n".join(screens)


def test_json() -> None:
    for facts in (WEB1, LONGEST):
        door = manual(facts)
        text = door.json(V6)
        assert text.isascii()
        assert text.endswith("}\n")
        found = json.loads(text)
        assert list(found) == ["door", "commands"]
        assert found["door"] == {
            "name": facts.name,
            "fleet": facts.fleet,
            "contact": facts.contact,
            "fingerprint": facts.fingerprint,
            "address": "2001:db8::10",
            "port": 903,
            "ways": ["http", "nc", "ssh", "telnet", "tls", "udp"],
            "elsewhere": facts.elsewhere,
            "version": "0.1.0",
        }
        assert json.loads(door.about_json(V6)) == {"door": found["door"]}
        assert json.loads(door.help_json()) == {"commands": found["commands"]}
        ping = json.loads(door.help_json("ping"))
        assert ping.pop("fields") == []
        assert ping in found["commands"]


def test_json_of_commands() -> None:
    commands = json.loads(manual().json(V4))["commands"]
    assert [c["name"] for c in commands] == list(COMMANDS)
    doc = next(c for c in commands if c["name"] == "doc")
    assert (doc["level"], doc["usage"]) == ("public", "doc [PAGE] [--json]")
    assert doc["arguments"][0] == {
        "name": "page",
        "kind": "int",
        "about": "which screen, counted from 1",
        "required": False,
        "default": 1,
        "rest": False,
        "option": False,
        "value": "",
    }


def test_what_is_in_the_json_of_a_command() -> None:
    told = json.loads(manual().help_json("clock"))["fields"]
    assert [tuple(field.values()) for field in told] == list(COMMANDS["clock"].fields)
    assert all(list(field) == [key for key, _ in FIELD_KEYS] for field in told)
    assert "  What is in the JSON: help clock --json\n" in manual().help("clock")
    assert "JSON" not in manual().help("ping")


def test_json_keys_are_the_documented_ones() -> None:
    found = json.loads(manual().json(V4))
    assert list(found["door"]) == [key for key, _ in DOOR_KEYS]
    for command in found["commands"]:
        assert list(command) == [key for key, _ in COMMAND_KEYS]
        for argument in command["arguments"]:
            assert list(argument) == [key for key, _ in ARGUMENT_KEYS]


def test_an_address_cannot_break_json() -> None:
    odd = Here('fe80::1%a"b\\', 903)
    assert json.loads(manual().json(odd))["door"]["address"] == odd.address


def test_unknown_names() -> None:
    for ask in (manual().help, manual().help_json):
        with pytest.raises(CommandError) as raised:
            ask("\x1b[2J" + "x" * 99)
        assert str(raised.value).startswith("no command '\\x1b[2J")
        assert len(str(raised.value)) < 80


def test_about_has_every_text_of_the_owner_whole() -> None:
    for facts in (WEB1, LONGEST):
        text = manual(facts).about(V4)
        values = [facts.name, facts.fleet, facts.fingerprint, *facts.elsewhere.values()]
        for value in (*values, "192.0.2.10 port 903"):
            assert value in text
        assert facts.contact in " ".join(text.split())
        assert all(len(line) <= 80 for line in text.split("\n"))
    assert "fleet" not in manual(replace(WEB1, fleet="")).about(V4)
