"""What is mounted where: /proc/self/mountinfo (proc_pid_mountinfo(5)). Nothing mounted is touched.

A file system whose server is away makes everybody who touches it wait, sometimes for ever. So
this says which mounts may do that: `waiting` are those over a network or in a user's process, and
whatever is mounted below one, since the way there leads through it.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from panicdoor.kernel import reading

MOUNTINFO: Final = "/proc/self/mountinfo"
READ_MAX: Final = 8 << 20  # bytes of the table that are read: some 50,000 mounts

# Whose answers come from elsewhere: a server, another process, the host of a virtual machine.
REMOTE: Final = frozenset(
    {
        "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse", "fuseblk", "gfs",
        "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "pvfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
    }
)  # fmt: skip
# What the kernel shows of itself: nothing is stored there that could run out.
KERNELS_OWN: Final = frozenset(
    {
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
        "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore",
        "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
    }
)  # fmt: skip
# Images that nobody ever writes to, and that are full from the beginning.
NEVER_WRITTEN: Final = frozenset({"cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"})
# What ext4, xfs and others show once an error has made them refuse: "ro", where the mount says "rw"
_BROKEN: Final = frozenset({"emergency_ro", "shutdown"})

_FIELDS: Final = 6  # before the optional ones
_OCTAL: Final = re.compile(rb"\\([0-3][0-7]{2})")


class Mount(NamedTuple):
    """One mount. `options` are the mount's own, `super_options` those of the file system.

    `device` is "254:0"; mounts of one file system share it. Names are bytes: the kernel's escapes
    are undone, so anything may stand in them.
    """

    id: int
    parent: int
    device: str
    root: bytes
    point: bytes
    options: tuple[str, ...]
    kind: str
    source: bytes
    super_options: tuple[str, ...]

    @property
    def remote(self) -> bool:
        """Whether its answers come from a server, or from a process (FUSE)."""
        return self.kind in REMOTE or self.kind.startswith("fuse.")

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written here."""
        return "ro" in self.options or "ro" in self.super_options or self.broken

    @property
    def broken(self) -> bool:
        """Whether the kernel itself has stopped all writing, as it does after an error.

        A mount that was asked for as read-only says so in its own options too.
        """
        turned = "ro" in self.super_options and "ro" not in self.options
        written = self.kind not in NEVER_WRITTEN and self.kind not in KERNELS_OWN
        return (turned and written) or not _BROKEN.isdisjoint(self.super_options)


def unescape(field: bytes) -> bytes:
    """Undo the kernel's `\\040`: blanks, tabs, line feeds, backslashes and number signs."""
    if b"\\" not in field:
        return field
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), field)


def parse(text: bytes) -> list[Mount]:
    """Return the mounts of a table, in its order. Lines that nobody understands are passed over."""
    return [mount for line in text.split(b"\n") if (mount := _parse_line(line)) is not None]


def _parse_line(line: bytes) -> Mount | None:
    fields = line.split(b" ")
    try:
        dash = fields.index(b"-", _FIELDS)
        kind, source, super_options = fields[dash + 1 : dash + 4]
    except ValueError:
        return None
    number, parent = reading.number(fields[0]), reading.number(fields[1])
    if number is None or parent is None:
        return None
    return Mount(
        number,
        parent,
        _text(fields[2]),
        unescape(fields[3]),
        unescape(fields[4]),
        tuple(_text(fields[5]).split(",")),
        _text(kind),
        unescape(source),
        tuple(_text(super_options).split(",")),
    )


def _text(field: bytes) -> str:
    return unescape(field).decode("latin-1")


def read(path: str = MOUNTINFO) -> tuple[list[Mount], bool]:
    """Return the mounts, and whether the table was too long to be read whole. Raises OSError."""
    text = reading.read(path, READ_MAX)
    cut = len(text) == READ_MAX
    return parse(text[: text.rfind(b"\n") + 1] if cut else text), cut


def waiting(mounts: Iterable[Mount]) -> frozenset[int]:
    """Return the ids of mounts that may let whoever touches them wait: remote, or below one."""
    by_id = {mount.id: mount for mount in mounts}
    known: dict[int, bool] = {}
    for mount in by_id.values():
        way = []
        at: Mount | None = mount
        while at is not None and at.id not in known:
            known[at.id] = at.remote  # also ends a circle, which only a hostile table can have
            way.append(at.id)
            at = None if at.remote else by_id.get(at.parent)
        waits = at is not None and known[at.id]
        for passed in reversed(way):
            waits = known[passed] = known[passed] or waits
    return frozenset(passed for passed, waits in known.items() if waits)


def visible(mounts: Iterable[Mount]) -> list[Mount]:
    """Return the mounts without those that another one, mounted later on the same point, hides."""
    top: dict[bytes, Mount] = {}
    for mount in mounts:
        top.pop(mount.point, None)
        top[mount.point] = mount
    return list(top.values())


def file_systems(mounts: Iterable[Mount]) -> list[Mount]:
    """Return one mount for each file system that stores something: the safest, shortest way there.

    In the order of the table.
    """
    seen = visible(mounts)
    waits = waiting(seen)
    best: dict[str, Mount] = {}
    for mount in seen:
        known = best.get(mount.device)
        if mount.kind not in KERNELS_OWN and (
            known is None
            or (mount.id in waits, len(mount.point)) < (known.id in waits, len(known.point))
        ):
            best[mount.device] = mount
    return list(best.values())
