"""When pods of each component version have ended: before that, not all of its pods are known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from broker.runtime.platform_clock import clock
from kubefox.distill import Version

REMEMBER_S = 300.0
"""How long an end is remembered; then it counts for all versions."""
_US = 1_000_000


class EndedPods:
    """The latest end of a pod of each component version, as long as it matters.

    Args:
        now_s: Returns the time of the platform.
    """

    def __init__(self, now_s: Callable[[], float] = clock.now_s) -> None:
        self._now_s = now_s
        self._since_us = int(now_s() * _US)
        # The version whose pod has ended last is the last one.
        self._ended_us: OrderedDict[Version, int] = OrderedDict()

    def note(self, version: Version) -> None:
        """Note that a pod of a version has ended."""
        now_us = int(self._now_s() * _US)
        self._ended_us[version] = now_us
        self._ended_us.move_to_end(version)
        while next(iter(self._ended_us.values())) < now_us - REMEMBER_S * _US:
            _, self._since_us = self._ended_us.popitem(last=False)

    def since_us(self, version: Version) -> int:
        """Return the time of the platform in µs since which no pod of a version has ended."""
        return max(self._since_us, self._ended_us.get(version, 0))
