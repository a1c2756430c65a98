"""What a process of a door finds out about itself: imported into a real door before it starts.

In every place, once it has given up its rights and just before it serves, the process uses nearly
all of its stack, tries what it should not be able to do, and writes the results down in a file
that it opened before.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any

from tests.child import end_of_stack, refused, use_stack

from panicdoor.processes.place import Place

REPORTS = "PANICDOOR_TEST_REPORTS"  # names the directory of the reports
LANDLOCK = "PANICDOOR_TEST_LANDLOCK"  # "0": as on a kernel without landlock
DEEP = 7_500  # KiB of stack: nearly all of the usual limit

CODE = "import tests.born\ntests.born.wrap()"
FIELDS = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapAmb", "NoNewPrivs", "VmLck", "Threads")


def wrap() -> None:
    """Have all this done in every process that fills a place."""
    if os.environ.get(LANDLOCK) == "0":
        from panicdoor.kernel import confine  # noqa: PLC0415

        confine.landlock_abi = lambda: 0
    reports = Path(os.environ[REPORTS])
    stack = end_of_stack()
    give_up_rights, serve = Place.give_up_rights, Place.serve
    open_until: dict[str, Any] = {}

    def confined(place: Place) -> None:
        open_until["report"] = (reports / place.name).open("w", encoding="utf-8")
        open_until["status"] = Path("/proc/self/status").open("rb", buffering=0)  # noqa: SIM115
        open_until["supervisor"] = os.getppid()
        give_up_rights(place)

    def serving(place: Place, *arguments: Any, **named: Any) -> None:
        use_stack(stack, DEEP)
        results = {"tried": tried(open_until["supervisor"]), "status": own_status(open_until)}
        with open_until.pop("report") as report:
            json.dump(results, report)
        serve(place, *arguments, **named)

    setattr(Place, "give_up_rights", confined)  # noqa: B010
    setattr(Place, "serve", serving)  # noqa: B010


def own_status(open_until: dict[str, Any]) -> dict[str, str]:
    """Return what /proc/self/status says, from a file that was opened while that was possible."""
    with open_until.pop("status") as file:
        rows = dict(line.split(":", 1) for line in file.read().decode().splitlines())
    return {field: rows[field].strip() for field in FIELDS}


def tried(supervisor: int) -> dict[str, str]:
    """Return which error each attempt ends with, "" for success."""
    return {
        "read": refused(lambda: os.close(os.open("/etc/passwd", os.O_RDONLY))),
        "list": refused(lambda: os.listdir("/etc")),
        "write": refused(lambda: write("/tmp")),
        "write here": refused(lambda: write(".")),
        "run": refused(run),
        "connect": refused(connect),
        "signal": refused(lambda: os.kill(supervisor, 0)),
        "look": refused(lambda: os.readlink(f"/proc/{supervisor}/fd/0")),
        "become root": refused(lambda: os.setresuid(0, 0, 0)),
    }


def write(directory: str) -> None:
    """Make a file, and remove it again where that was possible."""
    file = f"{directory}/panicdoor-{os.getpid()}"
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(file)


def run() -> None:
    """Run a program that is there on every machine: in a child, whose errors come back."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, refused(lambda: os.execv("/bin/true", ["true"])).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as report:
        error = report.read().decode()
    os.waitpid(pid, 0)
    if error:
        raise OSError(error)


def connect() -> None:
    """Connect to somebody who listens: here, port 9, where the answer itself would do."""
    with socket.socket() as sock:
        sock.settimeout(2)
        try:
            sock.connect(("127.0.0.1", 9))
        except ConnectionRefusedError:
            return  # it was let out
