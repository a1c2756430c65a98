"""Control groups: limits of both versions, from made trees and from real groups."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import cgroups
from panicdoor.kernel.cgroups import Hierarchy, Limit, Survey

MOUNTS = b"""proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/my\\040groups cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /second cgroup rw,memory 0 0
cut
"""


def group(root: Path, name: str, **files: str) -> None:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file.replace("_DOT_", ".")).write_text(text)


def limits(root: Path, version: int, controller: cgroups.Controller = "memory") -> list[Limit]:
    return list(cgroups.limits(controller, Survey(Hierarchy(str(root), version)), version))


def test_parse_mounts() -> None:
    found = cgroups.parse_mounts(MOUNTS)
    assert found["memory"] == Hierarchy("/sys/fs/my groups", 1)
    assert found["cpuacct"] == Hierarchy("/sys/fs/cgroup/cpu,cpuacct", 1)
    assert found[""] == Hierarchy("/sys/fs/cgroup/unified", 2)
    assert cgroups.parse_mounts(b"") == {}


def test_the_hierarchy_of_this_host_is_there() -> None:
    found = cgroups.hierarchy("memory")
    if found is None:
        pytest.skip("no control groups are mounted here")
    assert os.path.isdir(found.root)


def test_version_2(tmp_path: Path) -> None:
    group(tmp_path, ".", memory_DOT_current="9\n")
    group(
        tmp_path,
        "a.slice/full",
        memory_DOT_max="1000\n",
        memory_DOT_current="950\n",
        memory_DOT_events="low 0\nhigh 3\nmax 7\noom 1\noom_kill 2\n",
    )
    group(tmp_path, "a.slice", memory_DOT_max="max\n", memory_DOT_current="950\n")
    assert limits(tmp_path, 2) == [Limit("/a.slice/full", 950, 1000, 7, 2)]


def test_version_1(tmp_path: Path) -> None:
    group(
        tmp_path,
        "box",
        memory_DOT_limit_in_bytes="1000\n",
        memory_DOT_usage_in_bytes="100\n",
        memory_DOT_failcnt="5\n",
        memory_DOT_oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    )
    group(
        tmp_path,
        "free",
        memory_DOT_limit_in_bytes="9223372036854771712\n",
        memory_DOT_usage_in_bytes="1\n",
    )
    assert limits(tmp_path, 1) == [Limit("/box", 100, 1000, 5, 4)]


def test_tasks(tmp_path: Path) -> None:
    group(tmp_path, "box", pids_DOT_max="10\n", pids_DOT_current="10\n", pids_DOT_events="max 99\n")
    found = limits(tmp_path, 2, "pids")
    assert found == limits(tmp_path, 1, "pids") == [Limit("/box", 10, 10, 99, 0)]
    assert found[0].share == 100


def test_files_that_are_not_there_or_make_no_sense(tmp_path: Path) -> None:
    group(tmp_path, "no_usage", memory_DOT_max="10\n")
    group(tmp_path, "odd", memory_DOT_max="ten\n", memory_DOT_current="1\n")
    group(tmp_path, "minus", memory_DOT_max="-5\n", memory_DOT_current="1\n")
    group(tmp_path, "zero", memory_DOT_max="0\n", memory_DOT_current="0\n")
    found = limits(tmp_path, 2)
    assert found == [Limit("/zero", 0, 0, 0, 0)]
    assert found[0].share == 100


def test_a_walk_goes_from_the_top_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        group(tmp_path, f"a/b{n}/c")
    (tmp_path / "loop").symlink_to(tmp_path)
    whole = Survey(Hierarchy(str(tmp_path), 2))
    names = [whole.name(path) for path in whole]
    assert names[:2] == ["/", "/a"]
    assert len(names) == whole.seen == 12
    assert not whole.left_out
    monkeypatch.setattr(cgroups, "GROUPS_MAX", 3)
    part = Survey(Hierarchy(str(tmp_path), 2))
    assert len(list(part)) == 3
    assert part.left_out


def test_a_walk_ends_in_time_and_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group(tmp_path, "a/b/c/d")
    monkeypatch.setattr(cgroups, "DEPTH_MAX", 2)
    deep = Survey(Hierarchy(str(tmp_path), 2))
    assert [deep.name(path) for path in deep] == ["/", "/a", "/a/b"]
    assert deep.left_out
    monkeypatch.setattr(cgroups, "WALK_S", -1.0)
    late = Survey(Hierarchy(str(tmp_path), 2))
    assert list(late) == []
    assert late.left_out


def test_a_tree_that_is_gone(tmp_path: Path) -> None:
    assert limits(tmp_path / "none", 2) == []


def test_a_real_group(tmp_path: Path) -> None:
    found = cgroups.hierarchy("memory")
    if found is None:
        pytest.skip("no control groups are mounted here")
    real = Path(found.root) / f"panicdoor-test-{os.getpid()}"
    limit = real / ("memory.limit_in_bytes" if found.version == 1 else "memory.max")
    try:
        real.mkdir()
        limit.write_text(str(64 << 20))
    except OSError as error:
        if real.exists():
            real.rmdir()
        pytest.skip(f"no group can be made here: {error}")
    try:
        made = [one for one in limits(Path(found.root), found.version) if one.group in str(real)]
        assert [one.limit for one in made if one.group == f"/{real.name}"] == [64 << 20]
    finally:
        real.rmdir()


@pytest.mark.parametrize(
    ("text", "limit"),
    [(b"max\n", None), (b"12\n", 12), (b"0", 0), (b"", None), (b"9223372036854771712", None)],
)
def test_parse_limit(text: bytes, limit: int | None) -> None:
    assert cgroups.parse_limit(text) == limit


LINES = st.lists(
    st.sampled_from([b"cgroup", b"cgroup2", b" ", b"/a\\0", b"\\777", b",", b"\n", b"\xff", b"7"])
).map(b"".join)


@given(st.binary() | LINES)
def test_no_bytes_raise(data: bytes) -> None:
    cgroups.parse_mounts(data)
    cgroups.parse_events(data)
    cgroups.parse_limit(data)
