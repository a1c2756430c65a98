"""Other processes: when one started, what it is called, how to end it for certain."""

import os
import select
import signal
from typing import Final

from panicdoor.kernel import tasks

BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
OOM_SCORE: Final = "/proc/self/oom_score_adj"
OOM_NEVER: Final = "-1000"


def boot_id() -> str:
    """Return the id of this boot: start times of processes count from it."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when there is no such process."""
    found = tasks.stat(pid)
    return found.started if found else 0


def name(pid: int) -> str:
    """Return a process's name (comm, at most 15 bytes), or "?"."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip(b"\n").decode("latin-1")
    except OSError:
        return "?"


def end(pid: int, started: int, wait_ms: int) -> bool:
    """Kill the process of that pid and start time; True when it is gone within the time.

    The pidfd is opened first and the start time compared after, so that a process which was given
    the pid meanwhile is never hit.
    """
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if start_time(pid) != started:
            return True
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(wait_ms))
    except OSError:
        return False
    finally:
        os.close(fd)


def tell(pid: int, started: int, number: int) -> bool:
    """Send a signal to the process of that pid and start time; False where it is not there.

    Raises PermissionError where it is somebody else's.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(pid) != started:
            return False
        signal.pidfd_send_signal(fd, signal.Signals(number))
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def escape_oom_killer() -> bool:
    """Ask the kernel never to choose this process, or its children, when memory is out.

    Lowering the score needs CAP_SYS_RESOURCE; True where it is low, whoever lowered it:
    proc_pid_oom_score_adj(5).
    """
    try:
        with open(OOM_SCORE, "r+", encoding="ascii") as file:
            if file.read().strip() != OOM_NEVER:
                file.write(OOM_NEVER)
    except OSError:
        return False
    return True
