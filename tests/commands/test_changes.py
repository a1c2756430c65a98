"""The command changes: this host's, made-up logs, boots, and what is not there."""

import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.asking import document, parts, screen

from panicdoor.commands import changes
from panicdoor.commands.changes import Boot, Report, boots
from panicdoor.commands.registry import COMMANDS, Level, Where
from panicdoor.errors import CommandError
from panicdoor.kernel import clock, package_logs, recent, sessions, systemd


def entry(kind: int, user: bytes, at: int) -> bytes:
    head = struct.pack("=h2xi32s4s32s256shh", kind, 0, b"~", b"", user, b"", 0, 0)
    if sessions.utmp_size(0) == sessions.NARROW_SIZE:
        return head + struct.pack("=iii16s20x", 0, at, 0, b"")
    return head + struct.pack("=qqq16s20x4x", 0, at, 0, b"")


BOOT, SHUTDOWN = (2, b"reboot"), (1, b"shutdown")


def test_it_only_looks_and_may_wait() -> None:
    command = COMMANDS["changes"]
    assert (command.level, command.where) == (Level.OBSERVE, Where.WORKER)
    for example in command.examples:
        pattern = ".*".join(map(re.escape, example.output.split("...")))
        assert re.fullmatch(pattern, screen(example.line).strip("\n"), re.DOTALL)


def test_boots_and_how_they_came_about() -> None:
    data = b"".join(
        entry(kind, user, at)
        for at, (kind, user) in [
            (10, BOOT), (20, SHUTDOWN), (30, BOOT), (40, BOOT), (45, (7, b"alice")), (50, SHUTDOWN),
        ]
    )  # fmt: skip
    assert boots(data, 0) == [Boot(40, False), Boot(30, True), Boot(10, None)]
    assert boots(data, 35) == [Boot(40, False)]
    assert boots(data[7:], 25) == [Boot(40, False), Boot(30, True)]
    assert boots(b"", 0) == []


@given(st.binary(max_size=1200))
def test_no_bytes_raise(data: bytes) -> None:
    boots(data, 0)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "conf\x1b").write_text("")
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    (tmp_path / "dpkg.log").write_text(
        f"2020-01-01 00:00:00 install old:all <none> 1\n{now} upgrade exporter:all 1.9 2.0\n"
    )
    (tmp_path / "wtmp").write_bytes(entry(*BOOT, 10) + entry(*BOOT, int(time.time())))
    logs = ((str(tmp_path / "dpkg.log"), package_logs.parse_dpkg),)
    monkeypatch.setattr(package_logs, "LOGS", logs)
    monkeypatch.setattr(changes, "WTMP", str(tmp_path / "wtmp"))
    monkeypatch.setattr(changes, "ETC", str(etc))
    started = {"cron.service": time.time() - 60, "old.service": 0.0}
    monkeypatch.setattr(systemd, "started", lambda: started)
    return tmp_path


def test_what_is_told(host: Path) -> None:
    said = document("changes")
    assert [(c["kind"], c["package"], c["detail"]) for c in said["packages"]] == [
        ("upgrade", "exporter", "1.9 -> 2.0")
    ]
    assert [file["path"] for file in said["files"]] == [f"{host}/etc/conf\\x1b"]
    assert [boot["clean"] for boot in said["boots"]] == [False]
    assert [unit["name"] for unit in said["units"]] == ["cron.service"]
    assert said["silent"] == []
    text = "".join(parts("changes"))
    assert "AND NO SHUTDOWN BEFORE IT" in text
    assert "exporter 1.9 -> 2.0" in text
    assert "conf\\x1b" in text


def test_each_file_is_named_before_it_is_read(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(self: recent.Walk, folder: str, since: float) -> list[recent.File]:
        raise InterruptedError

    monkeypatch.setattr(recent.Walk, "newer", hangs)
    said: list[object] = []
    with pytest.raises(InterruptedError):
        said.extend(changes.look(86400))
    steps: list[object] = []
    for step in changes.look(86400):
        steps.append(step)
        if step == changes.ETC:
            break
    assert steps == [f"{host}/dpkg.log", f"{host}/wtmp", f"{host}/etc"]


def test_what_is_not_there_is_said(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "wtmp").unlink()
    (host / "dpkg.log").unlink()
    monkeypatch.setattr(systemd, "started", lambda: None)
    monkeypatch.setattr(clock, "boot_time", lambda: int(time.time()) - 10)
    said = document("changes")
    assert len(said["silent"]) == 3
    assert said["boots"][0]["clean"] is None
    assert "not there to be asked: " in "".join(parts("changes"))


def test_many_fit(host: Path) -> None:
    now = time.time()
    report = Report(
        now - 60,
        now,
        [package_logs.Change(now, "install", f"p{n}\x1b", "v" * 200) for n in range(5000)],
        [recent.File(f"/etc/{'d' * 90}/{n}", now) for n in range(2000)],
        [Boot(now, None)] * 40,
        [(f"u{n}.service\n", now) for n in range(900)],
        ["x"],
        True,
    )
    text = "".join(changes._lines(report))
    assert text.isascii()
    assert max(map(len, text.split("\n"))) <= 80
    assert "(4988 more packages and runs left out)\n" in text
    assert "not all were looked at" in text


def test_how_far_to_look_back(host: Path) -> None:
    now = int(time.time())
    boots = b"".join(entry(*BOOT, now - ago) for ago in (3 * 86400, 7200, 60))
    (host / "wtmp").write_bytes(boots)
    assert len(document("changes --since 90s")["boots"]) == 1
    assert len(document("changes --since 3h")["boots"]) == 2
    assert len(document("changes")["boots"]) == 2
    assert len(document("changes --since 4d")["boots"]) == 3
    with pytest.raises(CommandError, match="--since is a time such as 90s, 15m, 6h or 2d, not"):
        parts("changes --since 0h")
