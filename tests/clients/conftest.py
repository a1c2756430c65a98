"""The door that the clients knock at: one for all of them, on both loopback addresses."""

from collections.abc import Iterator

import pytest
from tests.running import LOOPBACK, Door, running


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door on 127.0.0.1 and ::1, which no test here does harm to."""
    with running(tmp_path_factory.mktemp("house") / "door", listen=(LOOPBACK, "::1")) as door:
        yield door
