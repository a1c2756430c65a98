"""The program as a process: its help, its exit codes, and how little it imports."""

import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from panicdoor import __version__
from panicdoor.cli import main as program
from panicdoor.errors import CommandError, ConfigError, OrderError, ProtocolError

ROOT = Path(__file__).parents[2]
INHERITED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
ENVIRONMENT = {**INHERITED, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"}
PANICDOOR = (sys.executable, "-m", "panicdoor")


def start(*words: str, command: tuple[str, ...] = PANICDOOR) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=30
    )


def test_help_names_every_subcommand() -> None:
    done = start("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name, summary in program.COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(summary)}$", done.stdout, re.MULTILINE)
    assert "exit codes: 0 done, 1 refused or failed, 2 usage" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", program.COMMANDS)
def test_help_of_every_subcommand(name: str) -> None:
    done = start(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    usage, _, rest = done.stdout.partition("\n\n")
    assert usage.startswith(f"usage: panicdoor {name} ")
    assert max(map(len, done.stdout.splitlines())) <= 80
    # Every option of the usage line stands below it, and whatever stands there is explained.
    for option in re.findall(r"--[a-z-]+", usage):
        assert re.search(rf"^  (-\w, )?{option}\b", rest, re.MULTILINE), option
    for line in re.findall(r"^  (?:-|[A-Z]{2}).*(?:\n {10,}.*)*", rest, re.MULTILINE):
        assert re.search(r"\S {2,}\w+ \w+", line.replace("\n", " ")), line


def test_every_subcommand_is_a_file_and_every_file_a_subcommand() -> None:
    files = {file.stem.replace("_", "-") for file in (ROOT / "src/panicdoor/cli").glob("*.py")}
    assert files - {"--init--", "main"} == set(program.COMMANDS)


def test_version() -> None:
    assert start("--version").stdout == f"panicdoor {__version__}\n"


@pytest.mark.parametrize("words", [(), ("bogus",), ("--bogus",), ("init",), ("serve", "a", "b")])
def test_wrong_usage(words: tuple[str, ...]) -> None:
    done = start(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: panicdoor")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_help_imports_no_subcommand(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from panicdoor.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )
    loaded = set(start(*words, command=(sys.executable, "-c", code)).stderr.split())
    assert "argparse" in loaded
    ours = {name for name in loaded if name.startswith("panicdoor.")}
    assert ours == {
        "panicdoor.cli",
        "panicdoor.cli.main",
        "panicdoor.errors",
        "panicdoor.printable",
    }
    assert not loaded & {"asyncio", "socket", "ssl", "cryptography", "msgspec", "h11", "subprocess"}


def test_init_imports_no_other_subcommand(tmp_path: Path) -> None:
    code = (
        "import sys; from panicdoor.cli.main import main\n"
        "assert main() == 0; print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = start("init", str(tmp_path / "door"), command=(sys.executable, "-c", code))
    loaded = done.stderr.split()
    assert "panicdoor.cli.init" in loaded
    assert not [name for name in loaded if name.startswith("panicdoor.processes")]
    assert "asyncio" not in loaded


def fake(monkeypatch: pytest.MonkeyPatch, run: Callable[[object], int]) -> None:
    """Put a subcommand in the place of `docs` whose run does what is wanted."""
    module = types.ModuleType("panicdoor.cli.docs")
    module.add_arguments = lambda _: None  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "panicdoor.cli.docs", module)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("door.toml: name: no"), 2, "panicdoor: door.toml: name: no\n"),
        (CommandError("no"), 1, "panicdoor: no\n"),
        (OrderError("no"), 1, "panicdoor: no\n"),
        (ProtocolError("a\nb\x1b[2J"), 1, "panicdoor: a\\x0ab\\x1b[2J\n"),
        (
            OSError(28, "No space left on device", "/x"),
            1,
            "panicdoor: /x: No space left on device\n",
        ),
        (OSError(28, "No space left on device"), 1, "panicdoor: No space left on device\n"),
        (OSError("odd"), 1, "panicdoor: odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def run(_: object) -> int:
        raise error

    fake(monkeypatch, run)
    assert program.main(["docs"]) == code
    assert capsys.readouterr() == ("", line)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> int:
        return 1 // 0

    fake(monkeypatch, run)
    with pytest.raises(ZeroDivisionError):
        program.main(["docs"])


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_code_of_a_subcommand(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    fake(monkeypatch, lambda _: code)
    assert program.main(["docs"]) == code


def test_configuration_error_of_the_whole_program(tmp_path: Path) -> None:
    done = start("init", str(tmp_path / "door"), "--name", "Web 1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"panicdoor: --name: expected .*, got 'Web 1'\n", done.stderr)


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*PANICDOOR, "--help"], stdout=writing, stderr=subprocess.PIPE, env=ENVIRONMENT,
            check=False, timeout=30,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_without_an_output_at_all(tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m panicdoor init {tmp_path}/door >&-"
    done = subprocess.run(["sh", "-c", line], env=ENVIRONMENT, check=False, timeout=30)
    assert done.returncode == 0
    assert (tmp_path / "door" / "door.toml").exists()
