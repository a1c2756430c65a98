"""asyncssh, imported without what a door does not speak: nobody imports it before this module.

It would bring file transfer, X11, tunnels, certificates of X.509, and whatever of smart cards and
Kerberos happens to be installed; all processes would hold that in memory. It also looks for two
libraries by running a compiler and a linker: a door starts no program.
"""

import ctypes
import sys
from types import ModuleType
from typing import Final

OPTIONAL: Final = (
    "asyncssh.crypto.umac",
    "asyncssh.crypto.x509",
    "bcrypt",
    "fido2",
    "gssapi",
    "pkcs11",
)
UNUSED: Final = (
    "asyncssh.scp",
    "asyncssh.sftp",
    "asyncssh.socks",
    "asyncssh.subprocess",
    "asyncssh.tuntap",
    "asyncssh.x11",
    "ctypes.util",
    "tempfile",
)


class Absent(ModuleType):
    """A module in which every name is there, and empty: enough to be imported from."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _find_nothing(name: str) -> str | None:
    """Stand in for ctypes.util.find_library."""


def _hide() -> dict[str, ModuleType]:
    """Hide what is not wanted; return what was there before."""
    names: tuple[str, ...] = (*OPTIONAL, *UNUSED)
    found = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(OPTIONAL))  # type: ignore[arg-type]
    sys.modules.update({name: Absent(name) for name in UNUSED})
    ctypes.util = sys.modules["ctypes.util"]
    ctypes.util.find_library = _find_nothing
    return found


def _show(found: dict[str, ModuleType]) -> None:
    """Let everybody else have what is not asyncssh's own."""
    for name in (*OPTIONAL, *UNUSED):
        if not name.startswith("asyncssh."):
            del sys.modules[name]
    del ctypes.util
    sys.modules.update(found)
    if "ctypes.util" in found:
        ctypes.util = found["ctypes.util"]


_whole = "asyncssh" in sys.modules  # a program around us, such as a test, wants all of it
_found = {} if _whole else _hide()
import asyncssh  # noqa: E402, F401 - only now

if not _whole:
    _show(_found)
