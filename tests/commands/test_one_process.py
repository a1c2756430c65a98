"""One process in detail: real ones, one that ends, and command lines that do not come."""

import os

import pytest
from tests.commands.asking import document, parts
from tests.kernel.test_tasks import child

from panicdoor.commands import one_process, processes
from panicdoor.errors import CommandError
from panicdoor.kernel import tasks

STUCK = tasks.Stat(2**22 + 1, "nfsd\x1b[2J", "D", 1, 0, False, 5, 1, 100, 0)


def test_one_by_pid() -> None:
    with child(b"x) R 1\n(") as pid:
        found = parts(f"processes {pid}")
        text = "".join(found)
        assert text.startswith(f"{pid} (x) R 1\\x0a()\n")
        assert "state     S, waits in " in text
        assert f"parent    {os.getpid()} (" in text
        assert f"({os.getuid()})\n" in text
        said = document(f"processes {pid}")["process"]
        assert (said["pid"], said["state"], said["status"]["uid"]) == (pid, "S", os.getuid())
        assert "command" not in said["facts"]


def test_what_may_wait_comes_last_and_says_whom_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hang(pid: int) -> str | None:
        asked.append(pid)
        raise InterruptedError  # where a real one would not come back

    monkeypatch.setattr(tasks, "command_line", hang)
    with child() as pid:
        said = iter(processes.processes(None, str(pid)))  # type: ignore[arg-type]
        text = ""
        while not asked:
            try:
                text += next(said)
            except InterruptedError:
                break
        assert asked == [pid]
        assert text.endswith(f"asking {pid} (sleeper) ...\n")
        assert "memory" in text


def test_stuck_ones_are_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = STUCK._replace(pid=2, state="S", name="calm")
    thread = STUCK._replace(pid=3, state="S", kernel=True)
    text = "".join(one_process.command_lines([STUCK, thread, calm]))
    assert text.index("asking 2 (calm)") < text.index(f"asking {STUCK.pid} (nfsd\\x1b[2J)")
    assert "asking 3" not in text


def test_command_lines_are_bounded_and_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "command_line", lambda pid: "\x1b" * tasks.COMMAND_MAX)
    monkeypatch.setattr(tasks, "program", lambda pid: "/bin/\n")
    calm = STUCK._replace(state="S")
    found = list(one_process.command_lines([calm] * 25))
    assert all(len(part) <= 3072 and part.isascii() for part in found)
    assert "".join(found).count("asking") == one_process.COMMANDS_MAX
    assert "".join(found).endswith("(15 more command lines left out)\n")
    assert "program   /bin/\\x0a\n" in "".join(found)


def test_one_that_ends_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [STUCK, None]
    monkeypatch.setattr(tasks, "stat", lambda pid: found.pop(0))
    monkeypatch.setattr(one_process, "INTERVAL_S", 0)
    with pytest.raises(CommandError, match="has just ended"):
        list(one_process.one(STUCK.pid, json=False))
