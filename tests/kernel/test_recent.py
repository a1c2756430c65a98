"""Files that changed lately: new, old, linked, deep, hostile, and too many."""

import os
import time
from pathlib import Path

import pytest

from panicdoor.kernel import recent
from panicdoor.kernel.recent import Walk


def test_new_ones_are_found_and_old_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "new\x1b").write_text("")
    os.utime(tmp_path / "a" / "new\x1b", (0, 0))  # as a package does: it is new here all the same
    os.symlink("/", tmp_path / "root")
    walk = Walk()
    found = [file.path for file in walk.newer(str(tmp_path), time.time() - 60)]
    assert sorted(found) == [f"{tmp_path}/a/new\x1b", f"{tmp_path}/root"]
    assert not walk.cut
    assert walk.newer(str(tmp_path), time.time() + 60) == []


def test_the_newest_come_first(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text("")
        time.sleep(0.02)
    found = Walk().newer(str(tmp_path), 0)
    assert [file.path[-1] for file in found] == ["a", "b"]
    assert found[0].at >= found[1].at


def test_a_walk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        (tmp_path / str(n)).write_text("")
    walk = Walk(entries_max=10)
    assert len(walk.newer(str(tmp_path), 0)) == 10
    assert walk.cut
    walk = Walk(seconds=-1)
    assert walk.newer(str(tmp_path), 0) == []
    assert walk.cut
    monkeypatch.setattr(recent, "FILES_MAX", 3)
    walk = Walk()
    assert len(walk.newer(str(tmp_path), 0)) == 3
    assert walk.cut


def test_folders_too_deep_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath("a", "b", "c")
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    monkeypatch.setattr(recent, "DEPTH_MAX", 1)
    walk = Walk()
    assert walk.newer(str(tmp_path), 0) == []
    assert walk.cut


def test_what_is_not_there(tmp_path: Path) -> None:
    assert Walk().newer(str(tmp_path / "nothing"), 0) == []
