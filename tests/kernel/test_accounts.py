"""Names of users: from the files, without a name service, without waiting."""

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import accounts

PASSWD = b"""root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
+nis::::::
# alice:x:1000:1000::/:/bin/sh
alice:x:1000:1000:Alice:/home/alice:/bin/bash
short:x
odd:x:12z:1::/:
huge:x:4294967296:1::/:
minus:x:-2:1::/:
\x1b[2J:x:7:7::/:
"""


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    accounts._known.clear()
    yield
    accounts._known.clear()


def test_parse() -> None:
    assert accounts.parse(PASSWD) == {0: "root", 1000: "alice", 7: "\x1b[2J"}


def test_parse_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "NAMES_MAX", 3)
    text = b"".join(b"%s:x:%d:0::/:\n" % (b"u" * 100, n) for n in range(10))
    found = accounts.parse(text)
    assert list(found) == [0, 1, 2]
    assert set(found.values()) == {"u" * accounts.NAME_MAX}


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    accounts.parse(data)


@given(st.lists(st.sampled_from([b"a", b":", b"\n", b"0", b"42", b"x", b"\xff"])))
def test_no_lines_raise(pieces: list[bytes]) -> None:
    accounts.parse(b"".join(pieces))


def test_it_agrees_with_the_library() -> None:
    accounts.remember()
    local = {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    for entry in pwd.getpwall():
        if entry.pw_name in local:
            assert accounts.user(entry.pw_uid) == pwd.getpwuid(entry.pw_uid).pw_name
    assert accounts.names("group")[0] == grp.getgrgid(0).gr_name
    assert accounts.user(4_000_000_000) == "4000000000"


def test_what_lies_in_memory_is_read_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwd"
    monkeypatch.setitem(accounts.FILES, "user", str(file))
    file.write_bytes(b"old:x:5:5::/:\n")
    accounts.remember()
    file.write_bytes(b"new:x:5:5::/:\n")
    assert accounts.user(5) in ("new", "old")  # old: where the file system cannot say


def test_what_was_read_last_serves_when_the_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwd"
    monkeypatch.setitem(accounts.FILES, "user", str(file))
    assert accounts.user(5) == "5"
    file.write_bytes(b"last:x:5:5::/:\n")
    accounts.remember()
    file.unlink()
    assert accounts.user(5) == "last"
    accounts.remember()
    assert accounts.user(5) == "last"


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PIECE", 100)
    file = tmp_path / "passwd"
    file.write_bytes(b"".join(b"user%d:x:%d:5::/:\n" % (n, n) for n in range(100)))
    data = accounts._cached(str(file))
    assert data in (None, file.read_bytes())


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/etc/passwd", str(tmp_path), str(tmp_path / "none")):
        accounts._cached(path)
    assert len(os.listdir("/proc/self/fd")) == before
