"""Fixtures that several folders share."""

from collections.abc import Iterator
from pathlib import Path

import asyncssh  # noqa: F401 - whole, before a door's modules import what they need of it
import pytest
from hypothesis import settings
from tests.monitors import start
from tests.places import End, Places, opened
from tests.running import Door, running

# A machine with other work is slow at times, which says nothing about what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A door of its own for one test."""
    with running(tmp_path / "door") as door:
        yield door


@pytest.fixture(scope="session")
def calm_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One door for all tests that do it no harm."""
    with running(tmp_path_factory.mktemp("calm") / "door") as door:
        yield door


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """All places of a door, of which the monitor's alone is filled."""
    with opened(tmp_path / "door") as places:
        start(places)
        yield places


@pytest.fixture
def stream(places: Places) -> End:
    """The end of a stream's wire to the monitor."""
    return places.end("stream1", "monitor")


@pytest.fixture
def worker(places: Places) -> End:
    """The end of a worker's wire to the monitor."""
    return places.end("worker1", "monitor")
