"""`panicdoor demo` as a newcomer meets it: quick, every line works as printed, nothing is left."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clients.programs import (
    NOBODY,
    PROGRAM,
    Conversation,
    as_nobody,
    need,
    run,
    shell,
    terminal,
)
from tests.running import ROOT, children, free_port, title, wait_for

START_S = 3.0
USERS = ["me", pytest.param("nobody", marks=pytest.mark.skipif(not ROOT, reason="needs root"))]


@pytest.fixture(params=USERS)
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """What is typed before the program to be that user."""
    if request.param == "me":
        return ()
    prefix = as_nobody(tmp_path / "mounts")
    done = run(*prefix, str(PROGRAM), "--version")
    if done.returncode:
        pytest.skip(f"nobody may not run {PROGRAM}: {done.stderr.decode()}")
    return prefix


@pytest.fixture
def temporary(prefix: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only place where that user may leave anything."""
    name = run("mktemp", "-d").stdout.decode().strip()
    if prefix:
        os.chown(name, NOBODY, NOBODY)
    yield Path(name)
    left = list(Path(name).iterdir())
    shutil.rmtree(name)
    assert left == []


@contextmanager
def demo(prefix: tuple[str, ...], temporary: Path, port: int) -> Iterator[Conversation]:
    command = ("env", f"TMPDIR={temporary}", "panicdoor", "demo", "--port", str(port))
    with terminal(*prefix, *command) as client:
        try:
            yield client
        finally:
            orphans = children(client.process.pid) if client.process.poll() is None else []
            client.process.kill()
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)


def processes(client: Conversation) -> list[int]:
    """Return the pids of all of a demo's processes."""
    return [client.process.pid, *children(client.process.pid)]


def greeted(line: str) -> None:
    """Run a line for talking, as printed, and talk."""
    with terminal("bash", "-c", line) as client:
        client.until("panicdoor of demo: ")
        client.until("Door key SHA256:")
        client.type("help")
        client.until("help NAME explains one of them.")
        client.type("quit")
        client.until("Goodbye.")
        client.send(b"\x04")
        client.end()


def test_as_a_newcomer(prefix: tuple[str, ...], temporary: Path) -> None:
    port = free_port()
    with demo(prefix, temporary, port) as client:
        begun = time.monotonic()
        text = client.until("Ctrl-C removes everything.")
        assert time.monotonic() - begun < START_S
        assert len(text.splitlines()) <= 24
        assert max(map(len, text.splitlines())) <= 80
        assert ("\nHere without root: " in text) == (bool(prefix) or not ROOT)
        assert list(temporary.iterdir()) != []
        made = processes(client)
        assert len(made) > 5
        lines = [line.strip() for line in re.findall(r"^  (\S.*?)(?:  |\r?$)", text, re.MULTILINE)]
        assert len(lines) >= 7
        for line in lines:
            if line.startswith("ssh ") and line.endswith(" triage"):
                need("ssh")
                done = shell(line)
                assert done.returncode == 0, done.stderr
                assert b"CLEARED" in done.stdout
            elif line.startswith("ssh "):
                with terminal("bash", "-c", line) as console:
                    console.until("you@demo")
                    console.type("exit")
                    console.end()
            elif line.startswith(("nc ", "telnet ")):
                need(line.split()[0])
                greeted(line)
            elif line.startswith("http"):
                page = run("curl", "-sSk", "-H", "Accept: text/html", line).stdout
                assert b"<title>panicdoor of demo</title>" in page
            else:
                assert " ask " in line
                done = shell(line)
                assert done.returncode == 0, done.stderr
                assert b"An emergency door, not a login." in done.stdout
        client.send(b"\x03")
        client.end()
        assert client.process.returncode == 0
        assert list(temporary.iterdir()) == []
        wait_for(lambda: not any(title(pid) for pid in made))


def test_ctrl_c_before_it_is_ready(prefix: tuple[str, ...], temporary: Path) -> None:
    with demo(prefix, temporary, free_port()) as client:
        wait_for(lambda: any(temporary.glob("*/*")))
        client.send(b"\x03")
        client.end()
        assert client.process.returncode in (0, 130)
        assert "Traceback" not in client.seen
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("prefix", ["me"], indirect=True)
def test_two_at_once(prefix: tuple[str, ...], temporary: Path) -> None:
    port = free_port()
    with demo(prefix, temporary, port) as first:
        first.until("Ctrl-C removes everything.")
        with demo(prefix, temporary, port) as second:
            text = second.end()
            assert second.process.returncode == 2
            assert len(text.splitlines()) == 1
            assert f"127.0.0.1:{port} is held by " in text
        assert len(list(temporary.iterdir())) == 1
        first.send(b"\x03")
        first.end()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_it_ends_with_its_terminal(tmp_path: Path, number: signal.Signals) -> None:
    """A door that stays takes SIGHUP for a wish to have its policy read; a demo has nobody else."""
    with demo((), tmp_path, free_port()) as client:
        client.until("Ctrl-C removes everything.")
        client.process.send_signal(number)
        client.end()
        assert client.process.returncode == 0
    assert list(tmp_path.iterdir()) == []
