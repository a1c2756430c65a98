"""The host's clocks: what the kernel says of their state, and how they differ.

adjtimex(2) is asked without changing anything. It tells what whoever keeps the time (chronyd,
ntpd, systemd-timesyncd) last told the kernel, and no more: nobody is asked over the network.
"""

import ctypes
import os
import struct
import time
from typing import Final, NamedTuple

from panicdoor.kernel import reading

STAT: Final = "/proc/stat"
RTC: Final = "/sys/class/rtc"
RTC_MAX: Final = 8  # devices looked at

TIME_ERROR: Final = 5  # what adjtimex returns for a clock that nobody keeps
_STATES: Final = {0: "ok", 1: "leap second is inserted today", 2: "leap second is deleted today"}
_STATES_MORE: Final = {3: "leap second now", 4: "leap second was", TIME_ERROR: "not synchronised"}
STA_UNSYNC, STA_NANO = 0x0040, 0x2000  # linux/timex.h
_MICRO, _NANO = 1e6, 1e9

# struct timex: modes, offset, freq, maxerror, esterror, status, constant, precision, tolerance,
# time, tick, and PPS counters; the kernel writes 208 bytes of it on 64 bits.
_TIMEX: Final = struct.Struct("@I4li3l2ll")
_TIMEX_ROOM: Final = 512
_FREQUENCY: Final = 65536  # the unit of freq is 1/65536 ppm

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.adjtimex.argtypes = (ctypes.c_void_p,)


class Discipline(NamedTuple):
    """How the clock is kept. Seconds; `frequency` in parts per million.

    `offset` is the correction that is still being made, not the error; `max_error` is what the
    keeper vouches for, and grows by 0.5 ms a second while nobody keeps the clock (16 s at most).
    """

    synchronised: bool
    state: str
    offset: float
    max_error: float
    estimated_error: float
    frequency: float


class Rtc(NamedTuple):
    """A clock of the hardware, in seconds since 1970 if it runs in UTC; None: no answer."""

    name: str
    seconds: int | None
    sets_system: bool


def parse_timex(state: int, data: bytes) -> Discipline | None:
    """Read a struct timex and what adjtimex(2) returned."""
    if len(data) < _TIMEX.size:
        return None
    _, offset, frequency, maximum, estimated, status, *_ = _TIMEX.unpack_from(data)
    unit = _NANO if status & STA_NANO else _MICRO
    return Discipline(
        state != TIME_ERROR and not status & STA_UNSYNC,
        {**_STATES, **_STATES_MORE}.get(state, f"state {state}"),
        offset / unit,
        maximum / _MICRO,
        estimated / _MICRO,
        frequency / _FREQUENCY,
    )


def discipline() -> Discipline | None:
    """Return how the clock is kept; None where the kernel does not say (a sandbox)."""
    buffer = ctypes.create_string_buffer(_TIMEX_ROOM)
    state = _LIBC.adjtimex(buffer)
    return None if state < 0 else parse_timex(state, buffer.raw)


def parse_boot_time(data: bytes) -> int | None:
    """Return `btime` of /proc/stat: when the host started, in seconds since 1970."""
    for line in data.split(b"\n"):
        if line.startswith(b"btime "):
            return reading.number(line[6:])
    return None


def boot_time() -> int | None:
    """Return when the host started, in seconds since 1970, by the clock as it is now."""
    try:
        return parse_boot_time(reading.read(STAT))
    except OSError:
        return None


def up() -> float:
    """Return the seconds since boot, asleep or not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def asleep() -> float:
    """Return how many of them the host was suspended."""
    return max(0.0, up() - time.clock_gettime(time.CLOCK_MONOTONIC))


def source() -> str:
    """Return what the kernel counts time with: `tsc`, `kvm-clock`, `hpet`..."""
    return reading.value("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def hardware(root: str = RTC) -> tuple[Rtc, ...]:
    """Return the hardware's clocks; virtual machines often have none."""
    try:
        names = sorted(os.listdir(root))[:RTC_MAX]
    except OSError:
        return ()
    return tuple(
        Rtc(
            f"{name} {reading.value(f'{root}/{name}/name')}".strip(),
            reading.number(reading.value(f"{root}/{name}/since_epoch")),
            reading.value(f"{root}/{name}/hctosys") == "1",
        )
        for name in names
    )
