"""The stages of a login, each fine, wrong, unknown and absent, on hosts made of folders."""

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import hosts

from panicdoor.commands import login_stages
from panicdoor.commands.login_stages import STAGES, Seen, Stage, State, all_of
from panicdoor.kernel import cgroups, dbus, faillock, inet, systemd
from panicdoor.kernel import pressure as kernel_pressure
from panicdoor.kernel.banner import Said
from panicdoor.kernel.cached import Files, NotInMemoryError

FINE, WRONG, UNKNOWN, ABSENT = State.FINE, State.WRONG, State.UNKNOWN, State.ABSENT
PASSWD = b"root:x:0:0:root:/root:/bin/bash\n"
SSHD = hosts.stat(411, "sshd")


def mode(kind: int, bits: int, uid: int = 0) -> os.stat_result:
    return os.stat_result((kind | bits, 1, 1, 1, uid, 0, 0, 0, 0, 0))


FILE, FOLDER = mode(stat.S_IFREG, 0o755), mode(stat.S_IFDIR, 0o755)
WHOLE: Mapping[str, bytes | os.stat_result] = {
    "/etc/passwd": PASSWD,
    "/etc/shadow": FILE,
    "/bin/bash": b"#!",
    "/usr/sbin/sshd": FILE,
    "/run/sshd": FOLDER,
    "/etc/pam.d": FOLDER,
    "/etc/pam.d/sshd": FILE,
    "/etc/ssh/sshd_config": b"UsePAM yes\n",
    "/etc/nsswitch.conf": b"passwd: files systemd\n",
    "/usr/bin/sudo": mode(stat.S_IFREG, 0o4755),
    "/etc/sudoers": mode(stat.S_IFREG, 0o440),
    "/root": FOLDER,
}
GONE = object()  # what is not there, where tests change the host
FORGOTTEN = object()  # what is not in memory


class Made(Files):
    """The files of a made-up host."""

    def __init__(self, found: Mapping[str, object]) -> None:
        super().__init__(())
        self._found = found

    def stat(self, path: str) -> os.stat_result | None:
        found = self._found.get(path)
        if found is FORGOTTEN:
            raise NotInMemoryError
        if isinstance(found, OSError):
            raise found
        return FILE if isinstance(found, bytes) else found  # type: ignore[return-value]

    def read(self, path: str, most: int = 0) -> bytes | None:
        self.stat(path)
        found = self._found.get(path)
        return found[:most] if isinstance(found, bytes) and most else found  # type: ignore[return-value]


def listening(port: int = 22, waiting: int = 0, most: int = 128) -> inet.Socket:
    zero = bytes(4)
    return inet.Socket(inet.TCP, 2, inet.LISTEN, zero, port, zero, 0, waiting, most, 0, 0, 5, 0)


def seen(files: Mapping[str, object] | None = None, **changed: Any) -> Seen:
    found = {**WHOLE, **(files or {})}
    host = Seen(
        Made({path: what for path, what in found.items() if what is not GONE}),
        (SSHD,),
        (listening(),),
        "",
        (SSHD,),
        (22,),
        {22: Said("SSH-2.0-OpenSSH_9.2", "", 0.012)},
        1,
        "",
    )
    return replace(host, **changed)


def one(name: str, host: Seen) -> Stage:
    return next(stage for stage in all_of(host) if stage.name == name)


