"""A door without root, whoever runs the tests.

The process changes to the user nobody after it has imported everything: the interpreter may live
where nobody can read.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.child import NOBODY
from tests.running import LOOPBACK, ROOT, Door, free_port, start

from panicdoor.cli.init import make_door
from panicdoor.config import Address

CODE = """
import encodings.ascii, encodings.idna, encodings.latin_1, shutil
import panicdoor.cli.main, panicdoor.cli.serve
from panicdoor.kernel import libc
import tests.born
from tests.child import become_nobody
become_nobody()
libc.prctl(libc.PR_SET_DUMPABLE, 1)  # as after an execve(2)
"""


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user reaches; pytest's own are for one user."""
    with tempfile.TemporaryDirectory(prefix="panicdoor-test-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def give_away(directory: Path) -> None:
    """Have a door's directory belong to nobody, if that is not who we are."""
    if ROOT:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)


@contextmanager
def running_as_nobody(code: str = "") -> Iterator[Door]:
    """A new door of the user nobody, and its end."""
    with public_directory() as above:
        directory, port = above / "door", free_port()
        make_door(directory, name="web1", listen=(Address(LOOPBACK, port),))
        give_away(directory)
        door = start(directory, port, code=f"{CODE if ROOT else ''}\n{code}")
        try:
            yield door
        finally:
            door.stop()
            for pid in door.family():
                os.kill(pid, 9)
