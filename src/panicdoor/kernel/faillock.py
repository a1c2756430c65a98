"""Who is locked out after wrong passwords: the tallies of pam_faillock(8).

One file for each user, in a directory that is in memory; each record is 64 bytes (faillock.h of
Linux-PAM): where it came from, what that is, and when.
"""

import os
import struct
import time
from typing import Final, NamedTuple

from panicdoor.kernel import reading

FOLDERS: Final = ("/run/faillock", "/var/run/faillock")
USERS_MAX: Final = 200  # files that are read
TALLY_MAX: Final = 64 << 10  # bytes of one: a thousand records

_TALLY: Final = struct.Struct("=52sHHQ")  # source, reserved, status, time
_VALID: Final = 1  # pam_faillock's own word for one that counts


class Locked(NamedTuple):
    """One user: how many failures count, and how many seconds ago the last was, from where."""

    user: str
    failures: int
    seconds: float
    source: str


def parse(user: str, data: bytes, now: float) -> Locked | None:
    """Read one user's file; None where no failure counts. A piece of a record is left out."""
    failures, last, source = 0, 0, ""
    for at in range(0, min(len(data), TALLY_MAX) - _TALLY.size + 1, _TALLY.size):
        came_from, _, status, when = _TALLY.unpack_from(data, at)
        if status & _VALID:
            failures += 1
            if when >= last:
                last, source = when, came_from.partition(b"\0")[0].decode("latin-1")
    return Locked(user, failures, max(0.0, now - last), source) if failures else None


def look(folders: tuple[str, ...] = FOLDERS) -> tuple[Locked, ...] | None:
    """Return whoever has failed, the most failures first; None where nothing counts failures."""
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))[:USERS_MAX]
        except OSError:
            continue
        found = []
        for name in names:
            try:
                one = parse(name, reading.glance(f"{folder}/{name}", TALLY_MAX), time.time())
            except OSError:
                continue
            if one is not None:
                found.append(one)
        return tuple(sorted(found, key=lambda one: -one.failures))
    return None
