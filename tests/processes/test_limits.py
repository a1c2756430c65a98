"""What a door says that it cannot do, for every combination that a machine can be in."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.child import in_child
from tests.places import Places, opened
from tests.running import ROOT

from panicdoor.kernel.memory import Locked
from panicdoor.processes.limits import limits
from panicdoor.processes.place import User, World
from panicdoor.processes.stream import FDS_WANTED

needs_root = pytest.mark.skipif(not ROOT, reason="needs root, to be it or not")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A door that lacks nothing."""
    with opened(tmp_path / "door") as places:
        yield whole(places)


def whole(places: Places) -> World:
    return replace(places.world, user=User(1, 1), landlock=7)


def said(
    world: World,
    locked: Locked = Locked.ALL,
    spared: bool = True,
    nobody: bool = False,
    descriptors: int = FDS_WANTED,
) -> list[str]:
    """Return the notes of a door with those rights and limits."""

    def ask() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        return limits(world, locked, spared)

    notes: list[str] = in_child(ask, nobody=nobody)
    return notes


@needs_root
def test_a_door_that_lacks_nothing_says_nothing(world: World) -> None:
    assert said(world) == []


@needs_root
@pytest.mark.parametrize(
    ("note", "lacking"),
    [
        ("only memory held at start is locked", {"locked": Locked.CURRENT}),
        ("memory is not locked, and may be paged out", {"locked": Locked.NONE}),
        ("the OOM killer may choose it", {"spared": False}),
        (f"{FDS_WANTED - 1} descriptors", {"descriptors": FDS_WANTED - 1}),
    ],
)
def test_each_thing_that_is_lacking(
    world: World, note: str, lacking: dict[str, Locked | bool | int]
) -> None:
    notes = said(world, **lacking)  # type: ignore[arg-type]
    assert len(notes) == 1
    assert notes[0].startswith(note)


@needs_root
def test_a_demo_stays_root(world: World) -> None:
    assert said(replace(world, user=None)) == [
        "it changes to no other user: its network processes stay root's"
    ]


@needs_root
def test_root_without_landlock_has_another_way(world: World) -> None:
    assert said(replace(world, landlock=0)) == []


@needs_root
def test_without_root(world: World) -> None:
    notes = said(replace(world, user=None), nobody=True)
    assert notes == [
        "without root: what belongs to other users is out of its reach",
        "without root: whoever is this user can end it",
    ]
    more = said(replace(world, user=None, landlock=0), nobody=True)
    assert more == [*notes, "no landlock here: its network processes can read this user's files"]


def test_a_note_is_one_line(world: World) -> None:
    """They follow `note: `, and in a demo `Here `."""
    for locked in Locked:
        for note in limits(replace(world, user=None, landlock=0), locked, spared=False):
            assert note.isprintable()
            assert note[0].islower() or note[0].isdigit() or note.startswith("OOM")
            assert not note.endswith(".")
