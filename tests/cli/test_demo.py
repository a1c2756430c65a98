"""That `panicdoor demo` leaves nothing behind: no directory, and no secret in its own memory.

The door itself is a fake here, whose directory, end and neighbours the tests choose.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from panicdoor.cli import demo
from panicdoor.config import Address, parse

ROOT = Path(__file__).parents[2]

# What the demo runs instead of a door: it says where it is, then does what stands in `body`.
PROGRAM = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from panicdoor.cli import demo
from panicdoor.cli.main import main

def serve(directory, ready, demo):
    assert demo
    print(os.getpid(), directory, flush=True)
    {body}

demo.serve = serve
sys.exit(main(["demo", "--port", "9904"]))
"""


def start(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return 0", 0, ""),
        ("raise KeyboardInterrupt", 130, ""),
        ("from panicdoor.errors import ConfigError; raise ConfigError('no')", 2, "panicdoor: no\n"),
        ("raise OSError(28, 'full')", 1, "panicdoor: full\n"),
        ("raise RuntimeError('bug')", 1, "RuntimeError: bug\n"),
        ("sys.exit(7)", 7, ""),
    ],
)
def test_nothing_is_left_however_it_ends(tmp_path: Path, body: str, code: int, said: str) -> None:
    returned, out, err = end(start(tmp_path, body))
    assert returned == code
    assert err.endswith(said)
    assert out.split()[1].startswith(f"{tmp_path}/panicdoor-demo-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_nothing_is_left_after_a_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with start(tmp_path, "time.sleep(20)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(tmp_path.iterdir()) != []
        process.send_signal(number)
        assert end(process)[0] == code
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_removes_nothing(tmp_path: Path) -> None:
    body = (
        "child = os.fork()\n"
        "    if child: os.waitpid(child, 0); print((directory / 'door.toml').exists())\n"
        "    return 0"
    )
    _, out, _ = end(start(tmp_path, body))
    assert out.splitlines()[-1] == "True"
    assert list(tmp_path.iterdir()) == []


def test_a_door_that_cannot_be_made(tmp_path: Path) -> None:
    code = PROGRAM.format(body="return 0").replace(
        "demo.serve = serve", "demo.make_door = lambda *a, **k: {}[7]"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ("panicdoor: 7\npanicdoor: the demo's door could not be made\n")
    assert list(tmp_path.iterdir()) == []


def memory_of(pid: int) -> bytes:
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            low, high, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()  # type: ignore[union-attr]
            if "w" in rights:
                memory.seek(int(low, 16))
                found.append(memory.read(int(high, 16) - int(low, 16)))
    return b"".join(found)


@pytest.mark.parametrize("spoilt", [False, True])
def test_the_process_that_serves_never_saw_a_secret(tmp_path: Path, spoilt: bool) -> None:
    body = "seen = (directory / 'identity').read_bytes(); " if spoilt else ""
    with start(tmp_path, f"{body}time.sleep(20)") as process:
        assert process.stdout is not None
        pid, _, directory = process.stdout.readline().strip().partition(" ")
        identity = (Path(directory) / "identity").read_bytes()
        tls = (Path(directory) / "tls.pem").read_bytes()
        try:
            for _ in range(100):  # until the fake has read what it reads, where it does
                memory = memory_of(int(pid))
                if not spoilt or identity in memory:
                    break
        finally:
            process.terminate()
            end(process)
    key = load_ssh_private_key(identity, None)
    seed = key.private_bytes_raw()  # type: ignore[union-attr]
    secrets = [identity.splitlines()[3], tls.splitlines()[2], seed]
    assert [secret in memory for secret in secrets] == [spoilt, False, False]


def test_the_door_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def serve(directory: Path, ready: object, demo: bool) -> int:
        seen.append(directory)
        door = parse((directory / "door.toml").read_text(), "door.toml")
        assert door.name == "demo"
        assert door.listen[0] == Address("127.0.0.1", 9905)
        assert set(door.listen[1:]) <= {Address("::1", 9905)}
        assert directory.stat().st_mode & 0o777 == 0o700
        return 3

    monkeypatch.setattr(demo, "serve", serve)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert demo.run(SimpleNamespace(port=9905)) == 3  # type: ignore[arg-type]
    assert not seen[0].exists()


NOTES = ("without root: what belongs to other users is out of its reach", "no landlock here")


@pytest.mark.parametrize("port", [903, 9903, 65535])
@pytest.mark.parametrize("notes", [(), NOTES[:1], NOTES])
def test_what_a_newcomer_reads(port: int, notes: tuple[str, ...]) -> None:
    text = demo.welcome(port, notes, "panicdoor", Path("/tmp/panicdoor-demo-abcdefgh"))
    for line in (
        "  ssh -F /tmp/panicdoor-demo-abcdefgh/ssh_config demo triage  ",
        f"  nc 127.0.0.1 {port}  ",
        f"  telnet 127.0.0.1 {port}  ",
        f"  http://127.0.0.1:{port}/  ",
        f"  https://127.0.0.1:{port}/  ",
        f"  panicdoor ask 127.0.0.1:{port}  ",
    ):
        assert f"\n{line}" in text
    console, triage = "a console", "what is wrong?"
    beside = [
        line.index(it) for it in (triage, console) for line in text.splitlines() if it in line
    ]
    assert beside == [beside[0]] * 2
    limits = "".join(f"\nHere {note}." for note in notes)
    assert text.endswith(f"{limits}\nCtrl-C removes everything.")
    assert text.count("\nHere ") == len(notes)
    assert max(map(len, text.splitlines())) <= 80


def test_how_it_was_started_is_in_the_line_to_copy() -> None:
    text = demo.welcome(9903, (), ".venv/bin/panicdoor", Path("/tmp/a b"))
    assert "  .venv/bin/panicdoor ask 127.0.0.1:9903  " in text
    assert "  ssh -F '/tmp/a b/ssh_config' demo triage  " in text


def test_what_the_door_says_it_cannot_do_reaches_the_newcomer(
    tmp_path: Path,
) -> None:
    body = "ready(SimpleNamespace(), ('memory is not locked',)); return 0"
    returned, out, _ = end(start(tmp_path, body))
    assert returned == 0
    _, _, shown = out.partition("\n")
    assert shown.startswith("panicdoor demo: ")
    assert "127.0.0.1 9904" in shown
    assert "\nHere memory is not locked.\nCtrl-C removes everything.\n" in shown


def test_ipv6_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __init__(self, *_: object) -> None:
            raise OSError

    monkeypatch.setattr(socket, "socket", Without)
    assert not demo._has_ipv6()


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "", "\u0661", "9" * 5000])
def test_ports_that_will_not_do(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        demo._port(text)
