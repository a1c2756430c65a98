"""Who is logged in, from three sources that fail apart from each other.

utmp(5), which login(1) and others write and which is no longer everywhere; logind's files, which
are in memory (sd-login(3): they are no interface, so that what is not understood is left out); and
the processes of sshd, which cannot be wrong: each connection has its own. None of them is asked of
a service.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from panicdoor.kernel import reading, tasks

UTMP: Final = "/run/utmp"
LOGIND: Final = "/run/systemd/sessions"
UTMP_MAX: Final = 1 << 20  # bytes: some 2,700 entries
SESSIONS_MAX: Final = 1000  # of each source

USER_PROCESS: Final = 7  # utmp(5): somebody is logged in
BOOT_TIME: Final = 2
_HEAD: Final = struct.Struct("=h2xi32s4s32s256shh")  # type, pid, line, id, user, host, exit
# Then session, seconds, microseconds, address: 32 bits each where programs of 32 bits share the
# file (x86-64, powerpc64, mips64), 64 bits for the first three elsewhere (glibc's bits/utmp.h).
_NARROW: Final = struct.Struct("=iii16s20x")
_WIDE: Final = struct.Struct("=qqq16s20x4x")
_WIDE_ON: Final = ("aarch64", "riscv64", "s390x", "loongarch64", "ia64", "alpha")
NARROW_SIZE, WIDE_SIZE = _HEAD.size + _NARROW.size, _HEAD.size + _WIDE.size
_V4: Final = 4  # bytes

LINKS_MAX: Final = 64  # descriptors of a process of sshd: it has some ten

SSHD: Final = ("sshd", "sshd-session", "sshd-auth")


class Entry(NamedTuple):
    """A line of utmp: seconds since 1970. `host` is what login(1) was told: a hint."""

    kind: int
    pid: int
    line: str
    user: str
    host: str
    address: str
    at: int


class Session(NamedTuple):
    """A file of logind: `uid` -1 and `at` 0 where it does not say."""

    name: str
    uid: int
    user: str
    terminal: str
    host: str
    service: str
    state: str
    leader: int
    at: int


class Connection(NamedTuple):
    """One connection of sshd: `pid` is the innermost of its processes, `parent` what watches it.

    `uid` is whom it runs as, `started` is as in tasks.Stat, `shells` counts the programs that it
    has started, and `tty` is the terminal of one of them, 0 for none.
    """

    pid: int
    parent: int
    uid: int
    started: int
    shells: int
    tty: int


def utmp_size(length: int, machine: str = "") -> int:
    """Return the bytes of an entry in a file of that length: by machine, unless that cannot be."""
    wide = (machine or os.uname().machine) in _WIDE_ON
    first, other = (WIDE_SIZE, NARROW_SIZE) if wide else (NARROW_SIZE, WIDE_SIZE)
    return other if length % first and not length % other else first


def parse_utmp(data: bytes, size: int) -> tuple[Entry, ...]:
    """Read utmp's entries of that size; a piece of one at the end is left out."""
    tail = _WIDE if size == WIDE_SIZE else _NARROW
    found = []
    for at in range(0, min(len(data), UTMP_MAX) - size + 1, size):
        kind, pid, line, _, user, host, _, _ = _HEAD.unpack_from(data, at)
        _, seconds, _, address = tail.unpack_from(data, at + _HEAD.size)
        found.append(
            Entry(kind, pid, _text(line), _text(user), _text(host), _address(address), seconds)
        )
    return tuple(found)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("latin-1")


def _address(field: bytes) -> str:
    if not any(field):
        return ""
    if any(field[_V4:]):
        return socket.inet_ntop(socket.AF_INET6, field)
    return socket.inet_ntop(socket.AF_INET, field[:_V4])


def parse_logind(name: str, data: bytes) -> Session:
    """Read one file of logind: lines of `NAME=value`; those that are not known do not matter."""
    pairs = [line.partition(b"=") for line in data.split(b"\n")]
    found = {key.decode("latin-1"): value.decode("latin-1") for key, _, value in pairs}

    def number(key: str) -> int | None:
        return reading.number(found.get(key, ""))

    uid = number("UID")
    return Session(
        name,
        -1 if uid is None else uid,
        found.get("USER", ""),
        found.get("TTY", ""),
        found.get("REMOTE_HOST", ""),
        found.get("SERVICE", ""),
        found.get("STATE", ""),
        number("LEADER") or 0,
        (number("REALTIME") or 0) // 1_000_000,
    )


def utmp(path: str = UTMP) -> tuple[Entry, ...] | None:
    """Return utmp's entries; None where there is no such file."""
    try:
        data = reading.read(path, UTMP_MAX)
    except OSError:
        return None
    return parse_utmp(data, utmp_size(len(data)))


def logind(folder: str = LOGIND) -> tuple[Session, ...] | None:
    """Return logind's sessions, SESSIONS_MAX at most; None where there is no logind."""
    try:
        names = [name for name in sorted(os.listdir(folder)) if not name.endswith(".ref")]
    except OSError:
        return None
    found = []
    for name in names[:SESSIONS_MAX]:
        try:
            data = reading.glance(f"{folder}/{name}", reading.SMALL)
        except OSError:
            continue
        found.append(parse_logind(name, data))
    return tuple(found)


def connections(stats: Iterable[tasks.Stat], root: str = tasks.PROC) -> Iterator[Connection]:
    """Yield sshd's connections, from the stat of all processes.

    A connection's processes are children of the listener, and each other's; the innermost is the
    user's, or sshd's own user's as long as nobody has logged in.
    """
    servers: dict[int, tasks.Stat] = {}
    children: dict[int, list[int]] = {}  # terminals, by parent
    for stat in stats:
        if stat.name in SSHD:
            servers[stat.pid] = stat
        elif stat.tty or stat.parent > 1:
            children.setdefault(stat.parent, []).append(stat.tty)
    watching = {stat.parent for stat in servers.values()}
    for pid, stat in servers.items():
        if pid in watching or stat.parent not in servers:
            continue  # it watches over another one, or it is a listener
        status = tasks.status(pid, root)
        if status is not None:
            shells = children.get(pid, [])
            tty = max(shells, default=0)
            yield Connection(pid, stat.parent, status.uid, stat.started, len(shells), tty)


def socket_inodes(pid: int, root: str = tasks.PROC) -> tuple[int, ...]:
    """Return the inodes of the sockets that a process has open, of its first descriptors."""
    found = []
    folder = f"{root}/{pid}/fd"
    try:
        entries = os.listdir(folder)[:LINKS_MAX]
    except OSError:
        return ()
    for entry in entries:
        try:
            link = os.readlink(f"{folder}/{entry}")
        except OSError:
            continue
        inode = reading.number(link[8:-1]) if link.startswith("socket:[") else None
        if inode is not None:
            found.append(inode)
    return tuple(found)
