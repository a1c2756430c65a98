"""Memory that everybody may read, and only those may write who were born with its mapping.

A memfd whose seals forbid every new way to write it (memfd_create(2), F_SEAL_FUTURE_WRITE): who
holds the descriptor, opens it again by /proc, or owns it, can still only read. The one mapping that
was made before is inherited by a fork; who gives it up has given it up for good.
"""

import fcntl
import os
from typing import Final

from panicdoor.kernel import libc

F_SEAL_FUTURE_WRITE: Final = 0x10  # linux/fcntl.h, since Linux 5.1


def create(name: str, size: int) -> tuple[int, int]:
    """Return the descriptor of `size` bytes of zeros, and where they can be written.

    No page of it exists until it is written. Raises OSError.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, size)
        address = libc.map_for_writing(fd, size)
        seals = F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd, address
