"""The door that is misbehaved at: one for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest
from tests.running import Door, running


@pytest.fixture(scope="session")
def plain_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door that listens on 127.0.0.1, with nobody in its grants."""
    with running(tmp_path_factory.mktemp("plain") / "door") as door:
        yield door
