"""The wall clock, as people read it."""

import time

_last = (0, "")


def now_text() -> str:
    """Return the time as `2026-11-24 03:12:07 UTC`; made once a second, however often asked."""
    global _last
    now = int(time.time())
    if _last[0] != now:
        _last = now, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return _last[1]
