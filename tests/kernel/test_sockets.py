"""Binding: what the kernel says to ours, to a second door's, and to ports that others hold."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.child import in_child
from tests.running import LOOPBACK, ROOT, free_port

from panicdoor.errors import ConfigError
from panicdoor.kernel import ports, process, sockets

SELF = f"pid {os.getpid()} ({process.name(os.getpid())})"
Open = Callable[[str, int], tuple[int, ...]]


def listen_tcp(host: str, port: int) -> tuple[int, ...]:
    return (sockets.listen_tcp(host, port),)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is held is given up at once."""
    monkeypatch.setattr(sockets, "BIND_TRY_S", 0.0)


@pytest.fixture
def opened() -> Iterator[Callable[..., list[socket.socket]]]:
    """Adopt descriptors as sockets, and close them in the end."""
    found: list[socket.socket] = []

    def adopt(*fds: int) -> list[socket.socket]:
        added = [socket.socket(fileno=fd) for fd in fds]
        found.extend(added)
        return added

    yield adopt
    for sock in found:
        sock.close()


Adopt = Callable[..., list[socket.socket]]


def test_tcp_listens_and_shares_its_port_with_nobody(opened: Adopt) -> None:
    port = free_port()
    (listener,) = opened(sockets.listen_tcp(LOOPBACK, port))
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
    assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not os.get_blocking(listener.fileno())
    assert not os.get_inheritable(listener.fileno())
    with socket.create_connection((LOOPBACK, port), 5), listener.accept()[0]:
        pass


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("opener", [listen_tcp, sockets.open_udp], ids=["tcp", "udp"])
@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_a_port_that_is_held(opener: Open, host: str) -> None:
    udp = opener is not listen_tcp
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    before = os.listdir("/proc/self/fd")
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as held:
        held.bind((host, 0))
        if not udp:
            held.listen()
        port = held.getsockname()[1]
        with pytest.raises(ConfigError) as raised:
            opener(host, port)
    shown = f"[{host}]" if ":" in host else host
    assert str(raised.value) == f"{'udp' if udp else 'tcp'} {shown}:{port} is held by {SELF}"
    del raised
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_port_that_its_holder_lets_go_of(monkeypatch: pytest.MonkeyPatch, opened: Adopt) -> None:
    held = socket.socket()
    held.bind((LOOPBACK, 0))
    port = held.getsockname()[1]
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        held.close()

    monkeypatch.setattr(time, "sleep", nap)
    opened(sockets.listen_tcp(LOOPBACK, port))
    assert len(naps) == 1


def test_the_udp_port_is_ours_alone_once_tcp_is(opened: Adopt) -> None:
    """A second door of the same user fails at tcp, before udp would let it in."""
    port = free_port()
    opened(sockets.listen_tcp(LOOPBACK, port), *sockets.open_udp(LOOPBACK, port))
    assert ports.holder(port, udp=True) == SELF


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_orders_have_a_queue_of_their_own(host: str, opened: Adopt) -> None:
    port = free_port()
    rest, orders = opened(*sockets.open_udp(host, port))
    with socket.socket(rest.family, socket.SOCK_DGRAM) as client:
        for data in (b"\0", b"panicdoor order 1\n", b"", b"\x01ping"):
            client.sendto(data, (host, port))
    assert [rest.recv(100) for _ in range(3)] == [b"\0", b"", b"\x01ping"]
    assert orders.recv(100) == b"panicdoor order 1\n"


@pytest.mark.parametrize(
    ("host", "level", "kind", "size"),
    [
        (LOOPBACK, socket.IPPROTO_IP, sockets.IP_PKTINFO, 12),
        ("::1", socket.IPPROTO_IPV6, sockets.IPV6_PKTINFO, 20),
    ],
)
def test_a_datagram_says_where_it_arrived(
    host: str, level: int, kind: int, size: int, opened: Adopt
) -> None:
    port = free_port()
    rest, _ = opened(*sockets.open_udp(host, port))
    with socket.socket(rest.family, socket.SOCK_DGRAM) as client:
        client.sendto(b"\0", (host, port))
    _, ancillary, _, _ = rest.recvmsg(100, 256)
    assert [(a, b, len(data)) for a, b, data in ancillary] == [(level, kind, size)]


def test_both_families_on_one_port(opened: Adopt) -> None:
    port = free_port()
    opened(sockets.listen_tcp("0.0.0.0", port), sockets.listen_tcp("::", port))
    opened(*sockets.open_udp("0.0.0.0", port), *sockets.open_udp("::", port))


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_is_not_there_yet(host: str, opened: Adopt) -> None:
    port = free_port()
    opened(sockets.listen_tcp(host, port), *sockets.open_udp(host, port))


@pytest.mark.skipif(not ROOT, reason="needs root, to become somebody without its rights")
def test_a_port_that_this_user_may_not_bind() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 903:
        pytest.skip("everybody may bind port 903 here")

    def try_it() -> object:
        try:
            sockets.listen_tcp(LOOPBACK, 903)
        except ConfigError as error:
            return str(error)
        return ""

    said = "tcp 127.0.0.1:903: this user may not bind it; needs root or CAP_NET_BIND_SERVICE"
    assert in_child(try_it, nobody=True) == said
