"""The kernel's messages, from /dev/kmsg (Documentation/ABI/testing/dev-kmsg).

Each read(2) gives one record, the oldest first; what has been overwritten meanwhile is EPIPE, and
the end is EAGAIN, as the device is opened non-blocking. Programs may write there too: only what
the kernel itself said (facility 0) is told from it.
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

DEVICE: Final = "/dev/kmsg"
RECORD_MAX: Final = 8192  # bytes: CONSOLE_EXT_LOG_MAX; a smaller buffer is EINVAL
RECORDS_MAX: Final = 200_000  # records: a buffer of 16 MiB, the largest in use, has fewer
READ_S: Final = 1.0  # seconds of reading

_MICRO: Final = 1_000_000
_RECORD: Final = re.compile(rb"([0-9]{1,5}),([0-9]{1,18}),([0-9]{1,18}),[^;]*;([^\n]*)")
_ESCAPED: Final = re.compile(rb"\\x([0-9a-f]{2})")


class Record(NamedTuple):
    """One message. `at` is in seconds since boot, without the time asleep.

    `level` is as in syslog(3): 0 is worst, 3 an error, 4 a warning. `kernel` is False for what a
    program wrote.
    """

    number: int
    at: float
    level: int
    kernel: bool
    text: str


class Log(NamedTuple):
    """What was found. `lost` counts records that were overwritten while they were read.

    `whole` is False where reading ended by a limit: then the newest are missing.
    """

    records: tuple[Record, ...]
    lost: int
    whole: bool


def parse_record(data: bytes) -> Record | None:
    """Read what read(2) gave: `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, then a dictionary."""
    match = _RECORD.match(data)
    if match is None:
        return None
    priority = int(match[1])
    text = _ESCAPED.sub(lambda byte: bytes([int(byte[1], 16)]), match[4])
    return Record(
        int(match[2]),
        int(match[3]) / _MICRO,
        priority & 7,
        priority >> 3 == 0,
        text.decode("latin-1"),
    )


def records(wanted: Callable[[Record], bool], most: int, device: str = DEVICE) -> Log:
    """Return the newest records that are `wanted`, `most` of them at most, the oldest first.

    Raises OSError: EPERM where only root may read (kernel.dmesg_restrict), ENOENT where a
    container has no such device.
    """
    found: list[Record] = []
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    read = _Reader(fd)
    try:
        for record in read:
            if wanted(record):
                found.append(record)
                if len(found) > 2 * most:
                    del found[:-most]
    finally:
        os.close(fd)
    return Log(tuple(found[-most:]) if most else (), read.lost, read.whole)


class _Reader:
    def __init__(self, fd: int) -> None:
        self.lost = 0
        self.whole = False
        self._fd = fd

    def __iter__(self) -> Iterator[Record]:
        deadline = time.monotonic() + READ_S
        for _ in range(RECORDS_MAX):
            try:
                data = os.read(self._fd, RECORD_MAX)
            except BlockingIOError:
                self.whole = True
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.lost += 1
                continue
            if not data:  # a file that stands for the device
                self.whole = True
                return
            record = parse_record(data)
            if record is not None:
                yield record
            if time.monotonic() > deadline:
                return


def ago(record: Record) -> float:
    """Return how many seconds ago a record was written; time asleep does not count."""
    return max(0.0, time.monotonic() - record.at)
