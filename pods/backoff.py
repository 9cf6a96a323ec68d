"""The delay before a pod that died is started again."""

from __future__ import annotations

import msgspec

FIRST_S = 0.1
LIMIT_S = 30.0
STABLE_S = 10.0

# 0.1 s doubled nine times is above the limit.
_MAX_DOUBLINGS = 9


class BackOff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential back-off: a pod that died once restarts at once, one that keeps dying waits.

    Attributes:
        deaths: Deaths in a row, without ``STABLE_S`` of being ready between them.
    """

    deaths: int = 0

    def after_death(self, ready_for_s: float) -> BackOff:
        """Return the state after one more death.

        Args:
            ready_for_s: How long the pod had been ready, 0 if it never was.
        """
        return BackOff(deaths=1 if ready_for_s >= STABLE_S else self.deaths + 1)

    @property
    def delay_s(self) -> float:
        """Time to wait before the next start: 0.1 s at first, doubled up to 30 s."""
        if self.deaths == 0:
            return 0
        return min(LIMIT_S, FIRST_S * (1 << min(self.deaths - 1, _MAX_DOUBLINGS)))
