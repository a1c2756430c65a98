"""Asking a real door by ssh what only looks, as an operator does."""

import json
from typing import Any, Final

from tests.clients.programs import run
from tests.commands.fitting import check
from tests.logins import People

SECONDS: Final = 30.0  # on a machine that is busy; a command has a deadline of ten


def told(people: People, line: str) -> str:
    """Return what alice is told, which is visible ASCII whatever the host is like."""
    done = run(*people.ssh("alice"), line, seconds=SECONDS)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    assert text.replace("\n", "").isprintable()
    assert text.endswith("\n")
    return text


def document(people: People, line: str) -> Any:
    """Return what she is told as JSON, which is as it is documented."""
    found = json.loads(told(people, f"{line} --json"))
    check(line, found)
    return found
