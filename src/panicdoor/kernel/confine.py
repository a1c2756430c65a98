"""Giving up rights: user, capabilities, files, signals.

Landlock (landlock(7)) denies a process every file, new TCP connections and bindings, and signals
to processes outside; where the kernel has no landlock, root shuts it into an empty directory.
"""

import ctypes
import os
import struct
from typing import Final

from panicdoor.kernel import libc

_CREATE_RULESET_VERSION: Final = 1
# Rights over files that each landlock ABI knows, as the highest bit + 1 (linux/landlock.h).
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_RIGHTS: Final = 0b11  # bind and connect, TCP: ABI 4
_SCOPES: Final = 0b11  # abstract unix sockets and signals: ABI 6
_NET_ABI, _SCOPE_ABI = 4, 6
_CAPABILITY_VERSION_3: Final = 0x20080522


def landlock_abi() -> int:
    """Return the kernel's landlock ABI, 0 where there is none."""
    try:
        return libc.syscall(
            "landlock_create_ruleset",
            libc.SYS_LANDLOCK_CREATE_RULESET,
            None,
            ctypes.c_size_t(0),
            ctypes.c_uint(_CREATE_RULESET_VERSION),
        )
    except OSError:
        return 0


def deny_files(abi: int) -> None:
    """Deny this process, for good, every path, new TCP ports and foreign signals.

    What it has open stays open. Needs no_new_privs. Raises OSError.
    """
    files = (1 << _FILE_RIGHTS.get(abi, _FILE_RIGHTS[5])) - 1
    attributes = struct.pack(
        "=QQQ", files, _NET_RIGHTS if abi >= _NET_ABI else 0, _SCOPES if abi >= _SCOPE_ABI else 0
    )
    size = 24 if abi >= _SCOPE_ABI else 16 if abi >= _NET_ABI else 8
    ruleset = libc.syscall(
        "landlock_create_ruleset",
        libc.SYS_LANDLOCK_CREATE_RULESET,
        ctypes.c_char_p(attributes),
        ctypes.c_size_t(size),
        ctypes.c_uint(0),
    )
    try:
        libc.syscall(
            "landlock_restrict_self",
            libc.SYS_LANDLOCK_RESTRICT_SELF,
            ctypes.c_int(ruleset),
            ctypes.c_uint(0),
        )
    finally:
        os.close(ruleset)


def enter_empty_root(fd: int) -> None:
    """Make the (empty) directory open as `fd` this process's root, and close `fd`. Needs root."""
    os.fchdir(fd)
    os.chroot(".")
    os.close(fd)


def no_new_privileges() -> None:
    """Let no execve(2) ever give this process more rights again."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Keep processes of the same user from reading this one's memory (PR_SET_DUMPABLE)."""
    libc.prctl(libc.PR_SET_DUMPABLE, 0)


def change_user(uid: int, gid: int) -> None:
    """Become another user for good: groups, then group, then user."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    """Give up every capability, ambient and inheritable ones too: capset(2)."""
    libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
