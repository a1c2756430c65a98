"""What anyone may ask. The commands run on a real manual."""

import json
from dataclasses import replace

import pytest
from tests.documentation.doors import CHALLENGE, FINGERPRINT, LONGEST, NOW, V4, WEB1, manual

from panicdoor.commands.registry import COMMANDS, Context, Level, Where, call
from panicdoor.documentation.facts import WAYS
from panicdoor.documentation.manual import Manual
from panicdoor.errors import CommandError
from panicdoor.messages import PART_MAX
from panicdoor.words import parse


def answer(line: str, context: Context | None = None) -> str:
    here = context or Context(manual(), V4, NOW, lambda: CHALLENGE)
    found = list(call(here, parse(line)))
    assert all(len(part) <= PART_MAX for part in found)
    text = "".join(found)
    assert text.isascii()
    assert text.endswith("\n")
    return text


NO_CHALLENGE = Context(manual(), V4, NOW, lambda: "")


def test_who_answers_what() -> None:
    assert {c.name: c.where for c in COMMANDS.values() if c.level is Level.PUBLIC} == {
        "help": Where.FRONTEND,
        "doc": Where.FRONTEND,
        "about": Where.FRONTEND,
        "ping": Where.MONITOR,
        "challenge": Where.MONITOR,
        "order": Where.FRONTEND,
    }


def test_help() -> None:
    assert answer("help") == manual().help()
    assert answer("help doc") == manual().help("doc")
    assert json.loads(answer("help --json"))["commands"][0]["name"] == "help"
    assert json.loads(answer("help doc --json"))["name"] == "doc"
    with pytest.raises(CommandError, match="no command 'nothing'; type: help"):
        answer("help nothing")


def test_doc() -> None:
    assert answer("doc") == answer("doc 1") == manual().screen(1, V4, NOW, CHALLENGE)
    assert answer("doc 2") == manual().screen(2, V4, NOW, CHALLENGE)
    assert answer("doc --json") == manual().json(V4)
    with pytest.raises(CommandError, match="2 screens"):
        answer("doc 3")


def test_about() -> None:
    assert answer("about") == manual().about(V4)
    assert json.loads(answer("about --json"))["door"]["name"] == "web1"


def test_ping() -> None:
    assert answer("ping") == f"pong from web1, {NOW}\n"


def test_challenge() -> None:
    assert answer("challenge") == f"{CHALLENGE}\n"
    assert json.loads(answer("challenge --json")) == {"challenge": CHALLENGE}
    with pytest.raises(CommandError, match="ask again in a moment"):
        answer("challenge", NO_CHALLENGE)


BLANKS = f"""
panicdoor order 1
door: web1 {FINGERPRINT}
fresh: challenge {CHALLENGE}
by: YOU
do: %s
why: WHY, TICKET
"""


def test_order_fills_in_the_blanks_and_says_that_nothing_was_run() -> None:
    text = answer("order   ping")
    assert text.startswith("Nothing was run: this is only the text")
    assert text.endswith(BLANKS % "ping")
    assert "does not take orders yet" in text
    assert "would refuse" not in text


def test_order_keeps_words_as_they_are() -> None:
    text = answer("order freeze 'user name' -9 --dry-run")
    assert text.endswith(BLANKS % "freeze 'user name' -9 --dry-run")
    assert "would refuse it: no command 'freeze'; type: help." in text
    assert "would refuse it: 'x' is one word too many" in answer("order ping x")


def test_order_without_a_challenge_says_where_one_comes_from() -> None:
    text = answer("order ping", NO_CHALLENGE)
    assert "fresh: challenge GET-ONE-WITH-THE-COMMAND-challenge\n" in text


def test_order_on_a_door_that_takes_orders() -> None:
    able = Manual(WEB1, COMMANDS, WAYS | {"order"})
    text = answer("order ping", Context(able, V4, NOW, lambda: CHALLENGE))
    assert "does not take orders" not in text


def test_order_lines_are_short_enough_to_be_signed() -> None:
    long = manual(replace(LONGEST, contact=""))
    text = answer(f"order x{'y' * 155}", Context(long, V4, NOW, lambda: CHALLENGE))
    order = text.partition("panicdoor order 1")[2]
    assert max(map(len, order.split("\n"))) == 160
    with pytest.raises(CommandError, match="160 characters"):
        answer(f"order x{'y' * 156}")
    with pytest.raises(CommandError, match="NAME is missing"):
        answer("order")
