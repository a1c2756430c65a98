"""D-Bus: a real bus where there is one, and services that say nonsense, or nothing."""

import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import dbus
from panicdoor.kernel.dbus import Call, DBusError, Reader, connect

HELLO = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
OK = b"OK 0123456789abcdef\r\n"


@contextmanager
def service(path: Path, act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A service that does something once with whoever connects."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            act(peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(path)
    finally:
        thread.join(5)
        listener.close()


def answer(kind: int, body: bytes, reply_to: int = 1) -> bytes:
    fields = struct.pack("<BB1sBI", 5, 1, b"u", 0, reply_to)
    head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 9, len(fields))
    return head + fields + b"\0" * (-len(fields) % 8) + body


def test_a_real_bus(tmp_path: Path) -> None:
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        pytest.skip("dbus-daemon is not installed")
    path = tmp_path / "bus"
    bus = subprocess.Popen([daemon, "--session", "--nofork", f"--address=unix:path={path}"])
    try:
        for _ in range(100):
            if path.exists():
                break
            time.sleep(0.02)
        with connect(str(path), 2) as connection:
            assert connection.authenticate()
        bus.send_signal(19)  # SIGSTOP: it hangs
        began = time.monotonic()
        with connect(str(path), 0.2) as connection, pytest.raises(TimeoutError):
            connection.authenticate()
        assert time.monotonic() - began < 1
    finally:
        bus.kill()
        bus.wait()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(str(tmp_path / "nothing"), 0.1)


def test_an_answer(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def act(peer: socket.socket) -> None:
        heard.append(peer.recv(4096))
        peer.sendall(OK)
        heard.append(peer.recv(4096))
        signal = answer(4, b"", reply_to=0)
        peer.sendall(signal + answer(2, struct.pack("<I", 2) + b"hi\0")[:20])
        time.sleep(0.05)
        peer.sendall(answer(2, struct.pack("<I", 2) + b"hi\0")[20:])

    with service(tmp_path / "s", act) as path, connect(path, 2) as connection:
        assert connection.authenticate()
        assert connection.call(HELLO).text() == "hi"
    assert heard[0].startswith(b"\0AUTH EXTERNAL ")
    assert heard[0].endswith(b"\r\nBEGIN\r\n")
    assert heard[1] == dbus.message(HELLO)


def test_a_call_is_what_the_specification_says() -> None:
    data = dbus.message(Call("a.b", "/a", "c.d", "E", ("failed",)))
    assert data[:4] == b"l\1\0\1"
    body, serial, fields = struct.unpack_from("<III", data, 4)
    assert (body, serial) == (4 + 4 + len(b"failed\0"), 1)
    assert len(data) == 16 + fields + -fields % 8 + body
    assert data[-body:] == struct.pack("<II", 11, 6) + b"failed\0"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(3, struct.pack("<I", 3) + b"bad\0"), "answers with an error: bad"),
        (b"", "closes the connection"),
        (b"B" * 100, "does not speak D-Bus"),
        (struct.pack("<BBBBIII", ord("l"), 2, 0, 1, 1 << 31, 9, 8), "does not speak D-Bus"),
    ],
)
def test_what_is_no_answer(tmp_path: Path, said: bytes, why: str) -> None:
    def act(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(OK)
        peer.recv(4096)
        peer.sendall(said)

    with service(tmp_path / "s", act) as path, connect(path, 2) as connection:
        assert connection.authenticate()
        with pytest.raises(DBusError, match=why):
            connection.call(HELLO)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400\r\n", b"x" * 1000])
def test_what_is_no_bus(tmp_path: Path, said: bytes) -> None:
    with (
        service(tmp_path / "s", lambda peer: peer.sendall(said)) as path,
        connect(path, 2) as connection,
        pytest.raises((DBusError, OSError)),
    ):
        connection.authenticate()


def test_whoever_is_not_let_in(tmp_path: Path) -> None:
    def act(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"REJECTED EXTERNAL\r\n")

    with service(tmp_path / "s", act) as path, connect(path, 2) as connection:
        assert not connection.authenticate()


def test_a_service_that_never_stops_talking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbus, "_MESSAGES_MAX", 3)

    def act(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(OK)
        peer.recv(4096)
        peer.sendall(answer(4, b"", reply_to=0) * 5)

    with service(tmp_path / "s", act) as path, connect(path, 2) as connection:
        connection.authenticate()
        with pytest.raises(DBusError, match="everything but the answer"):
            connection.call(HELLO)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_end_a_reader(data: bytes) -> None:
    for read in (Reader.text, Reader.signature, Reader.u32, lambda r: list(Reader.structs(r))):
        try:
            read(Reader(data))
        except DBusError:
            continue
    assert dbus._reply_to(data) >= 0
