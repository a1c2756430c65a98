"""Both ways of asking, beside ss(8)."""

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from panicdoor.kernel import netlink, socket_table
from panicdoor.kernel.inet import LISTEN, TCP, UDP, UNCONNECTED, endpoint


@pytest.fixture
def ours() -> Iterator[set[str]]:
    """A few listeners, as they must be found."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    held.append(socket.create_server(("::1", 0), family=socket.AF_INET6))
    yield {f"{h.getsockname()[0]} {h.getsockname()[1]}" for h in held}
    for one in held:
        one.close()


def listening() -> tuple[str, set[str]]:
    told = socket_table.read(TCP, (LISTEN,))
    text = {endpoint(one.local, one.port) for one in told.sockets}
    return told.source, {one.replace("[", "").replace("]", "").replace(":", " ") for one in text}


def flat(names: set[str]) -> set[str]:
    return {name.replace(":", " ") for name in names}


def test_sock_diag_first(ours: set[str]) -> None:
    source, found = listening()
    assert source == "sock_diag"
    assert flat(ours) <= found


def test_text_where_netlink_is_refused(ours: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "SOCK_DIAG", 31)  # a protocol that no kernel has
    source, found = listening()
    assert source == "/proc/net"
    assert flat(ours) <= found


def test_nothing_to_tell() -> None:
    assert list(socket_table.read(TCP, (13,)).sockets) == []  # TCP_BOUND_INACTIVE: nobody is so


@pytest.mark.parametrize(
    ("protocol", "state", "option"), [(TCP, LISTEN, "-tlnH"), (UDP, UNCONNECTED, "-ulnH")]
)
def test_it_says_what_ss_says(protocol: int, state: int, option: str, ours: set[str]) -> None:
    ss = shutil.which("ss")
    if ss is None:
        pytest.skip("ss(8) is not installed")

    def both() -> tuple[list[str], list[str]]:
        told = subprocess.run([ss, option], capture_output=True, text=True, check=True).stdout
        theirs = [line.split()[3].partition("%")[0] for line in told.splitlines()]
        mine = socket_table.read(protocol, (state,)).sockets
        return sorted(theirs), sorted(endpoint(one.local, one.port) for one in mine if one.port)

    for _ in range(5):  # others on this machine come and go
        theirs, mine = both()
        if theirs == mine:
            return
    assert mine == theirs
