"""What grants mean for a command; the judge must mean the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.commands.authority import Need, allows, need, too_cheap, typed
from panicdoor.commands.registry import COMMANDS, Command, Level
from panicdoor.config import LEVELS, Grant
from panicdoor.judge.policy import Policy, Speaker


def command(name: str, level: Level, makes_root: bool = False) -> Command:
    return replace(COMMANDS["ping"], name=name, level=level, makes_root=makes_root)


def grant(*may: str, signatures: int = 1, sessions: bool = True) -> Grant:
    return Grant(to=("alice",), may=may, signatures=signatures, sessions=sessions)


PING = command("ping", Level.PUBLIC)
LOOK = command("look", Level.OBSERVE)
KILL = command("kill", Level.RECOVER)
REBOOT = command("reboot", Level.DEFEND)
SHELL = command("shell", Level.DEFEND, makes_root=True)
ALL = (PING, LOOK, KILL, REBOOT, SHELL)


def test_deny_by_default() -> None:
    assert [need((), each) for each in ALL] == [Need(0, True), None, None, None, None]


@pytest.mark.parametrize(
    ("grants", "wanted"),
    [
        ((grant("observe"),), Need(1, True)),
        ((grant("defend"),), Need(1, True)),
        ((grant("look"),), Need(1, True)),
        ((grant("public"),), None),
        ((grant("kill"),), None),
        ((grant("look", signatures=3),), Need(3, False)),
        ((grant("look", sessions=False),), Need(1, False)),
        ((grant("look", signatures=3), grant("observe", signatures=2)), Need(2, False)),
        ((grant("look", signatures=3), grant("observe")), Need(1, True)),
    ],
)
def test_what_a_command_takes(grants: tuple[Grant, ...], wanted: Need | None) -> None:
    assert need(grants, LOOK) == wanted


@given(
    may=st.lists(st.sampled_from([*LEVELS, "look", "kill"]), min_size=1, max_size=3),
    signatures=st.integers(1, 3),
    sessions=st.booleans(),
    of=st.sampled_from(ALL[1:]),
)
def test_the_judge_means_the_same(
    may: list[str], signatures: int, sessions: bool, of: Command
) -> None:
    given = grant(*may, signatures=signatures, sessions=sessions)
    speaker = Speaker("alice", "192.0.2.7", Level.DEFEND)
    refused = Policy((given,)).refused(of, speaker)
    assert (refused == "") == (allows(given, of) and typed(given))
    assert refused.startswith("no grant") == (not allows(given, of))


def test_what_makes_root_for_less_than_something_weaker_is_said() -> None:
    both = (grant("shell"), grant("reboot", signatures=2))
    assert too_cheap(both, ALL) == (
        "shell makes root with 1 signature, and reboot, which is weaker, takes 2",
    )
    three = (grant("shell", signatures=2), grant("reboot", signatures=3))
    assert "with 2 signatures, and reboot, which is weaker, takes 3" in too_cheap(three, ALL)[0]


@pytest.mark.parametrize(
    "grants",
    [
        (),
        (grant("shell"),),
        (grant("reboot", signatures=2),),
        (grant("shell", signatures=2), grant("reboot", signatures=2)),
        (grant("shell", signatures=3), grant("reboot", signatures=2)),
        # Whoever may for less counts.
        (grant("shell"), grant("reboot", signatures=2), grant("recover", "reboot")),
    ],
)
def test_what_is_in_order_is_not(grants: tuple[Grant, ...]) -> None:
    assert too_cheap(grants, ALL) == ()


def test_no_command_that_there_is_makes_root_for_too_little_by_a_level_alone() -> None:
    assert too_cheap((grant("observe"),), COMMANDS.values()) == ()
