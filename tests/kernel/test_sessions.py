"""Who is there: made utmp files as who(1) reads them, logind's files, a real sshd."""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import sessions, tasks
from panicdoor.kernel.sessions import NARROW_SIZE, WIDE_SIZE, Connection, Entry


def entry(
    user: bytes = b"alice",
    *,
    kind: int = sessions.USER_PROCESS,
    pid: int = 4711,
    line: bytes = b"pts/0",
    host: bytes = b"client.example",
    address: bytes = bytes(16),
    wide: bool = False,
    at: int = 1_700_000_000,
) -> bytes:
    head = struct.pack("=h2xi32s4s32s256shh", kind, pid, line, b"ts/0", user, host, 0, 0)
    tail = "=qqq16s20x4x" if wide else "=iii16s20x"
    return head + struct.pack(tail, 0, at, 0, address)


ALICE = Entry(7, 4711, "pts/0", "alice", "client.example", "", 1_700_000_000)


@pytest.mark.parametrize(("wide", "size"), [(False, 384), (True, 400)])
def test_parse_utmp(wide: bool, size: int) -> None:
    data = entry(wide=wide)
    assert len(data) == size == (WIDE_SIZE if wide else NARROW_SIZE)
    assert sessions.parse_utmp(data, size) == (ALICE,)
    assert sessions.parse_utmp(data * 2 + data[:-1], size) == (ALICE, ALICE)
    assert sessions.parse_utmp(data[:-1], size) == ()


def test_addresses() -> None:
    v4 = entry(address=socket.inet_aton("192.0.2.7") + bytes(12))
    v6 = entry(address=socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
    found = sessions.parse_utmp(v4 + v6, NARROW_SIZE)
    assert [one.address for one in found] == ["192.0.2.7", "2001:db8::1"]


def test_full_fields_have_no_end() -> None:
    (found,) = sessions.parse_utmp(entry(b"u" * 32, host=b"\x1b" * 256), NARROW_SIZE)
    assert found.user == "u" * 32
    assert found.host == "\x1b" * 256


@pytest.mark.parametrize(
    ("length", "machine", "size"),
    [
        (0, "x86_64", 384),
        (384, "x86_64", 384),
        (384, "aarch64", 384),
        (400, "x86_64", 400),
        (9600, "x86_64", 384),
        (9600, "aarch64", 400),
        (7, "aarch64", 400),
    ],
)
def test_the_size_of_an_entry(length: int, machine: str, size: int) -> None:
    assert sessions.utmp_size(length, machine) == size


@given(st.binary(max_size=2000), st.sampled_from([NARROW_SIZE, WIDE_SIZE]))
def test_no_utmp_raises(data: bytes, size: int) -> None:
    sessions.parse_utmp(data, size)
    sessions.parse_logind("1", data)


@given(st.binary(min_size=NARROW_SIZE, max_size=NARROW_SIZE))
def test_no_entry_raises(data: bytes) -> None:
    assert len(sessions.parse_utmp(data, NARROW_SIZE)) == 1


def test_it_agrees_with_who(tmp_path: Path) -> None:
    if shutil.which("who") is None:
        pytest.skip("there is no who")
    file = tmp_path / "utmp"
    people = [entry(b"alice", line=b"pts/0"), entry(b"bob", line=b"tty1", host=b"")]
    file.write_bytes(b"".join([entry(b"reboot", kind=2, line=b"~"), *people]))
    told = subprocess.run(
        ["who", "-s", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ["PATH"]},
    ).stdout
    if not told:
        pytest.skip("this who does not look into the file that it is given")
    found = sessions.utmp(str(file))
    assert found is not None
    ours = [(one.user, one.line) for one in found if one.kind == sessions.USER_PROCESS]
    assert ours == [tuple(line.split()[:2]) for line in told.splitlines()]


def test_a_host_without_utmp_and_logind(tmp_path: Path) -> None:
    assert sessions.utmp(str(tmp_path / "none")) is None
    assert sessions.logind(str(tmp_path / "none")) is None


def test_logind(tmp_path: Path) -> None:
    (tmp_path / "1").write_text(
        "# private\nUID=1000\nUSER=alice\nACTIVE=1\nSTATE=active\nREMOTE=1\nTTY=pts/0\n"
        "REMOTE_HOST=192.0.2.7\nSERVICE=sshd\nLEADER=4711\nREALTIME=1700000000000000\n"
    )
    (tmp_path / "2").write_bytes(b"UID=x\n\xff\x00=\nSTATE")
    (tmp_path / "1.ref").write_bytes(b"")
    (tmp_path / "3").mkdir()
    assert sessions.logind(str(tmp_path)) == (
        sessions.Session(
            "1", 1000, "alice", "pts/0", "192.0.2.7", "sshd", "active", 4711, 1_700_000_000
        ),
        sessions.Session("2", -1, "", "", "", "", "", 0, 0),
    )


def test_logind_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    for n in range(5):
        (tmp_path / str(n)).write_text("UID=1\n")
    assert len(sessions.logind(str(tmp_path)) or ()) == 2


def stats(*rows: tuple[int, int, str, int]) -> Iterable[tasks.Stat]:
    for pid, parent, name, tty in rows:
        yield tasks.Stat(pid, name, "S", parent, tty, False, 0, 1, 100 + pid, 0)


def test_connections(tmp_path: Path) -> None:
    for pid, uid in ((12, 1000), (21, 101), (31, 0), (41, 1001)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "status").write_text(f"Name:\tsshd\nUid:\t{uid}\t0\n")
    found = sessions.connections(
        stats(
            (10, 1, "sshd", 0),
            (11, 10, "sshd-session", 0),
            (12, 11, "sshd-session", 0),
            (13, 12, "bash", 34816),
            (14, 13, "sshd", 34816),  # somebody's own, started in the shell
            (20, 10, "sshd", 0),
            (21, 20, "sshd", 0),
            (31, 10, "sshd", 0),
            (41, 10, "sshd", 0),
            (42, 41, "x) R 1", 0),
            (51, 10, "sshd", 0),  # has just ended: there is no status
        ),
        str(tmp_path),
    )
    assert list(found) == [
        Connection(12, 11, 1000, 112, 1, 34816),
        Connection(21, 20, 101, 121, 0, 0),
        Connection(31, 10, 0, 131, 0, 0),
        Connection(41, 10, 1001, 141, 1, 0),
    ]


def test_socket_inodes() -> None:
    with socket.socket() as one:
        inode = os.fstat(one.fileno()).st_ino
        assert inode in sessions.socket_inodes(os.getpid()) or one.fileno() > sessions.LINKS_MAX
    assert sessions.socket_inodes(2**22 + 1) == ()
