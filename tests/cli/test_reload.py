"""`panicdoor reload`: checks, asks, and says what the door itself has recorded."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_main import start
from tests.running import Door, running, wait_for

from panicdoor.cli import reload
from panicdoor.cli.init import make_door
from panicdoor.errors import CommandError
from panicdoor.processes.directory import holders


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with running(tmp_path_factory.mktemp("reload") / "door") as door:
        wait_for(lambda: any(h.place == "supervisor" for h in holders(door.directory)))
        yield door


def ask(directory: Path) -> subprocess.CompletedProcess[str]:
    return start("reload", str(directory))


def kinds(door: Door) -> list[str]:
    return [line.split()[3] for line in (door.directory / "journal").read_text().splitlines()]


def test_what_is_right_takes_effect(door: Door) -> None:
    for serial in (1, 2):
        done = ask(door.directory)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"policy {serial} of this door holds from now on\n"
    assert kinds(door).count("reload") == 2
    assert door.documented()


def test_what_is_wrong_is_said_and_the_door_not_asked(door: Door) -> None:
    before = kinds(door).count("reload")
    file = door.directory / "door.toml"
    text = file.read_text()
    try:
        file.write_text(text + "\nlisten = 3\n")
        done = ask(door.directory)
    finally:
        file.write_text(text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"panicdoor: {file}: ")
    assert done.stderr.count("\n") == 1
    assert kinds(door).count("reload") == before


def test_what_takes_a_restart_is_named(door: Door) -> None:
    file = door.directory / "door.toml"
    text = file.read_text()
    try:
        file.write_text(text.replace('name = "web1"', 'name = "web2"'))
        done = ask(door.directory)
    finally:
        file.write_text(text)
    assert done.returncode == 0
    assert "name: takes a restart, and is as before until then\n" in done.stdout
    assert door.talk(b"about\r\n").count(b"web1") == 1


def test_lines_that_are_skipped_are_said(door: Door) -> None:
    file = door.directory / "allowed_signers"
    text = file.read_text()
    try:
        file.write_text(text + "junk\n")
        done = ask(door.directory)
    finally:
        file.write_text(text)
    assert done.returncode == 0
    assert f"note: allowed_signers: line {text.count(chr(10)) + 1} is skipped: " in done.stdout


def test_a_directory_without_an_open_door(tmp_path: Path) -> None:
    make_door(tmp_path / "door", name="web1")
    done = ask(tmp_path / "door")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"panicdoor: no supervisor of a door on {tmp_path}/door; panicdoor serve starts one\n"
    )
    assert ask(tmp_path / "nothing").returncode == 2


def test_a_supervisor_that_is_dead(tmp_path: Path) -> None:
    with running(tmp_path / "door") as door:
        wait_for(lambda: any(h.place == "supervisor" for h in holders(door.directory)))
        door.process.kill()
        door.process.wait()
        done = ask(door.directory)
        assert done.returncode == 1
        assert "no supervisor of a door on" in done.stderr
        assert door.documented()


def test_nobody_answers(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "VERDICT_S", 0.3)
    before = kinds(door).count("reload")
    os.kill(door.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(CommandError, match="has recorded nothing in 0 seconds"):
            reload.ask(door.directory)
        assert time.monotonic() - begun < 3
    finally:
        os.kill(door.pid, signal.SIGCONT)
    wait_for(lambda: kinds(door).count("reload") > before)  # it was only late


def test_the_verdict_of_the_door_counts(door: Door) -> None:
    """Whatever was found here: what is asked of the door is not the look at the files."""
    file = door.directory / "door.toml"
    text = file.read_text()
    try:
        file.write_text("junk")
        with pytest.raises(CommandError, match=f"the door goes on as before: {file}: line 1"):
            reload.ask(door.directory)
    finally:
        file.write_text(text)
