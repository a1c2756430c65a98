"""Commands that look at the host, run where a test wants it: here, or in namespaces of its own.

`python -m tests.commands.observed LINE...` runs them, and says each part as soon as it is there.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands.fitting import check
from tests.documentation.doors import NOW, V4, manual

from panicdoor.commands import disks, network, sockets
from panicdoor.commands.registry import COMMANDS, Context, Level, call
from panicdoor.messages import PART_MAX
from panicdoor.words import parse

ROOT = Path(__file__).parents[2]

# People want a rate that means something; tests want to be done.
for watching in (disks, network, sockets):
    setattr(watching, "SAMPLE_S", 0.15)  # noqa: B010 - it is Final for everybody else


def said(line: str) -> Iterator[str]:
    """Yield the parts of an answer, each as a worker could send it."""
    for part in call(Context(manual(), V4, NOW, lambda: ""), parse(line)):
        assert len(part) <= PART_MAX
        assert re.fullmatch(r"[\n\x20-\x7e]*", part), part
        yield part


def answer(line: str) -> str:
    """Return a whole answer."""
    text = "".join(said(line))
    assert text.endswith("\n")
    if "--json" not in line:
        assert max(map(len, text.split("\n"))) <= 80, text
    return text


def document(line: str) -> Any:
    """Return what a command says as JSON."""
    found = json.loads(answer(f"{line} --json"))
    check(line, found)
    return found


def check_manual(name: str) -> None:
    """Fail unless the command is one that looks, and its examples show what it really prints."""
    command = COMMANDS[name]
    assert command.level is Level.OBSERVE
    assert command.examples
    for example in command.examples:
        pattern = ".*".join(map(re.escape, example.output.split("...")))
        printed = answer(example.line).strip("\n")
        assert re.fullmatch(pattern, printed, re.DOTALL), printed


def in_namespaces(setup: str, *lines: str) -> list[str]:
    """Return the answers in mount and network namespaces of their own, after a shell's `setup`."""
    run = subprocess.run(
        command_in_namespaces(setup, *lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\0")[:-1]


def command_in_namespaces(setup: str, *lines: str) -> list[str]:
    """Return the command line that does so; skips where this machine cannot."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid():
        pytest.skip("namespaces need root and unshare(1)")
    command = shlex.join([sys.executable, "-m", "tests.commands.observed", *lines])
    return [
        unshare, "--mount", "--net", "--propagation", "private", "--",
        "sh", "-euc", f"{setup}\nexec {command}",
    ]  # fmt: skip


if __name__ == "__main__":
    for typed in sys.argv[1:]:
        for piece in said(typed):
            print(piece, end="", flush=True)
        print(end="\0", flush=True)
