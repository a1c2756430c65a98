"""The same sockets as text."""

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor.kernel import proc_net, sock_diag
from panicdoor.kernel.inet import LISTEN, TCP, UDP, UNCONNECTED, host

LINE = (
    b"   0: 0100007F:0387 00000000:0000 0A 00000000:00000003 00:00000000 00000000"
    b"     7        0 4711 1 0000000000000000 100 0 0 10 0"
)


def test_a_line() -> None:
    found = proc_net.parse(LINE, TCP, socket.AF_INET)
    assert found is not None
    assert (host(found.local), found.port, found.state) == ("127.0.0.1", 903, LISTEN)
    assert (found.receive, found.send, found.uid, found.inode) == (3, -1, 7, 4711)
    again = LINE.replace(b"0A", b"01").replace(b"00:00000000 00000000", b"01:00000015 00000005")
    trying = proc_net.parse(again, TCP, socket.AF_INET)
    assert trying is not None
    assert (trying.retransmits, trying.send) == (5, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
        LINE.replace(b"0100007F", b"0100007"),
        LINE.replace(b"0100007F", b"-100007F"),
        LINE.replace(b"0100007F", b"0x00007F"),
        LINE.replace(b"4711", b"9" * 5000),
        LINE.replace(b":00000003", b":" + b"F" * 400),
    ],
)
def test_lines_that_nobody_understands(line: bytes) -> None:
    assert proc_net.parse(line, TCP, socket.AF_INET) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("protocol", "state"), [(TCP, LISTEN), (UDP, UNCONNECTED)], ids=["tcp", "udp"]
)
def test_it_says_what_sock_diag_says(family: int, protocol: int, state: int) -> None:
    kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM
    with socket.socket(family, kind) as ours:
        ours.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        if protocol == TCP:
            ours.listen(3)
        port = ours.getsockname()[1]
        text = [s for s in proc_net.read(family, protocol, (state,)) if s.port == port]
        told = [s for s in sock_diag.read(family, protocol, (state,)) if s.port == port]
        assert len(text) == 1
        assert text == [s._replace(send=-1) if protocol == TCP else s for s in told]


def test_a_kernel_without_the_table(tmp_path: Path) -> None:
    assert list(proc_net.read(socket.AF_INET6, TCP, net=str(tmp_path))) == []


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([*LINE.split(), b"-", b"0:0", b"zz"]), max_size=14).map(b" ".join),
    st.sampled_from([TCP, UDP]),
    st.sampled_from([socket.AF_INET, socket.AF_INET6]),
)  # fmt: skip
def test_no_line_raises(line: bytes, protocol: int, family: int) -> None:
    proc_net.parse(line, protocol, family)
