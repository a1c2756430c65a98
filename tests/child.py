"""Something done in a process of its own: it may lock its memory, change its user, and die.

What it returns comes back as JSON; what it raises fails the test here.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import pwd
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

NOBODY = pwd.getpwnam("nobody")
LEVELS = 20_000  # lists in lists: their repr needs 140 bytes of stack for each, 2.7 MiB in all
PAGE = os.sysconf("SC_PAGE_SIZE")


class KilledError(Exception):
    """A signal ended the process; its number is the only argument."""


def in_child(what: Callable[[], object], *, nobody: bool = False) -> Any:
    """Fork, have `what` done there (as the user nobody, if so wanted), and return its result."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            faulthandler.disable()  # where one is to die, that is no news
            if nobody and os.geteuid() == 0:
                become_nobody()
            os.write(writer, json.dumps(what()).encode())
            code = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        result = results.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise KilledError(os.WTERMSIG(status))
    if status:
        pytest.fail(result.decode())
    return json.loads(result)


def become_nobody() -> None:
    """Change this process to the user nobody, for good."""
    os.setgroups([])
    os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
    os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)


def status(field: str, pid: int | str = "self") -> str:
    """Return a field of /proc/PID/status: proc_pid_status(5)."""
    with open(f"/proc/{pid}/status", "rb") as file:
        rows = dict(line.decode().split(":", 1) for line in file)
    return rows[field].strip()


def kib(field: str, pid: int | str = "self") -> int:
    """Return a field of /proc/PID/status that is a size."""
    return int(status(field, pid).split()[0])


def refused(what: Callable[[], object]) -> str:
    """Do something and return the name of the OSError that it raised, "" when it went well."""
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return ""


def end_of_stack() -> int:
    """Return the address that this process's stack grows down from: proc_pid_maps(5)."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        rows = [line.split() for line in maps]
    return next(int(row[0].split("-")[1], 16) for row in rows if row[-1] == "[stack]")


def use_stack(end: int, kilobytes: int) -> None:
    """Recurse in C as deep as the interpreter lets one, then use that much of the stack.

    `end` is what `end_of_stack` returned before this process could open no file any more. From
    Python 3.12 on the interpreter stops C recursion long before the stack ends.
    """
    nested: list[object] = []
    for _ in range(LEVELS):
        nested = [nested]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(LEVELS + 1000)
    try:
        for recurse in (repr, json.dumps):
            with contextlib.suppress(RecursionError):
                recurse(nested)
    finally:
        sys.setrecursionlimit(before)
        while nested:  # or its end would recurse as deeply
            nested = nested.pop()  # type: ignore[assignment]
    for address in range(end - PAGE, end - kilobytes * 1024, -PAGE):
        ctypes.string_at(address, 1)
    ctypes.memset(end - kilobytes * 1024, 0, 1)
