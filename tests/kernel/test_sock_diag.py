"""Sockets by sock_diag: real ones, and bytes that are none."""

import os
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel import netlink
from panicdoor.kernel.inet import ESTABLISHED, LISTEN, TCP, UDP, UNCONNECTED
from panicdoor.kernel.sock_diag import parse, read, request

FAMILIES = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def test_a_request_is_as_the_header_says() -> None:
    asked = request(socket.AF_INET, TCP, (LISTEN,))
    assert asked == struct.pack("=BBBxI", 2, 6, 0, 1 << 10) + bytes(48)
    assert request(socket.AF_INET6, UDP, (1, 7))[:8] == struct.pack("=BBBxI", 10, 17, 64, 0x82)


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_listener_and_its_queue(family: int) -> None:
    with socket.socket(family) as listener:
        listener.bind((FAMILIES[socket.AddressFamily(family)], 0))
        listener.listen(3)
        port = listener.getsockname()[1]
        clients = [socket.create_connection(listener.getsockname()[:2]) for _ in range(2)]
        found = [s for s in read(family, TCP, (LISTEN,)) if s.port == port]
        assert [(s.state, s.receive, s.send, s.uid) for s in found] == [(LISTEN, 2, 3, os.getuid())]
        assert found[0].inode == os.fstat(listener.fileno()).st_ino
        assert found[0].local == socket.inet_pton(family, listener.getsockname()[0])
        for client in clients:
            client.close()


def test_bytes_that_nobody_reads_and_a_peer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        ours, _ = listener.accept()
        with ours:
            client.send(b"x" * 1000)
            inode = os.fstat(ours.fileno()).st_ino
            found = read(socket.AF_INET, TCP, (ESTABLISHED,))
            mine = next(one for one in found if one.inode == inode)
            assert mine.remote_port == client.getsockname()[1]
            assert mine.receive == 1000


def test_datagrams_that_found_no_room_are_counted() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        for _ in range(100):
            sender.sendto(b"x" * 1000, receiver.getsockname())
        port = receiver.getsockname()[1]
        found = [s for s in read(socket.AF_INET, UDP, (UNCONNECTED,)) if s.port == port]
        assert len(found) == 1
        assert found[0].drops > 50
        assert found[0].receive > 0


@settings(max_examples=300, deadline=None, database=None)
@given(st.binary(max_size=200), st.sampled_from([TCP, UDP]))
def test_no_bytes_raise_anything_else(data: bytes, protocol: int) -> None:
    try:
        found = parse(data, protocol)
    except netlink.NetlinkError:
        return
    assert 0 <= found.port <= 65535
    assert len(found.local) in (4, 16)


def test_too_few_bytes_are_an_error() -> None:
    with pytest.raises(netlink.NetlinkError, match="a socket in 71 bytes"):
        parse(bytes(71), TCP)
    assert parse(bytes(72), UDP).drops == -1
