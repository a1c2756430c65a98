"""Tests of grants: what no grant allows is refused."""

import pytest

from panicdoor.commands.registry import COMMANDS, Command, Level
from panicdoor.config import Door, parse
from panicdoor.judge.policy import Policy, Speaker

PING = COMMANDS["ping"]


def look(level: Level, name: str = "look") -> Command:
    command = COMMANDS["ping"]
    fields = {f: getattr(command, f) for f in command.__slots__}
    return Command(**{**fields, "name": name, "level": level})


def door(*grants: str) -> Door:
    tables = "\n".join(f"[[grant]]\n{grant}" for grant in grants)
    return parse(f'name = "web1"\n{tables}\n', "door.toml")


def policy(*grants: str) -> Policy:
    return Policy(door(*grants).grants)


def who(name: str = "alice", address: str = "192.0.2.7", cap: Level = Level.DEFEND) -> Speaker:
    return Speaker(name, address, cap)


ALL = 'to = ["alice"]\nmay = ["defend"]'


def test_deny_by_default() -> None:
    empty = policy()
    assert empty.refused(PING, None) == ""
    assert empty.refused(PING, who()) == ""
    for level in (Level.OBSERVE, Level.RECOVER, Level.DEFEND):
        assert empty.refused(look(level), who()) == "no grant lets alice run look"
        assert (
            empty.refused(look(level), None)
            == "look is not for everybody; with your ssh key: see doc"
        )
    assert empty.level(who()) is Level.PUBLIC


def test_a_level_has_those_below_it() -> None:
    some = policy('to = ["alice"]\nmay = ["recover"]')
    assert some.refused(look(Level.OBSERVE), who()) == ""
    assert some.refused(look(Level.RECOVER), who()) == ""
    assert some.refused(look(Level.DEFEND), who())
    assert some.refused(look(Level.OBSERVE), who("bob"))
    assert some.level(who()) is Level.RECOVER
    assert some.level(who("bob")) is Level.PUBLIC


def test_a_single_command() -> None:
    some = policy('to = ["alice"]\nmay = ["look"]')
    assert some.refused(look(Level.DEFEND), who()) == ""
    assert some.refused(look(Level.OBSERVE, "see"), who())
    assert some.level(who()) is Level.PUBLIC


def test_a_login_that_proves_less_gives_less() -> None:
    some = policy(ALL, 'to = ["alice"]\nmay = ["look"]')
    capped = who(cap=Level.OBSERVE)
    assert some.refused(look(Level.OBSERVE), capped) == ""
    assert "all that this login gives" in some.refused(look(Level.RECOVER), capped)
    assert some.level(capped) is Level.OBSERVE


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_networks(address: str, inside: bool) -> None:
    some = policy(ALL + '\nfrom = ["192.0.2.0/24", "2001:db8::/32"]')
    assert (some.refused(look(Level.DEFEND), who(address=address)) == "") is inside
    assert (some.level(who(address=address)) is Level.DEFEND) is inside


def test_two_signatures_cannot_be_typed() -> None:
    two = ALL + "\nsignatures = 2"
    assert "2 signatures" in policy(two).refused(look(Level.DEFEND), who())
    assert policy(two).level(who()) is Level.PUBLIC
    assert policy(two, ALL).refused(look(Level.DEFEND), who()) == ""


def test_orders_only() -> None:
    assert "order only" in policy(ALL + "\nsessions = false").refused(look(Level.DEFEND), who())
