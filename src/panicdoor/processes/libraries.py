"""What a door has of other people's libraries. `serve` imports this before anything else.

Every page that a library touches at import stays in memory in all processes, and some do more than
that at import. Left out are:
- what a door does not speak or use: file transfer, X11, tunnels and certificates of X.509 in
  asyncssh, and whatever of smart cards and Kerberos happens to be installed;
- the search for two more libraries, by running a compiler and a linker: a door starts no program;
- what is done after each fork for threads, of which there are none, and for numbers that only
  seem random, which nobody here uses: each of these hooks copies dozens of pages.
"""

import ctypes
import os
import sys
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Final

OPTIONAL: Final = (  # their importers do without
    "asyncssh.crypto.umac",
    "asyncssh.crypto.x509",
    "bcrypt",
    "fido2",
    "gssapi",
    "pkcs11",
)
UNUSED: Final = (  # their importers never come to use them here
    "asyncssh.forward",
    "asyncssh.listener",
    "asyncssh.pkcs11",
    "asyncssh.scp",
    "asyncssh.sftp",
    "asyncssh.socks",
    "asyncssh.sshsig",
    "asyncssh.subprocess",
    "asyncssh.tuntap",
    "asyncssh.x11",
    "ctypes.util",
    "decimal",
    "tempfile",
)
EQUAL: Final = {"typing_extensions": typing}  # what is taken from it is in both


class Absent(ModuleType):
    """A module in which every name is there, and empty: enough to be imported from."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Empty,), {})


class Empty:
    """A class with nothing in it; annotations may give it type parameters."""

    def __class_getitem__(cls, _: object) -> type:
        return cls


def _find_nothing(name: str) -> str | None:
    """Stand in for ctypes.util.find_library."""


def _hide() -> Callable[[], None]:
    """Hide what is not wanted; return what ends that, for everybody else."""
    names: tuple[str, ...] = (*OPTIONAL, *UNUSED, *EQUAL)
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    register, util = os.register_at_fork, getattr(ctypes, "util", None)

    def show() -> None:
        os.register_at_fork = register
        for name in names:
            if not name.startswith("asyncssh."):
                del sys.modules[name]
        sys.modules.update(before)
        if util is None:
            del ctypes.util
        else:
            ctypes.util = util

    sys.modules.update(dict.fromkeys(OPTIONAL))  # type: ignore[arg-type]
    sys.modules.update({name: Absent(name) for name in UNUSED})
    sys.modules.update(EQUAL)
    ctypes.util = sys.modules["ctypes.util"]
    ctypes.util.find_library = _find_nothing
    os.register_at_fork = lambda **_: None
    return show


# A program around us, such as a test, may want all of it, and has it already.
_show = _hide() if "asyncssh" not in sys.modules else lambda: None
import asyncssh  # noqa: E402, F401 - only now
import msgspec  # noqa: E402, F401

_show()
