"""The wall clock, as people read it."""

import time


def now_text() -> str:
    """Return the time as `2026-11-24 03:12:07 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
