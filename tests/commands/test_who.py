"""The command who: people by whichever source still tells of them."""

import os
import socket

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands import who
from panicdoor.commands.who import look, wrong
from panicdoor.kernel import accounts, inet, sessions, socket_table
from panicdoor.kernel.sessions import Connection, Entry, Session


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[object]]:
    """A host on which only these are logged in; its processes are this one and its parent."""
    sources: dict[str, list[object]] = {"connections": [], "utmp": [], "logind": []}
    monkeypatch.setattr(
        sessions, "connections", lambda stats: list(stats)[:0] + said("connections")
    )
    monkeypatch.setattr(sessions, "utmp", lambda: tuple(said("utmp")))
    monkeypatch.setattr(sessions, "logind", lambda: tuple(said("logind")))
    monkeypatch.setattr(accounts, "names", lambda kind: {0: "root", 1000: "alice", 101: "sshd"})

    def said(source: str) -> list[object]:
        return sources[source]

    return sources


def alice(pid: int = 12, parent: int = 11) -> Connection:
    return Connection(pid, parent, 1000, 100, 1, 34816)


def entry(pid: int, user: str = "alice") -> Entry:
    return Entry(sessions.USER_PROCESS, pid, "pts/0", user, "client.example", "192.0.2.7", 1)


def test_it_only_looks() -> None:
    is_an_observer("who")


def test_the_screen_fits_and_the_document_has_the_same() -> None:
    assert screen("who").count("\n") <= 24
    said = document("who")
    assert set(said) == {"findings", "logins", "unproven", "silent", "left_out"}


def test_nobody(host: dict[str, list[object]]) -> None:
    assert screen("who") == "Nobody logged in.\n"


def test_one_person_by_three_sources_is_one_row(host: dict[str, list[object]]) -> None:
    host["connections"] = [alice()]
    host["utmp"] = [entry(12)]
    host["logind"] = [Session("1", 1000, "alice", "", "192.0.2.7", "sshd", "active", 11, 5)]
    (login,) = look().logins
    assert (login.user, login.terminal, login.where) == ("alice", "pts/0", "192.0.2.7")
    assert login.sources[:2] == ("ssh", "logind")
    assert "alice  pts/0     192.0.2.7" in screen("who")


def test_utmp_alone_and_ended(host: dict[str, list[object]]) -> None:
    host["utmp"] = [entry(2**22 + 1), entry(os.getpid(), "bob"), entry(5)._replace(kind=2)]
    sources = {login.user: login.sources for login in look().logins}
    assert sources == {"alice": ("utmp, ended",), "bob": ("utmp",)}


def test_sessions_that_close_are_gone(host: dict[str, list[object]]) -> None:
    host["logind"] = [Session("1", 1000, "alice", "tty1", "", "login", "closing", 11, 5)]
    assert look().logins == ()


def test_who_has_not_logged_in_is_apart(host: dict[str, list[object]]) -> None:
    host["connections"] = [
        alice(),
        Connection(20, 19, 101, 100, 0, 0),
        Connection(30, 10, 0, 100, 0, 0),
        Connection(40, 10, 0, 100, 1, 34817),
    ]
    report = look()
    assert sorted(login.pid for login in report.logins) == [12, 40]
    assert sorted(login.pid for login in report.unproven) == [20, 30]
    assert list(wrong(report)) == []
    assert "2 at sshd have not logged in: ?, ?\n" in screen("who")


def test_many_that_do_not_log_in_are_a_finding(host: dict[str, list[object]]) -> None:
    host["connections"] = [Connection(n, 10, 101, 100, 0, 0) for n in range(20, 32)]
    (said,) = wrong(look())
    assert said.startswith("12 connections to sshd have not logged in (normal below 10)")


def test_what_they_say_is_escaped(host: dict[str, list[object]]) -> None:
    host["utmp"] = [entry(5, "\x1b[2J")._replace(line="\n", address="", host="x" * 256)]
    assert "\\x1b[2J" in screen("who")
    assert document("who")["logins"][0]["terminal"] == "\\x0a"


def test_many_are_bounded_and_said(
    host: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(who, "ROWS_MAX", 20)
    host["connections"] = [alice(n, 10) for n in range(100, 130)]
    text = screen("who")
    assert "(12 more logins left out)\n" in text
    assert document("who")["left_out"] == 10


def test_sources_that_are_not_there(
    host: dict[str, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "utmp", lambda: None)
    assert screen("who") == "Nobody logged in.\nnot there to be asked: utmp\n"
    assert document("who")["silent"] == ["utmp"]


def test_the_other_end_is_what_the_kernel_says() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0],
    ):
        peers = who._peers([os.getpid()])
    if os.getpid() not in peers:
        pytest.skip("this process has more descriptors than are looked at")
    assert peers[os.getpid()].startswith("127.0.0.1:")


def test_a_kernel_that_does_not_tell_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket_table.Table:
        raise PermissionError(1, "no")

    monkeypatch.setattr(socket_table, "read", refused)
    monkeypatch.setattr(sessions, "socket_inodes", lambda pid: (5,))
    assert who._peers([1]) == {}


def test_sockets_that_are_looked_through_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    one = inet.Socket(6, 2, 1, bytes(4), 22, bytes(4), 1, 0, 0, 0, 0, 5, 0)
    monkeypatch.setattr(socket_table, "read", lambda *_: socket_table.Table("", iter([one] * 9)))
    monkeypatch.setattr(sessions, "socket_inodes", lambda pid: (5,))
    assert who._peers([7]) == {7: "0.0.0.0:1"}
    monkeypatch.setattr(who, "SOCKETS_MAX", 0)
    assert who._peers([7]) == {}
