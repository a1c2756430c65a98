"""The host's memory: /proc/meminfo, /proc/vmstat and /proc/swaps, proc_meminfo(5)."""

from typing import Final, NamedTuple

from panicdoor.kernel import reading

MEMINFO: Final = "/proc/meminfo"
VMSTAT: Final = "/proc/vmstat"
SWAPS: Final = "/proc/swaps"

_KIB: Final = 1024
_SWAP_FIELDS: Final = 5
_LINES_MAX: Final = 1000  # of a table; the kernel has some 60 and some 200


class Memory(NamedTuple):
    """Bytes. `available` is the kernel's own estimate of what can be had without swapping."""

    total: int
    available: int
    free: int
    buffers: int
    cached: int
    shared: int
    slab: int
    unreclaimable: int
    kernel_stacks: int
    page_tables: int
    dirty: int
    writeback: int
    locked: int
    huge: int
    swap_total: int
    swap_free: int
    committed: int
    commit_limit: int


class Swap(NamedTuple):
    """One swap area: bytes."""

    name: str
    kind: str
    size: int
    used: int
    priority: int


class Activity(NamedTuple):
    """Counters since boot: pages in and out of swap, faults that read a disk, stalls, kills."""

    swapped_in: int
    swapped_out: int
    major_faults: int
    direct_reclaims: int
    compaction_stalls: int
    oom_kills: int


def _lines(data: bytes) -> list[bytes]:
    """Return whole lines: the number at the end of a cut one would be a wrong one."""
    return data.split(b"\n", _LINES_MAX)[:-1]


def parse_meminfo(data: bytes) -> Memory:
    """Read /proc/meminfo's text. A value that is not there is 0; kernels differ in their lists."""
    kib = {}
    for line in _lines(data):
        name, _, rest = line.partition(b":")
        kib[name] = max(0, reading.number(rest.removesuffix(b" kB")) or 0)

    def of(name: bytes) -> int:
        return kib.get(name, 0) * _KIB

    return Memory(
        total=of(b"MemTotal"),
        # Before Linux 3.14 there was none; this is what free(1) took for it then.
        available=of(b"MemAvailable" if b"MemAvailable" in kib else b"MemFree"),
        free=of(b"MemFree"),
        buffers=of(b"Buffers"),
        cached=of(b"Cached") + of(b"SReclaimable"),
        shared=of(b"Shmem"),
        slab=of(b"Slab"),
        unreclaimable=of(b"SUnreclaim"),
        kernel_stacks=of(b"KernelStack"),
        page_tables=of(b"PageTables"),
        dirty=of(b"Dirty"),
        writeback=of(b"Writeback"),
        locked=of(b"Mlocked"),
        huge=kib.get(b"HugePages_Total", 0) * of(b"Hugepagesize"),
        swap_total=of(b"SwapTotal"),
        swap_free=of(b"SwapFree"),
        committed=of(b"Committed_AS"),
        commit_limit=of(b"CommitLimit"),
    )


def parse_vmstat(data: bytes) -> Activity:
    """Read /proc/vmstat's text. A counter that is not there is 0."""
    counters = {}
    for line in _lines(data):
        name, _, rest = line.partition(b" ")
        counters[name] = max(0, reading.number(rest) or 0)
    return Activity(
        swapped_in=counters.get(b"pswpin", 0),
        swapped_out=counters.get(b"pswpout", 0),
        major_faults=counters.get(b"pgmajfault", 0),
        # One counter for each zone, or one for all, by the kernel's age.
        direct_reclaims=sum(n for name, n in counters.items() if name.startswith(b"allocstall")),
        compaction_stalls=counters.get(b"compact_stall", 0),
        oom_kills=counters.get(b"oom_kill", 0),
    )


def parse_swaps(data: bytes) -> tuple[Swap, ...]:
    """Read /proc/swaps's text. Blanks in a name are escaped by the kernel, as `\\040`."""
    found = []
    for line in _lines(data)[1:]:
        fields = line.split()
        if len(fields) < _SWAP_FIELDS:
            continue
        size, used, priority = (reading.number(field) for field in fields[-3:])
        if size is not None and used is not None and priority is not None:
            name, kind = (field.decode("latin-1") for field in fields[:2])
            found.append(Swap(name, kind, size * _KIB, used * _KIB, priority))
    return tuple(found)


def memory() -> Memory:
    """Return the host's memory now. Raises OSError."""
    return parse_meminfo(reading.read(MEMINFO))


def activity() -> Activity:
    """Return the counters now. Raises OSError."""
    return parse_vmstat(reading.read(VMSTAT))


def swaps() -> tuple[Swap, ...]:
    """Return the swap areas; none where there is no such file."""
    try:
        return parse_swaps(reading.read(SWAPS))
    except OSError:
        return ()
