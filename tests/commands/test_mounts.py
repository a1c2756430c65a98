"""Mounts of this machine, and trouble in namespaces."""

import json
from pathlib import Path

import pytest
from tests.commands.observed import answer, check_manual, document, in_namespaces

from panicdoor.commands import mounts
from panicdoor.errors import CommandError
from panicdoor.kernel.mounts import MOUNTINFO, read


def test_its_manual() -> None:
    check_manual("mounts")


def test_every_mount_is_told() -> None:
    points = [line.split()[4] for line in Path(MOUNTINFO).read_text("latin-1").splitlines()]
    told = document("mounts --all")
    assert told["left_out"] == 0
    assert len(told["mounts"]) == len(points)
    few = document("mounts")
    assert "/proc" not in [one["point"] for one in few["mounts"]]
    own = len(points) - len(few["mounts"])
    assert f"({own} of the kernel's own are in: mounts --all)" in answer("mounts")


def test_read_only_by_an_error_comes_first(tmp_path: Path) -> None:
    one, other, plain = (tmp_path / name for name in ("a", "b", "c"))
    setup = "\n".join(
        f"mkdir {point}; mount -t tmpfs small {point}" for point in (plain, one, other)
    )
    # The mount says that it may be written, the file system does not: what ext4 does on an error.
    setup += f"\nmount -o remount,ro {one}; mount -o remount,bind,rw {one}"
    setup += f"\nmount -o remount,ro {other}"
    text, as_json = in_namespaces(setup, "mounts", "mounts --json")
    assert text.replace("\n  ", " ").startswith(f"! {one} (tmpfs) was made read-only")
    told = json.loads(as_json)
    states = {found["point"]: found["state"] for found in told["mounts"]}
    assert told["mounts"][0]["point"] == str(one)
    assert (states[str(one)], states[str(other)], states[str(plain)]) == (
        "broken", "read-only", "writable",
    )  # fmt: skip
    assert len(told["findings"]) == 1


def test_a_hostile_mount_point(tmp_path: Path) -> None:
    point = tmp_path / "a b\n\x1b[2J\\040 - nfs x rw é"
    point.mkdir()
    text, as_json = in_namespaces(
        f"mount -t tmpfs 'so ur\x1bce' '{point}'", "mounts", "mounts --json"
    )
    assert "\x1b" not in text + as_json
    (mine,) = [m for m in json.loads(as_json)["mounts"] if "[2J" in m["point"]]
    assert mine["type"] == "tmpfs"
    assert mine["point"].endswith(r"a b\x0a\x1b[2J\040 - nfs x rw \xc3\xa9")
    assert mine["source"] == r"so ur\x1bce"


RECORDED = b"""\
36 1 8:1 / / rw - ext4 /dev/sda1 rw
37 36 0:50 / /nas rw - nfs4 server:/export rw
38 37 8:2 / /nas/inner rw - ext4 /dev/sdb1 rw
39 36 8:3 / /full rw - xfs /dev/sdc1 rw,shutdown
40 36 7:1 / /snap ro - squashfs /dev/loop1 ro
41 36 8:4 / /usr ro - ext4 /dev/sda2 ro
"""


def test_recorded_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(RECORDED)
    monkeypatch.setattr(mounts, "read", lambda: read(str(table)))
    told = document("mounts")
    assert [(one["point"], one["state"]) for one in told["mounts"]] == [
        ("/full", "broken"),
        ("/usr", "read-only"),
        ("/nas", "waiting"),
        ("/nas/inner", "waiting"),
        ("/", "writable"),
        ("/snap", "writable"),
    ]
    table.write_bytes(b"".join(RECORDED.replace(b"/full", b"/%d" % n) for n in range(300)))
    text = answer("mounts")
    assert "! 295 more were made read-only" in text
    assert "(800 more mounts left out)" in text
    assert document("mounts")["left_out"] == 800


def test_no_table_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "read", lambda: read("/proc/none"))
    with pytest.raises(CommandError, match="the table of mounts cannot be read: No such file"):
        answer("mounts")
