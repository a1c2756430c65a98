"""What `serve` says, to whom, and what becomes of the door when nobody hears it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.running import LOOPBACK, Door, free_port, need_user, wait_for

from panicdoor.cli.init import make_door
from panicdoor.config import Address


@contextmanager
def serving(directory: Path, errors: int, before: tuple[str, ...] = ()) -> Iterator[Door]:
    """A door with that standard error; `before` is a command to run it under."""
    need_user()
    port = free_port()
    make_door(directory, name="web1", listen=(Address(LOOPBACK, port),))
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "panicdoor", "serve", str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    door = Door(directory, port, process, directory / "no-log")
    try:
        wait_for(door.documented, 10)
        yield door
        assert door.stop() == 0
    finally:
        process.kill()
        for pid in [pid for pid in door.family() if pid != process.pid]:
            os.kill(pid, signal.SIGKILL)


def full_pipe() -> tuple[int, int]:
    """Return the ends of a pipe without room."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("broken", [False, True])
def test_a_door_whose_words_nobody_reads_is_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    reader, writer = full_pipe()
    if broken:
        os.close(reader)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with serving(tmp_path / "door", writer) as door:
            assert manager.recv(64) == b"READY=1"
            # From now on only a supervisor that gets past its first words fills a place.
            before = door.kill("stream1")
            door.wait_filled("stream1", before)
            assert door.documented()
    os.close(writer)
    if not broken:
        os.close(reader)


def test_under_nohup_it_outlives_the_terminal(tmp_path: Path) -> None:
    with serving(tmp_path / "door", subprocess.DEVNULL, ("nohup",)) as door:
        wait_for(lambda: {"stream1", "stream2"} <= set(door.places()))
        door.process.send_signal(signal.SIGHUP)
        before = door.kill("stream1")
        door.wait_filled("stream1", before)
        assert door.documented()
