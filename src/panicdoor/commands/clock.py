"""The command `clock`: what time the host takes it to be, and who vouches for it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import Column, Json, document, duration, findings, table
from panicdoor.kernel import clock as kernel

EARLIEST: Final = 1_764_547_200  # 2025-12-01: before this program was written
LATEST: Final = 4_102_444_800  # 2100-01-01: nothing signed is valid for so long
ERROR_HIGH: Final = 1.0  # seconds; Kerberos takes 300, TOTP 30, and logs tell nothing beyond 1
RTC_HIGH: Final = 60.0  # seconds between the hardware's clock and the system's
ZONE: Final = 900  # seconds: a hardware clock in local time is off by a multiple of this
ZONE_MAX: Final = 14 * 3600


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen; times in seconds since 1970."""

    now: float
    discipline: kernel.Discipline | None
    boot_time: int | None
    up: float
    asleep: float
    source: str
    hardware: tuple[kernel.Rtc, ...]


def look() -> Report:
    """Look at the clocks. A hardware clock may take a few milliseconds to answer."""
    hardware = kernel.hardware()
    return Report(
        time.time(),
        kernel.discipline(),
        kernel.boot_time(),
        kernel.up(),
        kernel.asleep(),
        kernel.source(),
        hardware,
    )


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    if not EARLIEST <= report.now <= LATEST:
        yield f"the clock is wrong: it says {moment(report.now)}"
    for rtc in report.hardware:
        apart = _apart(report, rtc)
        if apart is not None and abs(apart) > RTC_HIGH and not _in_local_time(apart):
            yield (
                f"{rtc.name}, the hardware's clock, is {duration(abs(apart))} "
                f"{'ahead' if apart > 0 else 'behind'}: one of the two is wrong"
            )
    kept = report.discipline
    if kept is not None and not kept.synchronised:
        yield "not synchronised: nobody vouches for the time (chronyd, ntpd, timesyncd?)"
    elif kept is not None and kept.max_error > ERROR_HIGH:
        yield f"the clock may be wrong by {duration(kept.max_error)} (normal below 1 s)"


def _apart(report: Report, rtc: kernel.Rtc) -> float | None:
    return None if rtc.seconds is None else rtc.seconds - report.now


def _in_local_time(apart: float) -> bool:
    return abs(apart) <= ZONE_MAX and abs(apart - ZONE * round(apart / ZONE)) <= RTC_HIGH


def moment(seconds: float) -> str:
    """Return a time as `2026-11-24 03:12:07 UTC`; what no calendar has, as a number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .now time: the system's clock
    .boot_time time?: when the host was started
    .up seconds: since then
    .asleep seconds: of that, suspended
    .synchronised bool?: whether somebody keeps the clock; null where the kernel does not say
    .state text?: ok, or what the kernel says instead
    .offset seconds?: a correction that is still being made
    .max_error seconds?: how wrong the clock may be
    .estimated_error seconds?: how wrong its keeper takes it to be
    .frequency number?: parts per million by which it is slowed down or sped up
    .source text: what the kernel counts by
    .hardware[].name text: a clock of the hardware
    .hardware[].seconds time?: what it says, if it runs in UTC; null where it does not answer
    .hardware[].sets_system bool: whether the system's clock was set by it
    """
)


@command(level=Level.OBSERVE, where=Where.OBSERVER, fields=_FIELDS)
def clock(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show the time, who keeps it, and the boot.

    A wrong clock breaks one-time passwords, Kerberos, certificates and orders. Whether the clock is
    synchronised is what the program that keeps it last told the kernel; nobody is asked over the
    network. Compare the time with a watch: a clock that is kept may still be kept wrong.

    Arguments:
        json: print one JSON object

    Examples:
        > clock
        ...
        now ... UTC
        kept ...
        ...
        up ...
    """
    report = look()
    if json:
        yield from document(_document(report))
        return
    yield from findings(wrong(report), "Nothing unusual about the clock.")
    yield "".join(table([Column("clock"), Column("", least=20), Column("normal")], _rows(report)))


def _rows(report: Report) -> Iterator[tuple[str, str, str]]:
    yield "now", moment(report.now), ""
    kept = report.discipline
    if kept is None:
        yield "kept", "the kernel does not say", ""
    else:
        yield "kept", "synchronised" if kept.synchronised else "not synchronised", "synchronised"
        yield "state", kept.state, "ok"
        yield "may be wrong by", duration(kept.max_error), "below 1 s"
        yield "being corrected", f"{kept.offset * 1000:+.3f} ms", "below 100 ms"
        yield "frequency", f"{kept.frequency:+.1f} ppm", "within 100 ppm"
    yield "counts by", report.source or "?", "tsc, kvm-clock, arch_sys_counter"
    for rtc in report.hardware:
        apart = _apart(report, rtc)
        if apart is None:
            yield rtc.name, "does not answer", ""
            continue
        zone = " (local time)" if abs(apart) > RTC_HIGH and _in_local_time(apart) else ""
        yield rtc.name, f"{moment(rtc.seconds or 0)}, {apart:+.0f} s{zone}", "within 60 s"
    if not report.hardware:
        yield "hardware", "has no clock", ""
    if report.boot_time is not None:
        yield "booted", moment(report.boot_time), ""
    asleep = f", asleep for {duration(report.asleep)}" if report.asleep > 1 else ""
    yield "up", duration(report.up) + asleep, ""


def _document(report: Report) -> Json:
    kept = report.discipline
    return {
        "findings": list(wrong(report)),
        "now": round(report.now, 3),
        "boot_time": report.boot_time,
        "up": round(report.up, 1),
        "asleep": round(report.asleep, 1),
        **(dict.fromkeys(kernel.Discipline._fields) if kept is None else kept._asdict()),
        "source": report.source,
        "hardware": [dict(rtc._asdict()) for rtc in report.hardware],
    }
