"""The command login: this host as it is, and real servers that do what sshd might."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.commands import hosts
from tests.commands.asking import document, is_an_observer, parts, screen

from panicdoor.commands import login
from panicdoor.commands.login import Report, begin, look, wrong
from panicdoor.commands.login_stages import STAGES, Stage, State
from panicdoor.errors import CommandError
from panicdoor.kernel import mounts, socket_table, tasks


@contextmanager
def server(act: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                act(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def us(monkeypatch: pytest.MonkeyPatch, port: int) -> list[tasks.Stat]:
    """Make this process pass for sshd, and `port` for the one that is tried."""
    monkeypatch.setattr(login, "SSH", port)
    monkeypatch.setattr(tasks, "group", lambda pid: "")
    ours = tasks.stat(os.getpid())
    assert ours is not None
    return [ours._replace(name="sshd")]


def stage(report: Report, name: str) -> Stage:
    return next(stage for stage in report.stages if stage.name == name)


def test_it_only_looks() -> None:
    is_an_observer("login")


def test_every_stage_is_told() -> None:
    text = screen("login")
    for name, _ in STAGES:
        assert f"\n{name} " in text
    said = document("login")
    assert [one["name"] for one in said["stages"]] == [name for name, _ in STAGES]
    assert {one["state"] for one in said["stages"]} <= {state.value for state in State}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "127.0.0.2"])
def test_a_server_that_speaks(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with server(lambda peer: peer.sendall(b"SSH-2.0-x\x1b\r\n"), host) as port:
        stats = us(monkeypatch, port)
        report = look(begin(), stats, mounts.read()[0])
        assert stage(report, "listener").state is State.FINE
        assert stage(report, "banner").text.startswith("SSH-2.0-x\x1b after ")
        assert stage(report, "queue").state is State.FINE


def test_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "BANNER_S", 0.1)
    with server(lambda peer: time.sleep(0.3)) as port:
        report = look(begin(), us(monkeypatch, port), mounts.read()[0])
    assert stage(report, "banner").state is State.WRONG
    said = list(wrong(report))
    assert f"login fails at stage banner: port {port} accepts, then says nothing" in said[0]


def test_sshd_on_another_port_is_found_by_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda peer: peer.sendall(b"SSH-2.0-x\n")) as port:
        stats = us(monkeypatch, 1)
        report = look(begin(), stats, mounts.read()[0])
        assert f"port {port}" in stage(report, "listener").text or "port" in str(report)
        assert stage(report, "listener").state is State.FINE


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "SSH", 1)
    report = look(begin(), [], mounts.read()[0])
    assert stage(report, "listener").state in (State.WRONG, State.ABSENT)
    assert stage(report, "banner").state is State.ABSENT


def test_a_kernel_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket_table.Table:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(socket_table, "read", refuse)
    report = look(begin(), [], mounts.read()[0])
    assert stage(report, "listener").state is State.UNKNOWN


def test_connections_of_sshd_are_no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = hosts.stat(10, "sshd")
    connection = hosts.stat(11, "sshd")._replace(parent=10)
    assert not login._is_connection(listener, [listener, connection])
    assert login._is_connection(connection, [listener, connection])


def test_the_disk_is_asked_last_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def look(before: object, stats: object, mounted: object, wait: bool = False) -> Report:
        asked.append(wait)
        if wait:
            found = (Stage("home", State.WRONG, "gone\x1b"), Stage("sudo", State.WRONG, "told"))
        else:
            found = (Stage("home", State.UNKNOWN, "x"), Stage("sudo", State.FINE, "y"))
        return Report(found)

    monkeypatch.setattr(login, "look", look)
    text = "".join(parts("login"))
    assert asked == [False, True]
    before, after = text.split("asking the disk for: home ...\n")
    assert "unknown" in before
    assert "gone\\x1b" in after
    assert "told" not in after
    assert document("login")["stages"][0]["state"] == "unknown"
    assert asked == [False, True, False]


def test_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[list[int], int]:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(tasks, "pids", refuse)
    with pytest.raises(CommandError, match="/proc does not answer"):
        parts("login")


def test_the_sshd_of_a_container_is_not_this_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.readlink
    monkeypatch.setattr(
        os, "readlink", lambda path: "net:[1]" if path == "/proc/77/ns/net" else real(path)
    )
    monkeypatch.setattr(login, "SSH", 1)
    report = look(begin(), [hosts.stat(77, "sshd")], mounts.read()[0])
    assert "sshd runs" not in stage(report, "listener").text
    for state, there in (("S", True), ("Z", False)):
        report = look(begin(), [hosts.stat(2**22 + 1, "sshd", state)], mounts.read()[0])
        assert ("sshd runs" in stage(report, "listener").text) is there
