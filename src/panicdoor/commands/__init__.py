"""What the door can do: the registry, and one file for each subject, which fills it on import.

Their order is that of the lists that people read: what anyone may do comes first.
"""

from panicdoor.commands import public  # noqa: F401 - whoever imports any command has them all

# isort: split
from panicdoor.commands import (  # noqa: F401
    certificates,
    changes,
    clock,
    disks,
    kernel,
    listeners,
    login,
    memory,
    mounts,
    network,
    pressure,
    processes,
    services,
    sockets,
    triage,
    who,
)
