"""What the kernel's messages mean: the few that an operator must see, told from all others.

The texts are those of the kernel's sources (the file is named with each). A process chooses its own
name, and the kernel puts it into many messages; so a pattern either begins where the message
begins with more than the 15 characters that a name has, or takes the name for what it is.
"""

import re
from typing import Final, NamedTuple

from panicdoor.kernel.kmsg import Record

WARNING: Final = 4  # levels from 0 to 3 are errors and worse


class Complaint(NamedTuple):
    """One class of messages: how bad (1 worst), and what it means for the operator."""

    name: str
    rank: int
    pattern: re.Pattern[str]
    meaning: str


def _complaint(name: str, rank: int, pattern: str, meaning: str) -> Complaint:
    return Complaint(name, rank, re.compile(pattern, re.DOTALL), meaning)


# The first that fits counts. Crashes are first: a program cannot be called what is said of it.
COMPLAINTS: Final = (
    _complaint(
        "crash",  # arch/x86/mm/fault.c, arch/x86/kernel/traps.c; behind the program's name
        4,
        r"^.{1,16}\[\d+\]:? (?:segfault at [0-9a-f]+ ip |general protection fault ip:"
        r"|traps: |bad frame in |trap invalid opcode ip:)"
        r"|^traps: .{1,16}\[\d+\] (?:trap |general protection )",
        "a program crashed",
    ),
    _complaint(
        "machine check",  # arch/x86/kernel/cpu/mce, drivers/edac, drivers/firmware/efi/cper.c
        1,
        r"^(?:mce: )?\[Hardware Error\]:|^EDAC \S+: [0-9]+ [CU]E .* on ",
        "a processor or its memory reports an error",
    ),
    _complaint(
        "lockup",  # kernel/watchdog.c, kernel/rcu/tree_stall.h
        1,
        r"^(?:(?:NMI )?watchdog: )?(?:BUG: soft lockup - CPU|Watchdog detected hard LOCKUP)"
        r"|^rcu: INFO: \w+ (?:self-)?detected (?:expedited )?stall",
        "a processor did not come back from the kernel",
    ),
    _complaint(
        "kernel bug",  # lib/bug.c, arch/*/kernel/traps.c, mm/fault.c
        1,
        r"^(?:kernel BUG at \S+:\d+!|BUG: kernel NULL pointer|BUG: unable to handle |"
        r"Oops: (?:Oops: )?[0-9a-f]{4} \[#\d+\](?: [A-Z]|$)|Kernel panic - not syncing|"
        r"(?:Oops: )?general protection fault, probably for |Internal error: Oops)",
        "the kernel itself failed: reboot when you can",
    ),
    _complaint(
        "filesystem error",  # fs/ext4/super.c, fs/xfs/xfs_message.c, fs/btrfs/messages.c
        1,
        r"^EXT[234]-fs (?:\(\S+\): (?:error|previous I/O error)|error \(device )"
        r"|^XFS \(\S+\): (?:Metadata corruption|Corruption|(?:metadata|log) I/O error|"
        r"Filesystem has been shut down|Log I/O [Ee]rror)"
        r"|^BTRFS (?:error|critical) \(device |^F2FS-fs \(\S+\): .*[Cc]orrupt",
        "data is damaged or cannot be written",
    ),
    _complaint(
        "read-only",  # fs/ext4/super.c, fs/btrfs/messages.c, fs/xfs/xfs_fsops.c
        1,
        r"^EXT[234]-fs \(\S+\): Remounting filesystem read-only"
        r"|^BTRFS (?:info|warning|error) \(device [^)]+\)(?: state \w+)?:? ?forced readonly"
        r"|^XFS \(\S+\): .*[Ss]hutting down filesystem",
        "a file system was made read-only after errors",
    ),
    _complaint(
        "disk error",  # block/blk-core.c, fs/buffer.c, drivers/nvme, drivers/ata, drivers/scsi
        2,
        r"^(?:(?:blk|print)_\w+: )?(?:critical \w+ error|I/O error|timeout error), dev \S+, sector "
        r"|^Buffer I/O error on dev|^nvme \S+: I/O (?:tag )?\d+.* timeout|^ata\d+(?:\.\d+)?: "
        r"(?:exception Emask|failed command: |hard resetting link)|^sd \S+ \[\w+\] .*Sense Key : "
        r"(?:Medium|Hardware) Error|^md/raid\S+ Disk failure on ",
        "a disk does not do what it is told",
    ),
    _complaint(
        "out of memory",  # mm/oom_kill.c
        2,
        r"^(?:Memory cgroup out of memory|Out of memory(?: \(oom_kill_allocating_task\))?): "
        r"Kill(?:ed)? process \d+ ",
        "a process was killed to get memory",
    ),
    _complaint(
        "hung task",  # kernel/hung_task.c
        2,
        r"^INFO: task .{0,63}:\d+ (?:<\w+> )?(?:is )?blocked (?:on|for more than|in I/O wait)",
        "a process waits in the kernel for minutes: see processes, mounts, disks",
    ),
    _complaint(
        "remote disk",  # fs/nfs/*, net/sunrpc/clnt.c, fs/smb/client
        2,
        r"^nfs: server \S+ not responding|^CIFS: VFS: .*(?:has not responded|timed out)"
        r"|^(?:ceph|libceph): \S+ .*(?:hung|socket closed)",
        "a file server does not answer",
    ),
    _complaint(
        "connections dropped",  # net/netfilter/nf_conntrack_core.c
        2,
        r"^nf_conntrack: (?:\S+: )?(?:nf_conntrack: )?table full, dropping packet",
        "the firewall drops new connections: its table is full",
    ),
    _complaint(
        "fork refused",  # kernel/cgroup/pids.c
        2,
        r"^cgroup: fork rejected by pids controller in ",
        "a control group has no more tasks to give: see processes",
    ),
    _complaint(
        "descriptors",  # fs/file_table.c
        2,
        r"^VFS: file-max limit \d+ reached",
        "the host has no more file descriptors to give",
    ),
    _complaint(
        "no memory for",  # mm/page_alloc.c; behind the name of whoever asked
        3,
        r"^.{0,40}: page allocation failure: order:",
        "the kernel got no memory for itself",
    ),
    _complaint(
        "syn flood",  # net/ipv4/tcp_input.c
        3,
        r"^TCP: request_sock_\w+: Possible SYN flooding on port ",
        "a listener is overrun: see listeners",
    ),
    _complaint(
        "neighbours",  # net/core/neighbour.c
        3,
        r"^neighbour: \w+: neighbor table overflow!",
        "the host has no room for more neighbours",
    ),
    _complaint(
        "link",  # drivers/net: the words of most of them
        3,
        r"^(?:\S+ ){0,3}\S+: (?:NIC )?[Ll]ink (?:is )?[Dd]own$",
        "a network link went down",
    ),
)
OTHER: Final = Complaint("other error", 3, re.compile(""), "an error that has no class here")


def classify(record: Record) -> Complaint | None:
    """Return what a message complains of; None where it is none.

    Only the kernel's own count: a program may write `EXT4-fs error` too.
    """
    if not record.kernel:
        return None
    for complaint in COMPLAINTS:
        if complaint.pattern.match(record.text):  # each speaks of the beginning
            return complaint
    return OTHER if record.level < WARNING else None


_CRASHED: Final = re.compile(r"^(?:traps: )?(.{1,16})\[\d+\]", re.DOTALL)


def crashed(record: Record) -> str:
    """Return the name of the program that a message of class `crash` is about."""
    match = _CRASHED.match(record.text)
    return match[1] if match else ""
