"""Sockets of this machine beside ss(8), overload in a namespace, and bounds."""

import json
import re
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands.observed import answer, check_manual, document, in_namespaces

from panicdoor.commands import sockets
from panicdoor.commands.sockets import Report, wrong
from panicdoor.errors import CommandError
from panicdoor.kernel import counters, inet, netlink, socket_table
from panicdoor.kernel.counters import Limit
from panicdoor.kernel.inet import CLOSE_WAIT, ESTABLISHED, TCP, Socket
from panicdoor.kernel.netlink import NetlinkError

ONE = Socket(TCP, 2, ESTABLISHED, bytes(4), 903, bytes(4), 7, 0, 0, 0, 0, 0, 0)


def test_its_manual() -> None:
    check_manual("sockets")


STATES = """
import socket, time
listeners = [socket.create_server(("127.0.0.1", 0)) for n in range(3)]
listeners.append(socket.create_server(("::1", 0), family=socket.AF_INET6))
clients = [socket.create_connection(one.getsockname()[:2]) for one in listeners for n in range(5)]
clients.pop().close()
open(READY, "w").close()
time.sleep(20)
"""


def test_it_counts_what_ss_counts(tmp_path: Path) -> None:
    ss = shutil.which("ss")
    if ss is None:
        pytest.skip("ss(8) is not installed")
    ready = tmp_path / "ready"
    setup = f"""{beside(tmp_path, STATES, ready)}
        {ss} -tanH >{tmp_path}/ss
        (sleep 2; kill $!) </dev/null >/dev/null 2>&1 &
    """
    (as_json,) = in_namespaces(setup, "sockets --json")
    names = {"estab": "established", "unconn": "unconnected"}
    words = [line.split()[0].lower() for line in (tmp_path / "ss").read_text().splitlines()]
    theirs = Counter(names.get(word, word) for word in words)
    assert len(theirs) > 3
    assert theirs == {one["state"]: one["count"] for one in json.loads(as_json)["states"]}


def beside(folder: Path, program: str, ready: Path) -> str:
    """Return the lines of a shell that start a program, and wait until it is ready."""
    script = folder / "beside.py"
    script.write_text(program.replace("READY", repr(str(ready))))
    return f"""
        ip link set lo up
        {sys.executable} {script} </dev/null >/dev/null 2>&1 &
        for n in 1 2 3 4 5 6 7 8 9 10; do test -e {ready} || sleep 0.2; done
    """


def test_where_most_waits() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        ours, _ = listener.accept()
        with ours:
            client.setblocking(False)
            sent = client.send(b"x" * 300_000)
            told = document("sockets")
            text = answer("sockets")
        port = client.getsockname()[1]
    mine = [one for one in told["busiest"] if one["remote"] == f"127.0.0.1:{port}"]
    assert mine
    assert 0 < mine[0]["receive"] <= sent
    assert "RECV" in text
    assert "127.0.0.1:" in text


POUND = """
import socket, time
def tries(port):
    for n in range(60):
        s = socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1", port)); held.append(s)
held = []
full = socket.create_server(("127.0.0.1", 4242), backlog=1)
deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
deaf.bind(("127.0.0.1", 4243))
end = time.time() + 4
while time.time() < end:
    tries(4242)
    for n in range(50):
        deaf.sendto(b"x" * 1000, deaf.getsockname())
    open(READY, "w").close()
    time.sleep(0.05)
"""


def test_overload_is_a_finding(tmp_path: Path) -> None:
    setup = beside(tmp_path, POUND, tmp_path / "ready")
    text, as_json = in_namespaces(setup, "sockets", "sockets --json")
    told = json.loads(as_json)
    assert any(one.startswith("queues of listeners were full: ") for one in told["findings"])
    assert any(one.startswith("datagrams lost, receiver's") for one in told["findings"])
    assert text.startswith("! ")


def test_nothing_is_wrong_in_a_quiet_namespace() -> None:
    text, as_json = in_namespaces("ip link set lo up", "sockets", "sockets --json")
    assert text.startswith("Nothing unusual about sockets.\ntcp  0\nudp  0\n")
    assert json.loads(as_json)["findings"] == []


def test_limits_that_are_nearly_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("count", 970), ("max", 1000)):
        (tmp_path / name).write_text(f"{number}\n")
    monkeypatch.setattr(counters, "CONNTRACK", f"{tmp_path}/")
    told = document("sockets")
    assert told["findings"][0] == (
        "conntrack: 970 of 1000 in use (97 %, normal below 80 %)"
    )  # fmt: skip
    assert told["limits"][0]["name"] == "conntrack"


def test_what_is_wrong() -> None:
    report = Report(seconds=0.5)
    assert list(wrong(report)) == []
    report.limits = [Limit("descriptors", 99, 100)]
    report.before = {"Tcp.OutSegs": 0, "Tcp.RetransSegs": 0}
    report.after = {"Tcp.OutSegs": 1000, "Tcp.RetransSegs": 50, "TcpExt.SyncookiesSent": 3}
    report.states[TCP, CLOSE_WAIT] = 5000
    assert [sentence.partition(" ")[0] for sentence in wrong(report)] == [
        "descriptors:", "syn", "5.0", "5000",
    ]  # fmt: skip
    report.after["Tcp.OutSegs"] = 99  # too few to say anything about a hundredth
    assert len(list(wrong(report))) == 3


def test_all_states_at_once_are_wrapped() -> None:
    report = Report(states=Counter({(TCP, state): 10_000 + state for state in inet.STATES}))
    lines = "".join(sockets._lines(report)).split("\n")
    (at,) = [n for n, line in enumerate(lines) if line.startswith("tcp  120078: 10012 syn-recv, ")]
    assert re.match(" {5}[0-9c]", lines[at + 1])
    assert max(map(len, lines)) <= 80


def told_by(monkeypatch: pytest.MonkeyPatch, told: Iterator[Socket]) -> None:
    monkeypatch.setattr(
        socket_table, "read", lambda protocol: socket_table.Table("sock_diag", told)
    )


def test_there_may_be_any_number_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    many = (ONE._replace(receive=n) for n in range(10**12))
    told_by(monkeypatch, many)
    began = time.monotonic()
    told = document("sockets")
    assert time.monotonic() - began < 3 * sockets.SOCKETS_S
    assert (
        told["cut"]
        == f"only the first {sum(s['count'] for s in told['states'])} sockets were counted"
    )
    assert len(told["busiest"]) == sockets.BUSIEST_MAX
    assert next(many).receive <= sockets.SOCKETS_MAX + 1
    monkeypatch.setattr(sockets, "SOCKETS_MAX", 10)
    assert "(only the first 10 sockets were counted)" in answer("sockets")
    monkeypatch.setattr(sockets, "SOCKETS_S", -1.0)
    assert "(only the first 0 sockets were counted)" in answer("sockets")


def test_a_kernel_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def some() -> Iterator[Socket]:
        yield ONE
        raise NetlinkError("messages were lost")

    told_by(monkeypatch, some())
    told = document("sockets")
    assert told["cut"] == "the kernel broke off after 1 sockets: messages were lost"

    def refuse(protocol: int) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(socket_table, "read", refuse)
    with pytest.raises(CommandError, match="does not tell its sockets"):
        answer("sockets")


def test_text_where_netlink_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "SOCK_DIAG", 31)
    assert document("sockets")["source"] == "/proc/net"
