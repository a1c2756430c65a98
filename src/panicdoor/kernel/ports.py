"""Who holds a port, by /proc/net and the descriptors of processes: proc_net(5)."""

import os
from typing import Final

from panicdoor.kernel import process

UNLISTED: Final = "a socket that is bound but idle, or closed by now"


def holder(port: int, udp: bool) -> str:
    """Return "pid 411 (rpc.mountd)" for whoever has a socket bound to that local port.

    Returns "somebody whom only root can see" where the socket belongs to nobody visible, and
    UNLISTED where the kernel lists no such socket: a tcp socket is listed once it listens or
    connects, not yet when it is bound.
    """
    inodes = _inodes(port, "udp" if udp else "tcp")
    if not inodes:
        return UNLISTED
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        if _links(pid) & inodes:
            return f"pid {pid} ({process.name(pid)})"
    return "somebody whom only root can see"


def _inodes(port: int, protocol: str) -> set[str]:
    found = set()
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        local = f":{port:04X}"
        # What has no inode belongs to nobody: a connection that has ended and waits (TIME_WAIT).
        found |= {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[9] != "0"}
    return found


def _links(pid: int) -> set[str]:
    links = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    except OSError:
        pass  # it ended, or it is not ours to see
    return links
