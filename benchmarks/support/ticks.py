"""A steady clock for the loop: the kernel's timerfd, exact to microseconds.

The timers of uvloop are exact to a millisecond only, which at 5,000 requests a second would send
them in bursts of five.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NS = 1_000_000_000
_NONBLOCK = 0o4000
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


@contextmanager
def ticks(start_ns: int, interval_ns: int, passed: Callable[[int], None]) -> Iterator[None]:
    """Call ``passed`` at ``start_ns`` and every ``interval_ns`` after it, until the context ends.

    Args:
        start_ns: Time of ``time.perf_counter_ns``, the kernel's monotonic clock on Linux.
        interval_ns: Time between two ticks, above 0.
        passed: Called with the number of ticks since its last call.

    Raises:
        OSError: The kernel refuses the timer.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = _checked(libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK))
    try:
        first = _Timespec(*divmod(start_ns, _NS))
        timer = _Timer(_Timespec(*divmod(interval_ns, _NS)), first)
        _checked(libc.timerfd_settime(descriptor, _ABSOLUTE, ctypes.byref(timer), None))
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, lambda: passed(_count(descriptor)))
        yield
        loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


def _count(descriptor: int) -> int:
    return int.from_bytes(os.read(descriptor, 8), "little")


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
