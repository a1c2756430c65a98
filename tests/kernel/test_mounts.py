"""The kernel's table of mounts: hostile names, real remounts, and mount(8) itself."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel.mounts import (
    KERNELS_OWN,
    Mount,
    file_systems,
    parse,
    read,
    unescape,
    visible,
    waiting,
)


def mount(
    id: int, point: str, kind: str = "ext4", parent: int = 1, device: str = ""
) -> Mount:  # fmt: skip
    return Mount(
        id, parent, device or f"0:{id}", b"/", point.encode(), ("rw",), kind, b"/dev/x", ("rw",)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "broken", "read_only"),
    [
        (b"36 35 98:0 / /data rw,noatime - ext4 /dev/sda1 rw", False, False),
        (b"36 35 98:0 / /data rw,noatime - ext4 /dev/sda1 ro,errors=remount-ro", True, True),
        (b"36 35 98:0 / /data rw,noatime - ext4 /dev/sda1 rw,emergency_ro", True, True),
        (b"36 35 98:0 / /data rw,noatime - xfs /dev/sda1 rw,shutdown", True, True),
        (b"36 35 98:0 / /data ro,noatime - ext4 /dev/sda1 ro", False, True),
        (b"36 35 98:0 / /data ro,noatime - ext4 /dev/sda1 rw", False, True),
        (b"36 35 98:0 / /snap/x rw - squashfs /dev/loop1 ro", False, True),
    ],
)
def test_who_made_it_read_only(line: bytes, broken: bool, read_only: bool) -> None:
    (found,) = parse(line + b"\n")
    assert (found.broken, found.read_only) == (broken, read_only)


def test_a_line_with_everything() -> None:
    line = rb"36 35 98:0 /mnt1 /a\040b\134x\012\011 rw,noatime master:1 propagate_from:2"
    line += rb" - fuse.x\040y  rw,a\040b"
    assert parse(b"junk\n" + line + b"\n\n36 35 - x y z\n") == [
        Mount(
            36, 35, "98:0", b"/mnt1", b"/a b\\x\n\t", ("rw", "noatime"), "fuse.x y", b"",
            ("rw", "a b"),
        )
    ]  # fmt: skip
    assert parse(line)[0].remote


def test_escapes() -> None:
    assert unescape(rb"\040\011\012\134\043") == b" \t\n\\#"
    assert unescape(rb"\999\04 \0400") == rb"\999\04  0"
    assert unescape(b"\xff\x1b") == b"\xff\x1b"


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from([b"1", b"2", b"-", b"\n", b"/", b"rw", rb"\040", b"nfs", b"-1", b"9" * 30]),
        max_size=40,
    ).map(b" ".join)
)
def test_no_table_raises(text: bytes) -> None:
    found = parse(text)
    waiting(found)
    file_systems(found)


def test_who_may_let_others_wait() -> None:
    table = [
        mount(1, "/", parent=0),
        mount(2, "/nas", "nfs4"),
        mount(3, "/nas/deep", parent=2),
        mount(4, "/nas/deep/er", parent=3),
        mount(5, "/home"),
        mount(6, "/run/user/1/doc", "fuse.portal"),
        mount(7, "/auto", "autofs"),
    ]
    assert waiting(table) == {2, 3, 4, 6, 7}
    assert waiting(reversed(table)) == {2, 3, 4, 6, 7}


def test_a_circle_of_parents_ends() -> None:
    assert waiting([mount(1, "/a", parent=2), mount(2, "/b", parent=1)]) == frozenset()
    deep = [mount(n, f"/{n}", parent=n + 1) for n in range(5000)]
    assert waiting([*deep, mount(5000, "/x", "nfs")]) == set(range(5001))


def test_hidden_mounts_and_second_ways() -> None:
    table = [
        mount(1, "/", parent=0, device="8:1"),
        mount(2, "/srv/bind", device="8:1"),
        mount(3, "/tmp", "tmpfs"),
        mount(4, "/tmp", "tmpfs"),
        mount(5, "/proc", "proc"),
        mount(6, "/nas", "nfs4"),
        mount(7, "/nas/b", device="8:7", parent=6),
        mount(8, "/longer/way", device="8:7"),
    ]
    assert [one.id for one in visible(table)] == [1, 2, 4, 5, 6, 7, 8]
    assert [one.id for one in file_systems(table)] == [1, 4, 6, 8]


def test_it_says_what_findmnt_says() -> None:
    findmnt = shutil.which("findmnt")
    if findmnt is None:
        pytest.skip("findmnt(8) is not installed")
    told = subprocess.run(
        [findmnt, "-rno", "TARGET,FSTYPE"], capture_output=True, text=True, check=True
    ).stdout
    mine, cut = read()
    assert not cut
    assert sorted((m.point.decode(), m.kind) for m in mine) == sorted(
        tuple(line.split(" ")) for line in told.splitlines()
    )
    assert any(m.point == b"/proc" and m.kind in KERNELS_OWN for m in mine)


def test_a_table_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_bytes(b"36 35 98:0 / /data rw - ext4 /dev/sda1 rw\n" * 30)
    monkeypatch.setattr("panicdoor.kernel.mounts.READ_MAX", 1000)
    found, cut = read(str(tmp_path / "mountinfo"))
    assert cut
    assert len(found) == 1000 // 42
