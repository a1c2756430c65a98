"""Disks of this machine, full ones and dead ones in namespaces, beside df(1)."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.commands.observed import (
    ROOT,
    answer,
    check_manual,
    command_in_namespaces,
    document,
    in_namespaces,
    said,
)

from panicdoor.commands import disks
from panicdoor.commands.disk_tables import Asked
from panicdoor.kernel import mounts


def test_its_manual() -> None:
    check_manual("disks")


def test_it_says_what_df_says() -> None:
    df = shutil.which("df")
    if df is None:
        pytest.skip("df(1) is not installed")
    told = document("disks")
    text = subprocess.run(
        [df, "-lB1", "--output=target,size,used,avail,pcent,itotal,iused"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    theirs = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}
    mine = {one["point"]: one for one in told["filesystems"]}
    assert "/" in mine
    for point, one in mine.items():
        if point not in theirs:
            continue
        size, used, left, percent, inodes, inodes_used = theirs[point]
        assert one["bytes"] == int(size)
        assert one["used"] == pytest.approx(int(used), abs=512 << 20)
        assert one["left"] == pytest.approx(int(left), abs=512 << 20)
        assert one["percent"] == pytest.approx(int(percent.rstrip("%")), abs=1.1)
        assert one["inodes"] == int(inodes)
        assert one["inodes_used"] == pytest.approx(int(inodes_used), abs=20_000)
    assert set(theirs) - set(mine) <= set(told["not_asked"])


def test_each_is_named_in_a_part_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    real = disks.ask

    def ask(mount: mounts.Mount) -> Asked:
        asked.append(mount.point)
        return real(mount)

    monkeypatch.setattr(disks, "ask", ask)
    for line in ("disks", "disks --json"):
        asked.clear()
        heard = ""
        for part in said(line):
            heard += part
            if asked:
                assert asked[-1].decode() in heard.replace("~", "")
            if "filesystems" in part or "MOUNT" in part:
                break
        assert b"/" in asked


def test_full_and_out_of_inodes_come_first(tmp_path: Path) -> None:
    full, many, fine = (tmp_path / name for name in ("full", "many", "fine"))
    setup = f"""
        mkdir {full} {many} {fine}
        mount -t tmpfs -o size=1m small {full}
        mount -t tmpfs -o nr_inodes=20 small {many}
        mount -t tmpfs -o size=1m small {fine}
        head -c 1000000 /dev/zero >{full}/file
        for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do : >{many}/$n; done
    """
    text, as_json = in_namespaces(setup, "disks", "disks --json")
    told = json.loads(as_json)
    first, second, *rest = told["filesystems"]
    assert (first["point"], first["inodes_percent"], first["full"]) == (str(many), 100, True)
    assert (second["point"], second["full"]) == (str(full), True)
    assert second["percent"] > 95
    assert not any(one["full"] for one in rest)
    assert str(fine) in [one["point"] for one in rest]
    assert f"! {many} is nearly full" in text.replace("\n  ", " ")
    assert sum(sentence.startswith(str(tmp_path)) for sentence in told["findings"]) == 2


def test_hostile_mount_points(tmp_path: Path) -> None:
    names = ["a b\n\x1b[2J\\040é", "x" * 250, "\x01" * 250]
    points = [tmp_path / name for name in names]
    for point in points:
        point.mkdir()
    setup = "\n".join(f"mount -t tmpfs small '{point}'" for point in points)
    text, as_json = in_namespaces(setup, "disks", "disks --json")
    assert "\x1b" not in text
    told = json.loads(as_json)
    assert f"{tmp_path}/{'x' * 250}" in told["asking"]
    assert rf"{tmp_path}/a b\x0a\x1b[2J\040\xc3\xa9" in [
        one["point"] for one in told["filesystems"]
    ]


def test_a_deleted_file_is_told_with_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    with open(path, "wb") as file:
        file.write(bytes(50 << 20))
        file.flush()
        os.fsync(file.fileno())
        fd = file.fileno()
        path.unlink()
        told = document("disks")["deleted"]
        text = answer("disks")
    mine = next(one for one in told["files"] if one["file"] == str(path))
    assert mine["bytes"] >= 50 << 20
    assert (mine["pid"], mine["fd"]) == (os.getpid(), fd)
    assert told["bytes"] >= mine["bytes"]
    assert "50.0 MiB" in text


# Mounts a file system in the hands of this very process, which never answers: FUSE's first request
# stays unread. What it is mounted on, and the shell's command to go on with, are arguments.
DEAD = """
import ctypes, os, sys
fd = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(fd, True)
data = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"dead", sys.argv[1].encode(), b"fuse.dead", 0, data):
    raise OSError(ctypes.get_errno(), "mount")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def dead(tmp_path: Path, line: str) -> list[str]:
    """Return the command that runs `line` beside a mount that never answers."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    point = tmp_path / "dead"
    point.mkdir()
    script = tmp_path / "dead.py"
    script.write_text(DEAD)
    command = command_in_namespaces("", line)
    inner = command.pop()
    inner = inner.replace("exec ", f"exec {sys.executable} {script} {point} ", 1)
    return [*command, inner]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


def test_a_dead_mount_is_left_alone(tmp_path: Path) -> None:
    for line in ("disks", "disks --json", "mounts"):
        where = tmp_path / line.replace(" ", "")
        where.mkdir()
        run = subprocess.run(
            dead(where, line), capture_output=True, text=True, cwd=ROOT, env=environment(),
            timeout=20, check=True,
        )  # fmt: skip
        assert "not asked" in run.stdout or "not_asked" in run.stdout


@pytest.mark.parametrize("line", ["disks --all", "disks --all --json"])
def test_a_dead_mount_is_named_before_it_is_asked(tmp_path: Path, line: str) -> None:
    with subprocess.Popen(
        dead(tmp_path, line), stdout=subprocess.PIPE, cwd=ROOT, env=environment()
    ) as run:  # fmt: skip
        assert run.stdout is not None
        os.set_blocking(run.stdout.fileno(), False)
        heard = b""
        until = time.monotonic() + 20
        name = str(tmp_path / "dead")
        while time.monotonic() < until:
            heard += run.stdout.read() or b""
            if heard.decode().rstrip().endswith((f"asking {name} (fuse.dead) ...", f'["{name}"')):
                break
            assert run.poll() is None
        time.sleep(0.3)
        assert run.poll() is None
        assert not run.stdout.read()
        run.kill()
    assert b"DELETED" in heard or b'"deleted"' in heard or b"Deleted" in heard


def test_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(point: bytes) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("panicdoor.kernel.filesystems.usage", refuse)
    told = document("disks")
    assert {one["error"] for one in told["filesystems"]} == {"Input/output error"}
    assert "gives an error: Input/output error" in told["findings"][0]
    assert answer("disks").count("gives an error") > 0


def test_many_mounts_are_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "ASKED_MAX", 1)
    told = document("disks")
    assert len(told["filesystems"]) == 1
    assert told["left_out"] > 0
    assert f"({told['left_out']} more file systems left out)" in answer("disks")
