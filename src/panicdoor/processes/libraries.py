"""What a door has of other people's libraries. `serve` imports this before anything else.

Every page that a library touches at import stays in memory in all processes, and some do more than
that at import. Left out, by giving the import system something smaller, are (ARCHITECTURE.md says
how much memory each saves):
- what is done after each fork for threads, of which there are none, and for numbers that only
  seem random, which nobody here uses: each of these hooks copies dozens of pages;
- what asyncssh does without where it is not installed, such as certificates of X.509;
- what is imported and never comes to be used here, such as file transfer;
- the search for two more libraries, by running a compiler and a linker: a door starts no program;
- Unicode's tables, a megabyte: names, keys and command lines are ASCII here. A wide character that
  is typed looks narrow to the line editor, until the line is refused.
"""

import ctypes
import os
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final


class Absent(ModuleType):
    """A module in which every name is there, and a class with nothing in it."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _with(name: str, **functions: object) -> ModuleType:
    """Return a module in which some names mean something."""
    module = Absent(name)
    vars(module).update(functions)
    return module


SEARCH: Final = "ctypes.util"
OPTIONAL: Final = (  # their importers do without
    "asyncssh.crypto.umac",
    "asyncssh.crypto.x509",
    "bcrypt",
    "fido2",
    "gssapi",
    "pkcs11",
)
UNUSED: Final = (  # their importers never come to use them here
    "asyncssh.scp",
    "asyncssh.sftp",
    "decimal",
    "tempfile",
)
INSTEAD: Final[dict[str, ModuleType | None]] = {
    **dict.fromkeys(OPTIONAL),
    **{name: Absent(name) for name in UNUSED},
    SEARCH: _with(SEARCH, find_library=lambda _: None),
    "unicodedata": _with("unicodedata", east_asian_width=lambda _: "N"),
    "asyncssh.saslprep": _with("asyncssh.saslprep", saslprep=str),
    "typing_extensions": typing,  # what is taken from it is in both
}


@contextmanager
def _less() -> Iterator[None]:
    """Have less to import for a while; who has it already keeps it, and others come to it later."""
    hidden = {name: module for name, module in INSTEAD.items() if name not in sys.modules}
    register = os.register_at_fork
    os.register_at_fork = lambda **_: None
    sys.modules.update(hidden)  # type: ignore[arg-type]
    if SEARCH in hidden:
        ctypes.util = sys.modules[SEARCH]
    yield
    os.register_at_fork = register
    if SEARCH in hidden:
        del ctypes.util
    for name in hidden:
        del sys.modules[name]


with _less():
    import asyncssh  # noqa: F401
    import msgspec  # noqa: F401
