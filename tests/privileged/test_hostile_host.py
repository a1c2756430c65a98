"""A real door on a host whose every name was chosen by an enemy of terminals and of programs.

A process with a deceiving name, four KiB of arguments, a port, a deleted file and a control group
of its own; and, in a mount namespace of the door's, mount points, files below /etc, certificates,
logs and lists of logins. Whatever is asked, the answer is visible ASCII, a row stays one line of 80
columns, and JSON stays JSON.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.clients.looking import document, told
from tests.clients.programs import need, run
from tests.commands.hosts import HOSTILE
from tests.kernel.test_sessions import entry
from tests.kernel.test_x509 import made
from tests.logins import People, inhabited
from tests.running import wait_for

from panicdoor.commands.registry import COMMANDS, Level
from panicdoor.kernel import cgroups
from panicdoor.printable import escape_bytes, escape_line

LOOKING: Final = [command.name for command in COMMANDS.values() if command.level is Level.OBSERVE]
# A file name: a false row, a false line of JSON, a terminal's title, a wide letter, no UTF-8.
FILE: Final = b'a\tb\n! all is well\r"}\x1b]0;x\x07\xe6\xbc\xa2\xff\\040'
SHOWN: Final = escape_bytes(FILE)
ARGUMENT: Final = "\x1b[2J\n\\x1b \u202e" * 500  # with a mark that turns the direction of text
MIB: Final = 1 << 20
# Holds memory, a port and a deleted file under a name and a command line of its own.
VICTIM: Final = f"""
import ctypes, os, socket, sys
kept = bytearray(b"x" * {48 * MIB})
listener = socket.create_server(("127.0.0.1", 0))
path = os.path.join(os.fsencode(sys.argv[1]), {FILE!r})
deleted = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(deleted, b"y" * {20 * MIB})
os.fsync(deleted)
os.unlink(path)
ctypes.CDLL(None).prctl(15, {HOSTILE.encode()!r}, 0, 0, 0)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@dataclass
class Hostile:
    """A door, and what is to be found through it."""

    people: People
    pid: int
    port: int
    group: str


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1)")
    need("ssh", "ssh-keygen", "mount")
    folder = tmp_path_factory.mktemp("hostile")
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-euc", _mounts(folder), "sh")
    if run(*prefix, "true").returncode:
        pytest.skip("nothing can be mounted here")
    with (
        victim(folder) as (pid, port),
        a_group(pid) as group,
        inhabited(folder / "house", extra=False, prefix=prefix) as people,
    ):
        yield Hostile(people, pid, port, group)


def _mounts(folder: Path) -> str:
    """Make the files, and return the shell's lines that put them where a host has them."""
    point = os.fsdecode(os.fsencode(folder) + b"/" + FILE)
    os.mkdir(point)
    now = datetime.now(UTC)
    for name in ("ssl", "log", "run", "kept"):
        (folder / name).mkdir()
    certificate = made(now - timedelta(9), now - timedelta(1), HOSTILE, ("\x1b[2J.example",))
    with open(os.fsencode(folder / "ssl") + b"/" + FILE + b".pem", "wb") as file:
        file.write(certificate.public_bytes(Encoding.PEM))
    moment = f"{datetime.now():%Y-%m-%d %H:%M:%S}"  # dpkg writes local time
    (folder / "log" / "dpkg.log").write_text(
        f"{moment} install {HOSTILE!s}\x1b[2J:all <none> 1\x07\n"
    )
    (folder / "log" / "wtmp").write_bytes(entry(HOSTILE.encode()))
    (folder / "run" / "utmp").write_bytes(entry(HOSTILE.encode(), host=FILE, line=b"\x1b[2J"))
    (folder / "run" / "systemd" / "sessions").mkdir(parents=True)
    session = (
        b"UID=0\nUSER=\x1b[2Jroot\nSTATE=active\nTTY=\x1b[2J\nREMOTE_HOST=\xff\x07\nLEADER=1\n"
    )
    (folder / "run" / "systemd" / "sessions" / "1").write_bytes(session)
    bound = {"ssl": "/etc/ssl", "log": "/var/log", "run": "/run"}
    lines = [f"mount -t tmpfs {shlex.quote(HOSTILE)} {shlex.quote(point)}"]
    lines += [f"mount --bind {shlex.quote(str(folder / n))} {to}" for n, to in bound.items()]
    return "\n".join([*lines, 'exec "$@"'])


