"""Listeners of this machine beside ss(8), and hostile ones in namespaces."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.commands.observed import answer, check_manual, document, in_namespaces

from panicdoor.commands import listeners
from panicdoor.commands.listeners import unit
from panicdoor.errors import CommandError
from panicdoor.kernel import netlink, proc_net


@pytest.fixture
def ours() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as listener:
        yield listener


def entry(told: Any, port: int) -> Any:
    (found,) = [one for one in told["listeners"] if one["port"] == port]
    return found


def test_its_manual(ours: socket.socket) -> None:
    check_manual("listeners")


def test_our_own_are_found_with_everything(ours: socket.socket) -> None:
    port = ours.getsockname()[1]
    with socket.create_connection(ours.getsockname()):
        told = document("listeners")
        text = answer("listeners")
    mine = entry(told, port)
    name = Path("/proc/self/comm").read_text().strip()
    assert mine == {
        "protocol": "tcp", "address": "127.0.0.1", "port": port, "waiting": 1, "most": 7,
        "drops": None, "pids": [os.getpid()], "name": name, "uid": os.getuid(),
        "user": mine["user"], "unit": mine["unit"],
    }  # fmt: skip
    assert told["source"] == "sock_diag"
    row = rf"^tcp +{port} +127\.0\.0\.1 +1/7 +{os.getpid()} +{re.escape(name)} "
    assert re.search(row, text, re.MULTILINE), text


def test_datagrams_too() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("::1", 0))
        mine = entry(document("listeners"), receiver.getsockname()[1])
    assert (mine["protocol"], mine["address"], mine["most"]) == ("udp", "::1", None)
    assert mine["drops"] == 0


def test_it_says_what_ss_says(ours: socket.socket) -> None:
    ss = shutil.which("ss")
    if ss is None:
        pytest.skip("ss(8) is not installed")

    def theirs() -> set[tuple[str, int, tuple[int, ...]]]:
        text = subprocess.run([ss, "-tlnpH"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=5) for line in text.splitlines()]
        return {
            (
                row[3].rpartition(":")[0].strip("[]").replace("*", "::"),
                int(row[3].rpartition(":")[2]),
                tuple(sorted({int(pid) for pid in re.findall(r"pid=(\d+)", " ".join(row[5:]))})),
            )
            for row in rows
        }

    for _ in range(5):  # others on this machine come and go
        told = {
            (one["address"], one["port"], tuple(one["pids"]))
            for one in document("listeners")["listeners"]
            if one["protocol"] == "tcp"
        }
        if told == theirs():
            return
    assert told == theirs()


def test_a_full_queue_comes_first() -> None:
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(2):  # one more than may wait is let in: sk_acceptq_is_full()
            held.enter_context(socket.create_connection(listener.getsockname()))
        told = document("listeners")
        text = answer("listeners").replace("\n  ", " ")
        port = listener.getsockname()[1]
    full = [one["most"] is not None and one["waiting"] >= one["most"] for one in told["listeners"]]
    assert full == sorted(full, reverse=True)
    assert (entry(told, port)["waiting"], entry(told, port)["most"]) == (2, 1)
    sentence = f"tcp port {port}: 2 connections wait where 1 may, so new ones are dropped; "
    assert any(one.startswith(sentence) for one in told["findings"])
    assert f"(pid {os.getpid()}) does not accept them" in text


def test_a_socket_that_nobody_visible_holds() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        socket.send_fds(left, [b"x"], [listener.fileno()])
        listener.close()
        told = document("listeners")
        text = answer("listeners")
    mine = entry(told, port)
    assert (mine["pids"], mine["name"], mine["unit"]) == ([], None, None)
    assert re.search(rf"^tcp +{port} +127\.0\.0\.1 +0/\d+ +- +- ", text, re.MULTILINE)


def test_several_holders() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        told = document("listeners")
        text = answer("listeners")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert entry(told, port)["pids"] == sorted((os.getpid(), child))
    first = min(os.getpid(), child)  # pids begin anew now and then
    assert re.search(rf"^tcp +{port} .* {first}\+ ", text, re.MULTILINE)


def test_a_hostile_name_alone_in_a_namespace(tmp_path: Path) -> None:
    script = tmp_path / "listen.py"
    ready = tmp_path / "ready"
    script.write_text(
        "import socket, time\n"
        "s = socket.create_server(('127.0.0.1', 4242))\n"
        "open('/proc/self/comm', 'wb').write(b'x) R 1\\n(\\x1b[2J')\n"
        f"open({str(ready)!r}, 'w').close()\n"
        "time.sleep(20)\n"
    )
    setup = f"""
        ip link set lo up
        {shutil.which("python3")} {script} </dev/null >/dev/null 2>&1 &
        for n in 1 2 3 4 5 6 7 8 9 10; do test -e {ready} || sleep 0.2; done
        (sleep 3; kill $!) </dev/null >/dev/null 2>&1 &
    """
    text, as_json = in_namespaces(setup, "listeners", "listeners --json")
    (mine,) = json.loads(as_json)["listeners"]
    assert mine["name"] == r"x) R 1\x0a(\x1b[2J"
    assert r"x) R 1\x0a(\x1b[2J" in text


def test_without_root_it_says_so() -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody who sees less")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(write, answer("listeners").encode()[-4000:])
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    assert re.search(r"\(\d+ processes are not ours to look into\)", text)


def test_too_many_are_left_out_with_a_word(
    ours: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        monkeypatch.setattr(listeners, "LISTENERS_MAX", 1)
        assert "(only 1 sockets of a protocol were read)" in answer("listeners")
        assert document("listeners")["cut"]
        monkeypatch.undo()
        monkeypatch.setattr(listeners, "ROWS_MAX", 1)
        assert re.search(r"\(\d+ more sockets left out\)", answer("listeners"))
        assert document("listeners")["left_out"] > 0


def test_text_where_netlink_is_refused(
    ours: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink, "SOCK_DIAG", 31)
    told = document("listeners")
    assert told["source"] == "/proc/net"
    assert entry(told, ours.getsockname()[1])["most"] is None
    assert " 0/? " in answer("listeners")


def test_no_sockets_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Iterator[Any]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(netlink, "SOCK_DIAG", 31)
    monkeypatch.setattr(proc_net, "read", refuse)
    with pytest.raises(CommandError, match=r"does not tell its sockets: .*Permission denied"):
        answer("listeners")


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("/system.slice/ssh.service", "ssh.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/x.service", "x.service"),
        ("/system.slice/docker-4f.scope/init", "docker-4f.scope"),
        ("/kubepods/besteffort/pod1/4f", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_units(group: str, name: str) -> None:
    assert unit(group) == name
