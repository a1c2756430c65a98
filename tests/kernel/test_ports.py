"""Who holds a port, seen with the rights of root and of somebody else."""

import os
import socket
from pathlib import Path

import pytest
from tests.child import in_child
from tests.running import LOOPBACK, ROOT, free_port

from panicdoor.kernel import ports, process

SELF = f"pid {os.getpid()} ({process.name(os.getpid())})"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0", "::1", "::"])
def test_the_holder_is_named(host: str, kind: socket.SocketKind) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as sock:
        sock.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        udp = kind == socket.SOCK_DGRAM
        assert ports.holder(sock.getsockname()[1], udp) == SELF


def test_the_other_protocol_does_not_count() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, port))
        assert ports.holder(port, udp=False) == ports.UNLISTED
        assert ports.holder(port, udp=True) == SELF


def test_a_client_whose_source_port_it_is() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = free_port()
        with socket.create_connection(server.getsockname(), 5, (LOOPBACK, port)):
            assert ports.holder(port, udp=False) == SELF


def test_nobody_is_listed() -> None:
    assert ports.holder(free_port(), udp=False) == ports.UNLISTED
    with socket.socket() as idle:
        idle.bind((LOOPBACK, free_port()))
        assert ports.holder(idle.getsockname()[1], udp=False) == ports.UNLISTED


def test_a_connection_that_has_ended_is_nobodys() -> None:
    with socket.create_server((LOOPBACK, free_port())) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port), 5)
        accepted, _ = server.accept()
        accepted.close()  # first, so that it is this end which waits
        assert client.recv(1) == b""
        client.close()
    assert f":{port:04X} " in Path("/proc/net/tcp").read_text()
    assert ports.holder(port, udp=False) == ports.UNLISTED


@pytest.mark.skipif(not ROOT, reason="needs root, to hold what others may not see")
def test_somebody_invisible() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]

        def look() -> object:
            server.close()  # or it would be held here too
            return ports.holder(port, udp=False)

        said = in_child(look, nobody=True)
    assert said == "somebody whom only root can see"
