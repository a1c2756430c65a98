"""Fixtures that several folders share."""

from collections.abc import Iterator
from pathlib import Path

import asyncssh  # noqa: F401 - whole, before a door's modules import what they need of it
import pytest
from hypothesis import settings
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
