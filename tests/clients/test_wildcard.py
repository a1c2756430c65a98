"""A door on 0.0.0.0 and [::], in a network of its own: it says, and answers from, what was asked.

Two network namespaces with a cable between them. Nothing here reaches any other network.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.clients.programs import ENVIRONMENT, SECONDS, need
from tests.running import ROOT, Door, running

OURS = ("10.99.1.1", "10.99.1.2", "10.99.2.1", "fd99:1::1", "fd99:1::2", "fd99:2::1")
THEIRS = ("10.99.1.9", "10.99.2.9", "fd99:1::9", "fd99:2::9")

# Sends one datagram from a port to each address, and prints who answered within the given time.
SENDER = """
import json, select, socket, sys, time
port, source, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
found = []
for address in sys.argv[4:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind(("", source))
        host = address.partition("%")[0]
        zone = socket.if_nametoindex("veth") if host.startswith(("ff02", "fe80")) else 0
        if host.startswith("224."):
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            socket.inet_aton("10.99.1.9"))
        made.sendto(bytes(400), (host, port, 0, zone) if ":" in host else (host, port))
        while select.select([made], [], [], seconds)[0]:
            data, sender = made.recvfrom(2048)
            found.append((address, sender[0].partition("%")[0], data.decode()))
            break
print(json.dumps(found))
"""


def ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, check=check, env=ENVIRONMENT)
    return done.stdout.decode()


@dataclass
class Nets:
    """The door's namespace and the client's."""

    door: str
    client: str

    def run(self, *command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program where the client is."""
        need(command[0])
        return subprocess.run(
            ["ip", "netns", "exec", self.client, *command],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=ENVIRONMENT,
        )

    def send(self, port: int, *addresses: str, source: int = 0, seconds: float = 5.0) -> Any:
        """Return [address asked, address that answered, answer] for each that was answered."""
        words = (str(port), str(source), str(seconds), *addresses)
        done = self.run(sys.executable, "-c", SENDER, *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def nets() -> Iterator[Nets]:
    need("ip")
    if not ROOT:
        pytest.skip("only root may make a network namespace")
    made = Nets(f"pd{os.getpid()}d", f"pd{os.getpid()}c")
    try:
        for name in (made.door, made.client):
            if subprocess.run(
                ["ip", "netns", "add", name], check=False, env=ENVIRONMENT
            ).returncode:
                pytest.skip("no network namespace can be made here")
            quick = "for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done"
            ip("netns", "exec", name, "sh", "-c", quick)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", made.door, "link", "add", "veth", "type", "veth", "peer", "name", "other")
        ip("-n", made.door, "link", "set", "other", "netns", made.client)
        ip("-n", made.client, "link", "set", "other", "name", "veth")
        for name, addresses in ((made.door, OURS), (made.client, THEIRS)):
            for address in addresses:
                size, options = ("64", ["nodad"]) if ":" in address else ("24", ["brd", "+"])
                ip("-n", name, "addr", "add", f"{address}/{size}", "dev", "veth", *options)
            ip("-n", name, "link", "set", "veth", "up")
        ip("-n", made.client, "route", "add", "default", "dev", "veth")  # for 255.255.255.255
        yield made
    finally:
        for name in (made.door, made.client):
            ip("netns", "del", name, check=False)


@pytest.fixture(scope="module")
def wide(nets: Nets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door on all addresses of its namespace."""
    prefix = ("ip", "netns", "exec", nets.door)
    directory = tmp_path_factory.mktemp("wide") / "door"
    with running(directory, prefix=prefix, listen=("0.0.0.0", "::")) as door:
        yield door


@pytest.mark.parametrize("address", OURS)
def test_tcp_says_the_address_that_was_reached(nets: Nets, wide: Door, address: str) -> None:
    url = f"http://{f'[{address}]' if ':' in address else address}:{wide.port}/"
    text = nets.run("nc", "-N", address, str(wide.port), data=b"\0doc 2\n").stdout.decode()
    for line in (f"telnet {address} {wide.port}\r\n", f"nc {address} {wide.port}\r\n"):
        assert line in text
    assert url in text
    assert not any(other in text for other in OURS if other != address)
    done = nets.run("curl", "-s", f"{url}index.json")
    assert json.loads(done.stdout)["door"]["address"] == address
    assert url.encode() in nets.run("curl", "-s", url).stdout


def test_udp_says_and_answers_from_the_address_that_was_asked(nets: Nets, wide: Door) -> None:
    found = nets.send(wide.port, *OURS)
    assert [asked for asked, _, _ in found] == list(OURS)
    for asked, answered, text in found:
        assert answered == asked
        assert f"nc {asked} {wide.port}" in text
        assert not any(other in text for other in OURS if other != asked)


@pytest.mark.parametrize("address", ["10.99.2.1", "fd99:2::1"])
def test_ask_reaches_an_address_that_is_not_the_first(nets: Nets, wide: Door, address: str) -> None:
    """Its socket is connected: an answer from any other address would not be seen."""
    done = nets.run("panicdoor", "ask", f"[{address}]:{wide.port}")
    assert done.returncode == 0, done.stderr
    assert f"telnet {address} {wide.port}".encode() in done.stdout


def test_a_link_local_address(nets: Nets, wide: Door) -> None:
    shown = json.loads(ip("-n", nets.door, "-j", "addr", "show", "dev", "veth"))[0]["addr_info"]
    address = next(a["local"] for a in shown if a["scope"] == "link")
    found = nets.send(wide.port, f"{address}%veth")
    assert [answered for _, answered, _ in found] == [address]
    done = nets.run("nc", "-N", f"{address}%veth", str(wide.port), data=b"\0")
    assert b"PANICDOOR web1" in done.stdout


def test_the_doors_own_loopback(nets: Nets, wide: Door) -> None:
    for address in ("127.0.0.1", "::1"):
        done = subprocess.run(
            ["ip", "netns", "exec", nets.door, "nc", "-N", address, str(wide.port)],
            input=b"\0doc 2\n",
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=ENVIRONMENT,
        )
        assert f"telnet {address} {wide.port}\r\n".encode() in done.stdout


def test_broadcast_and_multicast_draw_no_answer(nets: Nets, wide: Door) -> None:
    many = ("10.99.1.255", "10.99.2.255", "255.255.255.255", "224.0.0.1", "ff02::1%veth")
    assert nets.send(wide.port, *many, seconds=0.3) == []
    assert len(nets.send(wide.port, "10.99.1.1", "fd99:1::1")) == 2


def test_a_port_below_1024_draws_no_answer(nets: Nets, wide: Door) -> None:
    assert nets.send(wide.port, "10.99.1.1", "fd99:1::1", source=903, seconds=0.3) == []


def test_an_address_that_comes_later(nets: Nets, wide: Door) -> None:
    ip("-n", nets.door, "addr", "add", "10.99.1.77/24", "dev", "veth")
    try:
        text = nets.run("nc", "-N", "10.99.1.77", str(wide.port), data=b"\0doc 2\n").stdout
        assert f"telnet 10.99.1.77 {wide.port}\r\n".encode() in text
        found = nets.send(wide.port, "10.99.1.77")
        assert [answered for _, answered, _ in found] == ["10.99.1.77"]
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("-n", nets.door, "addr", "del", "10.99.1.77/24", "dev", "veth")


def test_what_was_seen_did_not_upset_it(wide: Door) -> None:
    assert "bug" not in wide.said()
    assert Path(f"/proc/{wide.pid}").exists()
