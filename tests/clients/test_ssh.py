"""A door without ssh says so to every ssh client, in a line that the client shows, and closes."""

import socket
from pathlib import Path

import pytest
from tests.clients.programs import piped, run
from tests.running import LOOPBACK, Door, read_all

LINE = "This door has no ssh yet. Send a zero byte, or connect with telnet."
SSH = ("ssh", "-v", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes")


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_openssh_shows_the_line_and_ends(house: Door, host: str) -> None:
    done = run(*SSH, "-p", str(house.port), f"nobody@{host}", "true", seconds=5)
    assert done.returncode == 255
    said = done.stderr.decode("ascii")
    assert f"kex_exchange_identification: banner line 0: {LINE}" in said
    assert "banner line 1" not in said
    assert "reset" not in said.lower()


def test_plink_ends(house: Door) -> None:
    done = run("plink", "-ssh", "-batch", "-P", str(house.port), f"nobody@{LOOPBACK}", seconds=5)
    assert done.returncode != 0
    assert done.stderr


def test_keyscan_ends(house: Door) -> None:
    done = run("ssh-keyscan", "-T", "2", "-p", str(house.port), LOOPBACK, seconds=5)
    assert done.stdout == b""


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-x\r\n", b"SSH-1.5-x\n", b"SSH-2.0-x\r\n" + b"\0" * 1000]
)
def test_a_banner_gets_one_line_and_no_reset(house: Door, banner: bytes) -> None:
    with socket.create_connection((LOOPBACK, house.port), 5) as client:
        client.sendall(banner)
        assert read_all(client) == f"{LINE}\r\n".encode()


def test_a_late_banner(house: Door) -> None:
    """One that was held up longer than the door waits: the line comes after the greeting."""
    with piped("nc", LOOPBACK, str(house.port)) as client:
        client.until("Door key SHA256:")
        client.until("\n")
        client.send(b"SSH-2.0-late\r\n")
        assert client.until("\n") == f"{LINE}\n"


def test_a_late_openssh(house: Door, tmp_path: Path) -> None:
    """A real ssh whose first words reach the door only after the greeting."""
    late = tmp_path / "late"
    late.write_text(
        f"exec 3<>/dev/tcp/{LOOPBACK}/{house.port}\n"
        "read -r greeting <&3; printf '%s\\n' \"$greeting\"\n"
        "read -r banner; printf '%s\\n' \"$banner\" >&3\n"
        "cat <&3\n"
    )
    done = run(*SSH, "-o", f"ProxyCommand=bash {late}", "nobody@door", "true", seconds=8)
    said = done.stderr.decode("ascii")
    assert "banner line 0: panicdoor of web1" in said
    assert f": {LINE}" in said
    assert done.returncode == 255


def test_ssh_inside_tls(house: Door) -> None:
    proxy = f"openssl s_client -quiet -connect {LOOPBACK}:{house.port}"
    done = run(*SSH, "-o", f"ProxyCommand={proxy}", "nobody@door", "true", seconds=8)
    assert b"ssh inside TLS is not spoken here: use ssh without TLS." in done.stderr
