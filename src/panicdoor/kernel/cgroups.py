"""Control groups of both versions: how near each is to its limits, and what it has waited for.

Groups are found by walking the hierarchies from the top, so that where the walk ends early (by
count or by time) the large ones were seen. cgroups(7); Documentation/admin-guide/cgroup-v2.rst.
"""

import os
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from panicdoor.kernel import reading

MOUNTS: Final = "/proc/self/mounts"
GROUPS_MAX: Final = 4000  # groups of one walk
WALK_S: Final = 0.3  # seconds of one walk
DEPTH_MAX: Final = 12  # of nested groups

_MOUNT_FIELDS: Final = 4
_UNLIMITED: Final = 1 << 60  # version 1 writes the largest number of pages for "no limit"
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

Controller = Literal["memory", "pids"]


class Hierarchy(NamedTuple):
    """Where a controller's groups are: the directory of the outermost, and the version, 1 or 2."""

    root: str
    version: int


class Limit(NamedTuple):
    """One group that has a limit: bytes of memory, or a count of tasks.

    `hits` counts how often it could not have more (memory was reclaimed, a fork failed), `kills`
    how many of its processes the kernel killed for it.
    """

    group: str
    used: int
    limit: int
    hits: int
    kills: int

    @property
    def share(self) -> float:
        """Percent of the limit that is used; a limit of 0 is reached."""
        return 100 * self.used / self.limit if self.limit else 100.0


class Survey:
    """A walk over one hierarchy. `left_out` says afterwards whether it ended early."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.left_out = False
        self.seen = 0
        self._root = hierarchy.root

    def __iter__(self) -> Iterator[str]:
        """Yield the directory of each group, outer ones first."""
        deadline = time.monotonic() + WALK_S
        waiting = deque([(self._root, 0)])
        while waiting:
            if self.seen == GROUPS_MAX or time.monotonic() > deadline:
                self.left_out = True
                return
            path, depth = waiting.popleft()
            self.seen += 1
            yield path
            if depth == DEPTH_MAX:
                self.left_out = True
                continue
            waiting.extend((inner, depth + 1) for inner in _directories(path))

    def name(self, path: str) -> str:
        """Return a group's name as the kernel writes it: `/system.slice/cron.service`."""
        return path.removeprefix(self._root) or "/"


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def parse_mounts(data: bytes) -> dict[str, Hierarchy]:
    """Return the hierarchies in /proc/self/mounts: by controller, and version 2 as `""`."""
    found: dict[str, Hierarchy] = {}
    for line in data.split(b"\n"):
        fields = line.split()
        if len(fields) < _MOUNT_FIELDS or fields[2] not in (b"cgroup", b"cgroup2"):
            continue
        root = _OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[1].decode("latin-1"))
        if fields[2] == b"cgroup2":
            found.setdefault("", Hierarchy(root, 2))
            continue
        for option in fields[3].split(b","):
            found.setdefault(option.decode("latin-1") or " ", Hierarchy(root, 1))
    return found


def hierarchy(controller: Controller | Literal[""]) -> Hierarchy | None:
    """Return where a controller is: of version 1 where it is mounted so, else version 2."""
    try:
        mounts = parse_mounts(reading.read(MOUNTS))
    except OSError:
        return None
    return mounts.get(controller) or mounts.get("")


def parse_events(data: bytes) -> dict[str, int]:
    """Read a file of `name number` lines, such as memory.events."""
    pairs = [line.partition(b" ") for line in data.split(b"\n")]
    return {
        name.decode("latin-1"): count
        for name, blank, rest in pairs
        if blank and (count := reading.number(rest)) is not None
    }


def parse_limit(data: bytes) -> int | None:
    """Read a limit; None where there is none (`max`, or as many bytes as there can be)."""
    limit = reading.number(data)
    return None if limit is None or not 0 <= limit < _UNLIMITED else limit


def limits(controller: Controller, survey: Survey, version: int) -> Iterator[Limit]:
    """Yield the groups that have a limit of their own, in the order of the walk."""
    read = _V1[controller] if version == 1 else _V2[controller]
    for path in survey:
        found = _limit(path, survey.name(path), read)
        if found is not None:
            yield found


class _Files(NamedTuple):
    used: str
    limit: str
    hits: tuple[str, str]
    kills: tuple[str, str]


_V1: Final[dict[Controller, _Files]] = {
    "memory": _Files(
        "memory.usage_in_bytes",
        "memory.limit_in_bytes",
        ("memory.failcnt", ""),
        ("memory.oom_control", "oom_kill"),
    ),
    "pids": _Files("pids.current", "pids.max", ("pids.events", "max"), ("", "")),
}
_V2: Final[dict[Controller, _Files]] = {
    "memory": _Files(
        "memory.current", "memory.max", ("memory.events", "max"), ("memory.events", "oom_kill")
    ),
    "pids": _Files("pids.current", "pids.max", ("pids.events", "max"), ("", "")),
}


def _limit(path: str, name: str, files: _Files) -> Limit | None:
    try:
        limit = parse_limit(reading.glance(f"{path}/{files.limit}"))
        used = reading.number(reading.glance(f"{path}/{files.used}"))
    except OSError:
        return None
    if limit is None or used is None:
        return None
    return Limit(name, used, limit, _count(path, *files.hits), _count(path, *files.kills))


def _count(path: str, file: str, name: str) -> int:
    if not file:
        return 0
    try:
        data = reading.glance(f"{path}/{file}")
    except OSError:
        return 0
    return parse_events(data).get(name, 0) if name else reading.number(data) or 0