@pytest.fixture(autouse=True)
def no_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stages ask of this machine itself is as on a host without faillock and systemd."""
    monkeypatch.setattr(faillock.look, "__defaults__", ((str(tmp_path / "none"),),))
    monkeypatch.setattr(systemd, "booted", lambda: False)
    load = kernel_pressure.Load(0, 0, 0, 1, 100)
    monkeypatch.setattr(kernel_pressure, "load", lambda: load)


def test_a_whole_host() -> None:
    assert {stage.name: stage.state for stage in all_of(seen())} == {
        name: ABSENT if name in ("locked out", "bus") else FINE for name, _ in STAGES
    }


NOBODY: dict[str, Any] = {"servers": (), "ports": (), "listening": (), "said": {}}


@pytest.mark.parametrize(
    ("name", "files", "changed", "state", "said"),
    [
        ("listener", {}, {"ports": ()}, WRONG, "sshd runs (pid 411) and listens on no port"),
        ("listener", {}, NOBODY, WRONG, "nobody listens"),
        ("listener", {"/usr/sbin/sshd": GONE}, NOBODY, ABSENT, "this host has no sshd"),
        ("listener", {}, {**NOBODY, "silent": "no"}, UNKNOWN, "no"),
        ("queue", {}, {"listening": (listening(22, 128),)}, WRONG, "128 connections wait at port"),
        ("queue", {}, {"listening": (listening(22, 127),)}, FINE, "127 wait"),
        ("queue", {}, NOBODY, ABSENT, "nobody listens"),
        ("banner", {}, {"said": {22: Said("", "accepts, then says nothing", 1.0)}}, WRONG,
         "port 22 accepts, then says nothing (within 1.0 s)"),
        ("banner", {}, {"said": {22: Said("Exceeded MaxStartups", "", 0)}}, WRONG,
         "port 22 says: Exceeded MaxStartups"),
        ("banner", {}, {"said": {}}, UNKNOWN, "port 22 could not be tried"),
        ("banner", {}, NOBODY, ABSENT, "nobody listens"),
        ("waiting", {}, {"unproven": 9}, FINE, "9 have not logged in yet, of 10"),
        ("waiting", {}, {"unproven": 10}, WRONG, "sshd refuses others at random"),
        ("waiting", {"/etc/ssh/sshd_config": b"#MaxStartups 5\n maxstartups 30:50:60"},
         {"unproven": 29}, FINE, "of 30"),
        ("waiting", {"/etc/ssh/sshd_config": FORGOTTEN}, {}, FINE, "of 10"),
        ("accounts", {"/etc/passwd": GONE}, {}, WRONG, "/etc/passwd is missing"),
        ("accounts", {"/etc/passwd": b"toor:x:0:0::/:/x\nroot:x:1:0::/:/x"}, {}, WRONG, "no root"),
        ("accounts", {"/etc/shadow": GONE}, {}, WRONG, "/etc/shadow is missing"),
        ("accounts", {"/etc/passwd": FORGOTTEN}, {}, UNKNOWN, "only the disk knows"),
        ("shell", {"/bin/bash": GONE}, {}, WRONG, "root's shell /bin/bash is missing"),
        ("shell", {"/bin/bash": mode(stat.S_IFREG, 0o644)}, {}, WRONG, "cannot be run (mode 644)"),
        ("shell", {"/bin/bash": OSError(5, "Input/output error")}, {}, UNKNOWN, "Input/output"),
        ("nologin", {"/etc/nologin": b"\x1b[2J\nback at 9"}, {}, WRONG, "only root in: \x1b[2J"),
        ("nologin", {"/run/nologin": b""}, {}, WRONG, "/run/nologin lets only root in"),
        ("nologin", {"/run/nologin": FORGOTTEN}, {}, UNKNOWN, "only the disk knows"),
        ("PAM", {"/etc/pam.d/sshd": GONE}, {}, WRONG, "/etc/pam.d/sshd is missing"),
        ("PAM", {"/etc/pam.d": GONE}, {}, ABSENT, "no PAM"),
        ("PAM", {"/etc/ssh/sshd_config": b"#UsePAM yes"}, {}, ABSENT, "does not say"),
        ("names", {"/etc/nsswitch.conf": b"passwd: files sss\n"}, {}, WRONG, "asked of sssd"),
        ("names", {"/etc/nsswitch.conf": b"passwd: files sss\n"},
         {"stats": (hosts.stat(9, "sssd"),)}, FINE, "files sss"),
        ("names", {"/etc/nsswitch.conf": GONE}, {}, FINE, "files"),
        ("sudo", {"/usr/bin/sudo": GONE}, {}, ABSENT, "no sudo"),
        ("sudo", {"/usr/bin/sudo": FILE}, {}, WRONG, "not root's and setuid"),
        ("sudo", {"/etc/sudoers": GONE}, {}, WRONG, "/etc/sudoers is missing"),
        ("sudo", {"/etc/sudoers": mode(stat.S_IFREG, 0o666)}, {}, WRONG, "mode 666"),
        ("sudo", {"/etc/sudoers": mode(stat.S_IFREG, 0o440, 1000)}, {}, WRONG, "owner 1000"),
        ("home", {"/root": GONE}, {}, WRONG, "root's home /root is missing"),
        ("home", {"/etc/passwd": b""}, {}, UNKNOWN, "there is no root"),
    ],
)  # fmt: skip
def test_stages(
    name: str, files: dict[str, object], changed: dict[str, Any], state: State, said: str
) -> None:
    stage = one(name, seen(files, **changed))
    assert stage.state is state, stage
    assert said in stage.text


def test_a_shell_whose_loader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panicdoor.kernel.elf.interpreter", lambda head: "/lib/ld.so")
    stage = one("shell", seen())
    assert (stage.state, stage.text.split(",")[0]) == (WRONG, "/lib/ld.so")
    assert one("shell", seen({"/lib/ld.so": FILE})).state is FINE


def test_debian_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/etc/debian_version")
    stage = one("listener", seen({"/run/sshd": GONE}, **NOBODY))
    assert "nor can it: /run/sshd is missing" in stage.text


@pytest.mark.parametrize(("tasks", "state"), [(0.94, FINE), (0.96, WRONG)])
def test_no_tasks_left(monkeypatch: pytest.MonkeyPatch, tasks: float, state: State) -> None:
    with (
        open("/proc/sys/kernel/pid_max") as one_limit,
        open("/proc/sys/kernel/threads-max") as other,
    ):
        most = min(int(one_limit.read()), int(other.read()))
    load = kernel_pressure.Load(0, 0, 0, 1, int(most * tasks))
    monkeypatch.setattr(kernel_pressure, "load", lambda: load)
    assert one("tasks", seen()).state is state


def test_a_group_without_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "system.slice" / "ssh.service"
    inner.mkdir(parents=True)
    for folder, used, most in ((inner, "5", "max"), (inner.parent, "9", "9")):
        (folder / "pids.current").write_text(used)
        (folder / "pids.max").write_text(most)
    monkeypatch.setattr(cgroups, "hierarchy", lambda _: cgroups.Hierarchy(str(tmp_path), 2))
    stage = one("tasks", seen(group="/system.slice/ssh.service"))
    assert "group /system.slice has 9 of 9 tasks" in stage.text
    (inner.parent / "pids.max").write_text("10")
    assert one("tasks", seen(group="/system.slice/ssh.service")).state is FINE
    assert one("tasks", seen(group="/" * 500)).state is FINE


@pytest.mark.parametrize(
    ("failures", "config", "state"),
    [(2, GONE, FINE), (3, GONE, WRONG), (4, b"deny = 5\n", FINE), (5, b"# x\ndeny=5", WRONG)],
)
def test_locked_out(
    monkeypatch: pytest.MonkeyPatch, failures: int, config: object, state: State
) -> None:
    locked = (faillock.Locked("root\x1b", failures, 180.0, "192.0.2.9"),)
    monkeypatch.setattr(faillock, "look", lambda: locked)
    stage = one("locked out", seen({"/etc/security/faillock.conf": config}))
    assert stage.state is state
    if state is WRONG:
        assert f"root\x1b ({failures}, last 3.0 min ago from 192.0.2.9)" in stage.text


def test_the_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(systemd, "booted", lambda: True)
    monkeypatch.setattr(login_stages, "BUS", str(tmp_path / "bus"))
    assert "does not answer, so each login waits 25 s: " in one("bus", seen()).text

    def hangs(path: str, seconds: float) -> dbus.Bus:
        raise TimeoutError

    monkeypatch.setattr(dbus, "connect", hangs)
    assert one("bus", seen()).text.endswith(": it hangs")


def test_a_bus_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answers:
        def __enter__(self) -> "Answers":
            return self

        def __exit__(self, *_: object) -> None:
            return

        def authenticate(self) -> bool:
            return True

    monkeypatch.setattr(systemd, "booted", lambda: True)
    monkeypatch.setattr(dbus, "connect", lambda path, seconds: Answers())
    assert "systemd-logind does not run" in one("bus", seen()).text
    both = (hosts.stat(1, "systemd"), hosts.stat(2, "systemd-logind"))
    assert one("bus", seen(stats=both)).state is FINE


@given(st.binary(max_size=200))
def test_no_files_raise(data: bytes) -> None:
    files = {path: data for path, what in WHOLE.items() if isinstance(what, bytes)}
    assert len(list(all_of(seen(files)))) == len(STAGES)


def test_hostile_accounts_are_quick() -> None:
    began = time.monotonic()
    list(all_of(seen({"/etc/passwd": b"root" * 200_000, "/etc/nsswitch.conf": b"passwd:" * 9999})))
    assert time.monotonic() - began < 1
