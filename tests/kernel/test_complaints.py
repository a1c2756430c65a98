"""What the kernel complains of: real messages find their class, no name of a process fakes one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import complaints
from panicdoor.kernel.complaints import COMPLAINTS, OTHER, Complaint
from panicdoor.kernel.kmsg import Record

# Messages as kernels from 4.19 to 6.18 print them.
REAL = [
    ("machine check", "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: bea0000000000108"),
    ("machine check", "[Hardware Error]: Corrected error, no action required."),
    ("machine check", "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0"),
    ("lockup", "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:42]"),
    ("lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 5"),
    ("lockup", "rcu: INFO: rcu_sched self-detected stall on CPU"),
    ("lockup", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
    ("kernel bug", "kernel BUG at mm/slub.c:305!"),
    ("kernel bug", "BUG: kernel NULL pointer dereference, address: 0000000000000008"),
    ("kernel bug", "BUG: unable to handle page fault for address: ffffc90000a1f000"),
    ("kernel bug", "Oops: 0002 [#1] PREEMPT SMP NOPTI"),
    ("kernel bug", "Oops: Oops: 0000 [#1] SMP NOPTI"),
    ("kernel bug", "Kernel panic - not syncing: Fatal exception"),
    ("filesystem error", "EXT4-fs error (device sda1): ext4_lookup:1785: inode #2: comm ls: bad"),
    ("filesystem error", "EXT4-fs (sda1): previous I/O error to superblock detected"),
    ("filesystem error", "XFS (dm-0): Metadata corruption detected at xfs_agf_verify+0x2b/0x180"),
    ("filesystem error", 'XFS (sdb1): metadata I/O error in "xfs_trans_read" at daddr 0x40'),
    ("filesystem error", "XFS (sda1): Corruption of in-memory data detected. Shutting down"),
    ("filesystem error", "BTRFS error (device sda2): parent transid verify failed on 123"),
    ("filesystem error", "BTRFS critical (device sda2): corrupt leaf: root=5 block=1"),
    ("read-only", "EXT4-fs (sda1): Remounting filesystem read-only"),
    ("read-only", "BTRFS info (device sda2): forced readonly"),
    ("disk error", "blk_update_request: I/O error, dev sdb, sector 2048 op 0x0:(READ)"),
    ("disk error", "I/O error, dev nvme0n1, sector 8 op 0x1:(WRITE) flags 0x800"),
    ("disk error", "critical medium error, dev sda, sector 12345 op 0x0:(READ) flags 0x0"),
    ("disk error", "Buffer I/O error on dev dm-1, logical block 0, async page read"),
    ("disk error", "nvme nvme0: I/O 123 QID 4 timeout, aborting"),
    ("disk error", "nvme nvme0: I/O tag 12 (100c) opcode 0x2 QID 4 timeout, aborting req_op:READ"),
    ("disk error", "ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen"),
    ("disk error", "ata1.00: failed command: READ DMA"),
    ("disk error", "sd 0:0:0:0: [sda] tag#1 Sense Key : Medium Error [current]"),
    ("out of memory", "Out of memory: Killed process 4711 (php-fpm) total-vm:1kB, anon-rss:2kB"),
    ("out of memory", "Out of memory: Kill process 4711 (php-fpm) score 900 or sacrifice child"),
    ("out of memory", "Memory cgroup out of memory: Killed process 9 (x) total-vm:3kB"),
    ("hung task", "INFO: task kworker/u8:1:1234 blocked for more than 120 seconds."),
    ("hung task", "INFO: task x) R 1\n(:17 blocked for more than 241 seconds."),
    ("hung task", "INFO: task sync:99 <writer> blocked on a mutex likely owned by task a:1."),
    ("remote disk", "nfs: server filer1 not responding, still trying"),
    ("remote disk", "CIFS: VFS: \\\\filer has not responded in 180 seconds. Reconnecting..."),
    ("connections dropped", "nf_conntrack: nf_conntrack: table full, dropping packet"),
    ("connections dropped", "nf_conntrack: table full, dropping packet"),
    ("fork refused", "cgroup: fork rejected by pids controller in /system.slice/x.service"),
    ("descriptors", "VFS: file-max limit 1024 reached"),
    ("no memory for", "kworker/0:1: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL)"),
    ("syn flood", "TCP: request_sock_TCP: Possible SYN flooding on port [::]:80. Sending cookies."),
    ("neighbours", "neighbour: arp_cache: neighbor table overflow!"),
    ("link", "e1000e 0000:00:1f.6 eno1: NIC Link is Down"),
    ("crash", "python3[4611]: segfault at 7fff4954bff8 ip 00007f66 sp 00007fff error 6 in libp"),
    ("crash", "traps: a.out[77] trap invalid opcode ip:401130 sp:7ffd error:0 in a.out[401000]"),
    ("crash", "traps: node[99] general protection fault ip:7f sp:7f error:0"),
]


def record(text: str, level: int = 6, kernel: bool = True) -> Record:
    return Record(1, 1.0, level, kernel, text)


def named(text: str, level: int = 6) -> str | None:
    found = complaints.classify(record(text, level))
    return None if found is None else found.name


@pytest.mark.parametrize(("name", "text"), REAL)
def test_real_messages(name: str, text: str) -> None:
    assert named(text) == name


def test_every_class_has_an_example() -> None:
    assert {complaint.name for complaint in COMPLAINTS} == {name for name, _ in REAL}


@pytest.mark.parametrize(
    "text",
    [
        "EXT4-fs (vda): mounted filesystem 00000000-0000 r/w without journal. Quota mode: none.",
        "NMI watchdog: Perf NMI watchdog permanently disabled",
        "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
        "EDAC MC: Ver: 3.0.0",
        "nfs: server filer1 OK",
        "XFS (sda1): Mounting V5 Filesystem",
        "BTRFS info (device sda2): disk space caching is enabled",
        "e1000e: eno1 NIC Link is Up 1000 Mbps Full Duplex, Flow Control: None",
        "ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=php-fpm,pid=4711,uid=33",
        "Code: 4c 24 28 48 89",
        "",
    ],
)
def test_what_is_no_complaint(text: str) -> None:
    assert named(text) is None


def test_errors_without_a_class_are_told_all_the_same() -> None:
    assert named("something new is wrong", level=3) == OTHER.name
    assert named("something new is odd", level=4) is None


def test_what_a_program_wrote_is_no_complaint() -> None:
    for _, text in REAL:
        assert complaints.classify(record(text, 0, kernel=False)) is None


# How the kernel puts a process's name, of 15 characters at most, at the beginning of a message.
BEHIND_A_NAME = [
    ("crash", "{}[123]: segfault at 0 ip 0000000000000000 sp 00007ffe error 14"),
    ("no memory for", "{}: page allocation failure: order:0, mode:0x0, nodemask=(null)"),
    (None, "{} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"),
    (None, "{} (123): drop_caches: 3"),
    (None, "{}[123]: potentially unexpected fatal signal 11."),
]


@pytest.mark.parametrize(("name", "message"), BEHIND_A_NAME)
def test_no_name_of_a_process_makes_a_worse_complaint(name: str | None, message: str) -> None:
    for _, text in REAL:
        for length in range(1, 16):
            assert named(message.format(text[:length])) in (name, None)


@given(st.text(), st.integers(0, 7), st.booleans())
def test_no_text_raises(text: str, level: int, kernel: bool) -> None:
    found = complaints.classify(record(text, level, kernel))
    assert found is None or isinstance(found, Complaint)
    complaints.crashed(record(text))


def test_long_texts_take_no_time() -> None:
    for text in ("ata1: " * 1000, "EDAC x: 1 CE " + " on" * 2000, "a " * 4000, "[" * 8000):
        named(text)


def test_crashed() -> None:
    assert complaints.crashed(record("x) R 1[5]: segfault at 0 ip 0")) == "x) R 1"
    assert complaints.crashed(record("traps: node[99] general protection")) == "node"
    assert complaints.crashed(record("none")) == ""
