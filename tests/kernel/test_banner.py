"""First words: a server that says them, says nothing, closes, refuses, or does not accept."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from panicdoor.kernel.banner import BANNER_MAX, Connection, Said


@contextmanager
def server(act: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                act(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def ask(port: int, seconds: float = 1.0) -> Said:
    return Connection(socket.AF_INET, "127.0.0.1", port).finish(seconds)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "SSH-2.0-OpenSSH_9.2"),
        ([b"SSH-", b"2.0-x\n", b"more"], "SSH-2.0-x"),
        ([b"Exceeded MaxStartups\r\n"], "Exceeded MaxStartups"),
        ([b"\x1b[2J\xff\n"], "\x1b[2J\xff"),
        ([b"x" * 1000], "x" * BANNER_MAX),
    ],
)
def test_words(pieces: list[bytes], text: str) -> None:
    def say(peer: socket.socket) -> None:
        for piece in pieces:
            peer.sendall(piece)
            time.sleep(0.02)

    with server(say) as port:
        said = ask(port)
    assert (said.text, said.error) == (text, "")


def test_silence() -> None:
    with server(lambda peer: time.sleep(0.3)) as port:
        said = ask(port, 0.1)
    assert said.error == "accepts, then says nothing"
    assert 0.1 <= said.seconds < 0.3


def test_an_end() -> None:
    with server(lambda peer: None) as port:
        assert ask(port).error == "accepts, then closes"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(port).error == "connection refused"


def test_a_full_queue() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        said = ask(port, 0.1)
        assert said.error in ("does not answer", "accepts, then says nothing")
        for one in waiting:
            one.close()


def test_the_time_counts_from_the_beginning() -> None:
    with server(lambda peer: time.sleep(0.4)) as port:
        made = Connection(socket.AF_INET, "127.0.0.1", port)
        time.sleep(0.2)
        began = time.monotonic()
        assert made.finish(0.2).error
        assert time.monotonic() - began < 0.1
