"""The command services: hosts with systemd, without it, and with one that hangs."""

import pytest
from tests.commands.asking import document, is_an_observer, screen

from panicdoor.commands.services import look, wrong
from panicdoor.errors import CommandError
from panicdoor.kernel import systemd
from panicdoor.kernel.dbus import DBusError
from panicdoor.kernel.systemd import Unit

BAD = Unit("bad.service", "Bad \x1b[2J one", "loaded", "failed", "failed")
LOOP = Unit("loop.service", "", "loaded", "activating", "auto-restart")


def systemd_that(monkeypatch: pytest.MonkeyPatch, answer: tuple[Unit, ...] | Exception) -> None:
    def units(states: tuple[str, ...], seconds: float) -> tuple[Unit, ...]:
        assert states == ("failed", "auto-restart")
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(systemd, "booted", lambda: True)
    monkeypatch.setattr(systemd, "units", units)


def test_it_only_looks() -> None:
    is_an_observer("services")


def test_without_systemd_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "booted", lambda: False)
    assert "systemd does not run this host, " in screen("services")
    said = document("services")
    assert said["units"] == []
    assert said["absent"].endswith(" does")


def test_none_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd_that(monkeypatch, ())
    assert screen("services") == "No unit has failed.\n"


def test_failed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd_that(monkeypatch, (BAD, LOOP, *[BAD] * 7))
    text = screen("services")
    assert text.startswith("! bad.service (Bad \\x1b[2J one) has failed\n! loop.service ends")
    assert "! 4 more have failed\n" in text
    assert "bad.service   failed" in text
    said = document("services")
    assert len(said["units"]) == 9
    assert said["units"][0] == {**BAD._asdict(), "description": "Bad \\x1b[2J one"}


def test_many(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd_that(monkeypatch, (BAD,) * 150)
    assert "(50 more units left out)\n" in screen("services")
    assert document("services")["left_out"] == 50


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TimeoutError(), "it does not answer in 1.0 s"),
        (FileNotFoundError(), "its socket is not there, or closed"),
        (ConnectionRefusedError(), "its socket is not there, or closed"),
        (DBusError("it closes the connection"), "it closes the connection"),
    ],
)
def test_a_systemd_that_is_ill(monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    systemd_that(monkeypatch, error)
    assert list(wrong(look())) == [f"systemd (pid 1) can do nothing: {why}"]
    assert document("services")["silent"] == why


def test_only_root_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd_that(monkeypatch, PermissionError())
    with pytest.raises(CommandError, match="only root"):
        screen("services")
    systemd_that(monkeypatch, OSError(5, "Input/output error"))
    with pytest.raises(CommandError, match="Input/output error"):
        screen("services")
