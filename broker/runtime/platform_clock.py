"""The platform's clock: the same time in all processes, whatever the clocks of their hosts say.

An event carries its deadline as a time. If two hosts' clocks differ by 8 s, one would see every
event 8 s closer to its deadline than the other. So all times that leave a process are those of
NATS, which all of them use. Between two comparisons with it the monotonic clock counts on:
setting the clock of a host changes nothing. ``broker.nats.time_source`` compares.

The alternative is to send the time that is left instead of a deadline. It needs no comparison, but
then an event that waited for a process that was held for seconds looks new to it, and the work for
it is done although its sender has given up.

A process has one platform clock, as it has one monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_CHANGE_S = 0.002
"""A smaller difference from the time of NATS is not corrected."""


class PlatformClock:
    """A clock that is corrected by the time of NATS; until then it is the clock of the host.

    Args:
        host_s: Returns the Unix time of the host in seconds.
        monotonic_s: Returns the time of a clock that nobody can set.

    Attributes:
        monotonic_s: As given.
        host_ahead_ns: How far the clock of the host was ahead of NATS when both were compared;
            negative if it was behind, 0 if the difference is too small to be known.
    """

    def __init__(
        self,
        host_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host_s = host_s
        self.monotonic_s = monotonic_s
        self._base_s = host_s() - monotonic_s()
        self.host_ahead_ns = 0

    def now_s(self) -> float:
        """Return the Unix time in seconds."""
        return self.monotonic_s() + self._base_s

    def correct(self, true_s: float, asked_s: float, answered_s: float) -> float:
        """Take a time of NATS into account.

        Args:
            true_s: Unix time of NATS, at some moment between the following two.
            asked_s: Monotonic time at which it was asked for.
            answered_s: Monotonic time at which it arrived.

        Returns:
            By how much this clock was changed, in seconds: 0 if the difference is within what the
            time of the answer leaves open.
        """
        open_s = (answered_s - asked_s) / 2 + LEAST_CHANGE_S
        change_s = true_s - (asked_s + answered_s) / 2 - self._base_s
        if abs(change_s) <= open_s:
            change_s = 0.0
        self._base_s += change_s
        ahead_s = self._host_s() - self.now_s()
        self.host_ahead_ns = int(ahead_s * 1e9) if abs(ahead_s) > open_s else 0
        return change_s


clock = PlatformClock()
"""The clock of this process."""
