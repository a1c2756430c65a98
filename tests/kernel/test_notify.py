"""sd_notify(3) against real sockets, and against managers that are not there."""

import socket
from pathlib import Path

import pytest

from panicdoor.kernel.notify import notify


def manager(address: str) -> socket.socket:
    """A socket as systemd would have it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.setblocking(False)
    return sock


def test_a_path(tmp_path: Path) -> None:
    with manager(str(tmp_path / "notify")) as sock:
        notify(str(tmp_path / "notify"), "READY=1")
        assert sock.recv(100) == b"READY=1"


def test_an_abstract_name() -> None:
    with manager("\0panicdoor-test-notify") as sock:
        notify("@panicdoor-test-notify", "STOPPING=1")
        assert sock.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/" + "x" * 200, "@"])
def test_an_address_that_nobody_has(address: str) -> None:
    notify(address, "READY=1")


def test_a_manager_that_is_gone(tmp_path: Path) -> None:
    manager(str(tmp_path / "notify")).close()
    notify(str(tmp_path / "notify"), "READY=1")
    notify(str(tmp_path / "never"), "READY=1")


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    with manager(str(tmp_path / "notify")):
        for _ in range(2000):  # net.unix.max_dgram_qlen is 10 or 512
            notify(str(tmp_path / "notify"), "READY=1")
