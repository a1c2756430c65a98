"""A control group of a test's own, in which the number of processes is limited at will."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.running import wait_for

V1 = Path("/sys/fs/cgroup/pids")
V2 = Path("/sys/fs/cgroup")
FULL = "1"  # there are more already: fork(2) fails with EAGAIN
ROOM = "max"


class Group:
    """The group, as a directory of the kernel's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that puts itself here and runs another: it keeps its pid."""
        script = f'echo $$ > {self._directory}/cgroup.procs && exec "$@"'
        return "sh", "-c", script, "sh"

    def limit(self, processes: str) -> None:
        """Let there be so many processes, FULL or ROOM."""
        (self._directory / "pids.max").write_text(processes)

    def close(self) -> None:
        """Remove it, once everybody in it has been reaped."""
        wait_for(lambda: not (self._directory / "cgroup.procs").read_text())
        wait_for(self._removed)

    def _removed(self) -> bool:
        try:
            self._directory.rmdir()
        except OSError:
            return False
        return True


def parent(version: int) -> Path:
    """Return where a group with a limit of processes can be made; skip the test where it cannot."""
    if version == 1:
        if not (V1 / "cgroup.procs").exists():
            pytest.skip("no cgroup v1 with pids here")
        found = V1
    else:
        controllers = V2 / "cgroup.controllers"
        if not controllers.exists() or "pids" not in controllers.read_text().split():
            pytest.skip("no cgroup v2 with pids here")
        found = V2
    if not os.access(found, os.W_OK):
        pytest.skip(f"{found} may not be written to: needs root")
    return found


@contextmanager
def group(version: int) -> Iterator[Group]:
    """A new group and its end."""
    above = parent(version)
    directory = above / f"panicdoor-test-{os.getpid()}"
    try:
        if version == 2:
            (above / "cgroup.subtree_control").write_text("+pids")
        directory.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made: {error}")
    made = Group(directory)
    try:
        yield made
    finally:
        made.limit(ROOM)
        made.close()
