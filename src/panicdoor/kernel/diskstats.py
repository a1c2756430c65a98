"""What the disks are doing: two looks at /proc/diskstats (Documentation/admin-guide/iostats.rst).

The kernel counts; only the difference of two samples says anything about now.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from panicdoor.kernel import reading

DISKSTATS: Final = "/proc/diskstats"
BLOCK: Final = "/sys/block"  # whole disks have a directory here, partitions do not
READ_MAX: Final = 4 << 20  # bytes of the table that are read: some 40,000 disks
SECTOR: Final = 512  # bytes of a sector in this table, whatever the disk has

_FIELDS: Final = 14


class Counters(NamedTuple):
    """One disk's counters since boot: operations ended, sectors, milliseconds; `in_flight` is now.

    `busy_ms` counts the time with at least one request in flight, `waited_ms` that of all of them.
    """

    reads: int
    read_sectors: int
    read_ms: int
    writes: int
    written_sectors: int
    write_ms: int
    in_flight: int
    busy_ms: int


class Activity(NamedTuple):
    """What one disk did between two samples. `await_ms` is the mean time of what ended, or None."""

    name: str
    busy_percent: float
    in_flight: int
    await_ms: float | None
    read_bytes_s: float
    written_bytes_s: float

    @property
    def stuck(self) -> bool:
        """Whether requests waited all the time and not one ended."""
        return self.in_flight > 0 and self.await_ms is None and self.busy_percent >= 99  # noqa: PLR2004


def parse(text: bytes) -> dict[str, Counters]:
    """Return the counters of each device by its name; lines that do not fit are passed over."""
    found = {}
    for line in text.split(b"\n"):
        fields = line.split()
        if len(fields) < _FIELDS:
            continue
        n = [number for field in fields[3:_FIELDS] if (number := reading.number(field)) is not None]
        if len(n) < _FIELDS - 3:
            continue
        found[fields[2].decode("latin-1")] = Counters(
            n[0], n[2], n[3], n[4], n[6], n[7], n[8], n[9]
        )
    return found


def read() -> dict[str, Counters]:
    """Return the counters of whole disks, by name. Raises OSError."""
    found = parse(reading.read(DISKSTATS, READ_MAX))
    try:
        whole = set(os.listdir(BLOCK))
    except OSError:
        return found  # without /sys the partitions are there twice
    # A slash in a device's name (cciss/c0d0) is an exclamation mark in /sys.
    return {name: n for name, n in found.items() if name.replace("/", "!") in whole}


def activity(
    before: Mapping[str, Counters], after: Mapping[str, Counters], seconds: float
) -> list[Activity]:
    """Return what the disks of both samples did, busiest first. Counters may begin anew."""
    found = []
    for name, new in after.items():
        old = before.get(name)
        if old is None or seconds <= 0:
            continue
        ended = _grown(old.reads, new.reads) + _grown(old.writes, new.writes)
        spent = _grown(old.read_ms, new.read_ms) + _grown(old.write_ms, new.write_ms)
        found.append(
            Activity(
                name,
                min(100.0, _grown(old.busy_ms, new.busy_ms) / seconds / 10),
                max(0, new.in_flight),
                spent / ended if ended else None,
                _grown(old.read_sectors, new.read_sectors) * SECTOR / seconds,
                _grown(old.written_sectors, new.written_sectors) * SECTOR / seconds,
            )
        )
    return sorted(found, key=lambda disk: (-disk.busy_percent, -disk.in_flight, disk.name))


def _grown(old: int, new: int) -> int:
    return max(0, new - old)
