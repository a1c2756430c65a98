"""An end for work that may take too long: SIGALRM, in the one thread that a process here has.

    with within(0.5):
        ...  # OutOfTimeError is raised somewhere in here, half a second from now

It ends what computes and what sleeps so that a signal wakes it. The collector of garbage rests
meanwhile: what is raised inside of it would be lost, and printed where nobody wants it. A process
that waits in the kernel for a disk (state D) is not woken by anything: for that there is only
another process.
"""

import gc
import signal
from types import FrameType, TracebackType
from typing import Final

AGAIN_S: Final = 0.05  # rings again: an exception raised inside a finalizer is lost
LEAST_S: Final = 0.001  # a timer of 0 never rings


class OutOfTimeError(Exception):
    """The time is over. No OSError: whoever skips what cannot be read must not skip this."""


class within:  # noqa: N801 - read as a word: `with within(...)`
    """Raise OutOfTimeError inside the block after so many seconds. Blocks cannot be nested."""

    def __init__(self, seconds: float) -> None:
        self._seconds = max(seconds, LEAST_S)
        self._armed = False

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()
        self._armed = True
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN_S)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        if self._collects:
            gc.enable()

    def _ring(self, _: int, frame: FrameType | None) -> None:
        # Raised on the way in or out, it would leave the bell ringing, for whatever comes next.
        doors = within.__enter__.__code__, within.__exit__.__code__
        if self._armed and (frame is None or frame.f_code not in doors):
            raise OutOfTimeError
