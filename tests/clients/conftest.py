"""The doors that the clients knock at: one for all, and one that operators come to by ssh."""

from collections.abc import Iterator

import pytest
from tests.clients.programs import need
from tests.logins import People, inhabited
from tests.running import LOOPBACK, Door, running


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door on 127.0.0.1 and ::1, which no test here does harm to."""
    with running(tmp_path_factory.mktemp("house") / "door", listen=(LOOPBACK, "::1")) as door:
        yield door


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A door that alice looks at the host through, without the commands of the tests."""
    need("ssh", "ssh-keygen")
    with inhabited(tmp_path_factory.mktemp("observed") / "house", extra=False) as people:
        yield people