@contextmanager
def victim(folder: Path) -> Iterator[tuple[int, int]]:
    """The process, as its pid and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(folder / "kept"), ARGUMENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def a_group(pid: int) -> Iterator[str]:
    """A control group near its limit, with the process in it; "" where none can be made."""
    found = cgroups.hierarchy("memory")
    # The kernel takes no line feed in such a name.
    name = f"panicdoor-test-{os.getpid()} x\t\x1b[2J) R"
    path = Path(found.root if found else "/nonexistent") / name
    limit = "memory.limit_in_bytes" if found and found.version == 1 else "memory.max"
    try:
        path.mkdir()
    except OSError:
        yield ""
        return
    try:
        (path / limit).write_text(str(1024 * MIB))
        (path / "cgroup.procs").write_text(str(pid))
        yield escape_line(f"/{name}")
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


@pytest.mark.parametrize("name", LOOKING)
def test_every_screen_stays_a_screen(host: Hostile, name: str) -> None:
    text = told(host.people, name)
    assert max(map(len, text.split("\n"))) <= 80
    assert "\n! all is well" not in text


@pytest.mark.parametrize("name", LOOKING)
def test_every_document_stays_a_document(host: Hostile, name: str) -> None:
    document(host.people, name)  # and is checked, field by field


def test_a_process_in_detail(host: Hostile) -> None:
    text = told(host.people, f"processes {host.pid}")
    name = escape_line(HOSTILE[:15])  # what the kernel keeps
    assert text.startswith(f"{host.pid} ({name[:-4]}")
    (line,) = [one for one in text.split("\n") if one.startswith("  command ")]
    assert line.count(r"\x1b[2J\x0a") > 100
    assert f"asking {host.pid} (" in text
    said = document(host.people, f"processes {host.pid}")["process"]
    assert said["name"] == name
    typed = told(host.people, f"processes '{name}'")
    assert f"asking {host.pid} (" in typed


def test_memory(host: Hostile) -> None:
    said = document(host.people, "memory")
    (mine,) = [one for one in said["processes"] if one["pid"] == host.pid]
    assert mine["name"] == escape_line(HOSTILE)
    if not host.group:
        pytest.skip("no control group can be made here")
    assert host.group in [one["group"] for one in said["groups"]]


def test_listeners(host: Hostile) -> None:
    (mine,) = [
        one for one in document(host.people, "listeners")["listeners"] if one["port"] == host.port
    ]
    assert (mine["name"], mine["pids"]) == (escape_line(HOSTILE), [host.pid])
    assert f"  {host.pid}  x) R 1\\x0a(" in told(host.people, "listeners")


def test_mounts_and_disks(host: Hostile) -> None:
    (mine,) = [
        one
        for one in document(host.people, "mounts")["mounts"]
        if one["source"] == escape_line(HOSTILE)
    ]
    assert mine["point"].endswith(f"/{SHOWN}")
    disks = document(host.people, "disks")
    assert mine["point"] in disks["asking"]
    ours = [one for one in disks["deleted"]["files"] if one["pid"] == host.pid]
    # Whoever runs the tests may have given it deleted files of their own.
    (deleted,) = [one for one in ours if one["file"].endswith(f"/{SHOWN}")]
    assert deleted["name"] == escape_line(HOSTILE)


def test_certificates(host: Hostile) -> None:
    said = document(host.people, "certificates")
    (mine,) = [one for one in said["certificates"] if one["file"]]
    assert mine["file"] == f"/etc/ssl/{SHOWN}.pem"
    assert mine["names"] == [escape_line(HOSTILE), r"\x1b[2J.example"]
    assert any(f"/etc/ssl/{SHOWN}.pem" in finding for finding in said["findings"])


def test_changes(host: Hostile) -> None:
    said = document(host.people, "changes --since 1h")
    assert f"/etc/ssl/{SHOWN}.pem" in [one["path"] for one in said["files"]]


def test_who(host: Hostile) -> None:
    said = document(host.people, "who")
    users = {one["user"] for one in said["logins"]}
    assert users == {escape_line(HOSTILE), r"\x1b[2Jroot"}
    assert {one["where"] for one in said["logins"]} == {SHOWN, r"\xff\x07"}
