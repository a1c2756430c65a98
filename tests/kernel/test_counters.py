"""What the network stack counts, and what is limited."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel import counters, rtnetlink
from panicdoor.kernel.counters import (
    Limit,
    grown,
    network,
    parse_interfaces,
    parse_numbers,
    parse_pairs,
    parse_sockstat,
)


def test_pairs_of_lines() -> None:
    text = b"TcpExt: A B C\nTcpExt: 1 2 -3\nnoise\nIp: X\nIp: 9\nUdp: Y\nTcp: 5\nTcp: x 6\n"
    assert parse_pairs(text) == {
        "TcpExt.A": 1, "TcpExt.B": 2, "TcpExt.C": -3, "Ip.X": 9,
    }  # fmt: skip
    assert parse_pairs(b"A: b c d\nA: 1 2\nB: x\nB: y") == {"A.b": 1, "A.c": 2}


def test_sockstat() -> None:
    text = b"sockets: used 290\nTCP: inuse 9 orphan 0 tw 4 alloc 18 mem 1\nodd: a\n\nx: y z\n"
    assert parse_sockstat(text) == {
        "sockets.used": 290, "TCP.inuse": 9, "TCP.orphan": 0, "TCP.tw": 4, "TCP.alloc": 18,
        "TCP.mem": 1,
    }  # fmt: skip


def test_numbers() -> None:
    assert parse_numbers(b"1376\t0\t9223372036854775807\n") == [1376, 0, 9223372036854775807]
    assert parse_numbers(b"1 x") == parse_numbers(b"") == []


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"A:", b"b", b"1", b"-2", b"\n", b"9" * 99]), max_size=30).map(
        b" ".join
    )
)
def test_no_text_raises(text: bytes) -> None:
    found = [*parse_pairs(text).values(), *parse_sockstat(text).values(), *parse_numbers(text)]
    assert all(abs(number) < 1 << 70 for number in found)


def test_a_counter_grows() -> None:
    before = counters.network()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        for _ in range(100):
            sender.sendto(b"x" * 1000, receiver.getsockname())
    after = counters.network()
    assert (grown(before, after, "Udp.RcvbufErrors") or 0) > 50
    assert grown(before, after, "Udp.NoSuchThing") is None
    assert grown({"a": 5}, {"a": 3}, "a") == 0


def test_descriptors_are_those_of_the_host() -> None:
    before = counters.descriptors()
    assert before is not None
    assert before.most == int(Path("/proc/sys/fs/file-max").read_text())
    fds = [os.dup(0) for _ in range(3)]  # the same file thrice: not what is counted
    held = [os.open("/", os.O_RDONLY) for _ in range(200)]
    after = counters.descriptors()
    for fd in (*fds, *held):
        os.close(fd)
    assert after is not None
    assert after.used > before.used
    assert 0 < after.percent < 100


def test_tcp_and_conntrack() -> None:
    assert {limit.name for limit in counters.tcp()} == {
        "tcp orphans", "tcp time-wait", "tcp memory pages",
    }  # fmt: skip
    tracked = counters.conntrack()
    if Path("/proc/sys/net/netfilter/nf_conntrack_max").exists():
        assert tracked is not None
        assert tracked.used <= tracked.most
    else:
        assert tracked is None


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILE_NR", "CONNTRACK", "SOCKSTAT"):
        monkeypatch.setattr(counters, name, "/proc/none")
    monkeypatch.setattr(counters, "NETSTAT", ("/proc/none",))
    assert counters.descriptors() is None
    assert counters.conntrack() is None
    assert counters.tcp() == []
    assert counters.network() == {}


def test_shares() -> None:
    assert Limit("x", 1, 4).percent == 25
    assert Limit("x", 1, 0).percent == 0


def test_errors_of_interfaces() -> None:
    text = (
        b"Inter-|   Receive                     |  Transmit\n face |bytes packets errs\n"
        b"    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0:9 9 2 0 0 0 0 0 9 9 3 0 0 0 0 0\n"
        b"eth0:1: 9 9 4 0 0 0 0 0 9 9 x 0 0 0 0 0\n cut: 1 2 3\n"
    )
    assert parse_interfaces(text) == {"lo": 0, "eth0": 5, "eth0:1": 4}


def test_errors_of_this_hosts_interfaces_are_those_of_rtnetlink() -> None:
    told = parse_interfaces(Path(counters.INTERFACES).read_bytes())
    links = {link.name: link.errors for link in rtnetlink.links()}
    assert told == pytest.approx(links, abs=5)


def test_counters_of_texts() -> None:
    assert network([b"Tcp: A B\nTcp: 1 2\n", b"", b"Udp: A\nUdp: 3\n"]) == {
        "Tcp.A": 1, "Tcp.B": 2, "Udp.A": 3,
    }  # fmt: skip
