"""The component versions without a pod, and when their events are delivered again.

Thousands of events may wait for one version. Were each of them sent to find out that there is still
no pod, events of other versions would wait behind them. So after one has found no pod, the others
are not sent: each gets a time of its own, a few milliseconds after the one before it. The first one
after the pause finds out. Pure: the time is an argument.
"""

from __future__ import annotations

RATE_PER_S = 100.0
"""Events of one version without a pod that are delivered again, in each process."""
PROBE_S = 5.0
"""How long an event that finds out whether there is a pod may take; then another one is sent."""
MAX_VERSIONS = 4_096


class Backlog:
    """When the events of versions without a pod are delivered again.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._next_s: dict[str, float] = {}
        self._closed_until_s: dict[str, float] = {}

    def close(self, target: str, now_s: float, pause_s: float) -> None:
        """Note that a version has no pod, and that its events wait at least for ``pause_s``."""
        if target not in self._closed_until_s and len(self._closed_until_s) >= MAX_VERSIONS:
            self.open(next(iter(self._closed_until_s)))
        self._closed_until_s[target] = now_s + pause_s

    def open(self, target: str) -> None:
        """Note that a version has a pod."""
        if self._closed_until_s.pop(target, None) is not None:
            self._next_s.pop(target, None)

    def pause_s(self, target: str, now_s: float) -> float:
        """Return how long an event waits before it is delivered again; 0 if it is sent now."""
        closed_until_s = self._closed_until_s.get(target)
        if closed_until_s is None:
            return 0
        if closed_until_s <= now_s:
            self._closed_until_s[target] = now_s + PROBE_S
            return 0
        next_s = max(self._next_s.get(target, 0), closed_until_s) + 1 / RATE_PER_S
        self._next_s[target] = next_s
        return next_s - now_s
