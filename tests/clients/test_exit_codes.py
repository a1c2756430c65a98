"""What the program's end says: 0 done, 1 failed, 2 usage or configuration, 3 nothing answered."""

import socket
import threading
from pathlib import Path

import pytest
from tests.clients.programs import run
from tests.running import LOOPBACK, Door, need_user, running

from panicdoor.cli.init import make_door
from panicdoor.config import Address


def said(*words: str, code: int) -> str:
    """Run the program and return what it complained of, which is no traceback."""
    done = run("panicdoor", *words)
    text = done.stderr.decode("ascii")
    assert done.returncode == code, text
    assert "Traceback" not in text
    if code and "usage: " not in text:
        assert len(text.splitlines()) == 1
        assert text.startswith("panicdoor: ")
    return text


def made(tmp_path: Path) -> Path:
    need_user()
    directory = tmp_path / "made"
    make_door(directory, name="web1", listen=(Address(LOOPBACK, 9),))
    return directory


@pytest.mark.parametrize("words", ["--help", "--version", "init --help", "serve --help"])
def test_help(words: str) -> None:
    assert said(*words.split(), code=0) == ""


@pytest.mark.parametrize(
    "words",
    [
        "",
        "open",
        "init",
        "serve",
        "serve a b",
        "ask",
        "ask :",
        "ask web1 --timeout 0",
        "demo --port 0",
        "demo --port x",
        "init new --listen 127.0.0.1",
        "init new --listen name:903",
        "init new --name UPPER",
        "init new --may everything",
        "init new --signer alice",
        "init new --signer alice=/nowhere.pub",
        "serve /nowhere",
    ],
)
def test_wrong_usage(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(*words.split(), code=2)
    assert list(tmp_path.iterdir()) == []


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    directory = made(tmp_path)
    before = {path: path.read_bytes() for path in directory.iterdir()}
    assert "nothing was changed" in said("init", str(directory), code=2)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_init_where_nothing_can_be_made(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in said("init", str(tmp_path / "no" / "door"), code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("door.toml", "nmae = 'x'\n", "nmae"),
        ("door.toml", "name = 7\n", "name"),
        ("door.toml", "[[[\n", "line 1"),
        ("identity", "not a key\n", "identity"),
        ("identity.pub", "not a key\n", "identity.pub"),
        ("tls.pem", "not a key\n", "tls.pem"),
    ],
)
def test_serve_names_the_file_that_is_wrong(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    directory = made(tmp_path)
    (directory / name).write_text(text)
    line = said("serve", str(directory), code=2)
    assert name in line
    assert expected in line


@pytest.mark.parametrize("name", ["door.toml", "identity", "tls.pem"])
def test_serve_names_the_file_that_is_missing(tmp_path: Path, name: str) -> None:
    directory = made(tmp_path)
    (directory / name).unlink()
    assert name in said("serve", str(directory), code=2)


def test_a_second_door_on_a_port(house: Door, tmp_path: Path) -> None:
    directory = tmp_path / "second"
    said("init", str(directory), "--listen", f"{LOOPBACK}:{house.port}", code=0)
    line = said("serve", str(directory), code=2)
    assert f"tcp {LOOPBACK}:{house.port} is held by " in line


def test_a_second_serve_of_a_door(house: Door) -> None:
    said("serve", str(house.directory), code=2)
    assert house.documented()


def test_an_end_as_asked(tmp_path: Path) -> None:
    with running(tmp_path / "door") as door:
        assert door.stop() == 0


def test_ask_somebody_who_is_no_door() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, 0))
        other.settimeout(5)

        def answer() -> None:
            while len(found := other.recvfrom(2048)[0:2]) and found[0] != b"end":
                other.sendto(b"who are you?", found[1])

        thread = threading.Thread(target=answer)
        thread.start()
        where = other.getsockname()
        line = said("ask", f"{LOOPBACK}:{where[1]}", "--timeout", "0.05", code=1)
        assert "sent no page, but: who are you?" in line
        other.sendto(b"end", where)
        thread.join()


def test_ask_nobody() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        where = f"{LOOPBACK}:{silent.getsockname()[1]}"
        assert "nothing answered" in said("ask", where, "--timeout", "0.05", code=3)
    assert "cannot be asked" in said("ask", "no..name", code=3)
