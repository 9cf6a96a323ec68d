"""The retry budget of one target: a token bucket that bounds how many requests are sent twice.

Without a bound, a component that kills each of its pods would get every request twice.
"""

from __future__ import annotations

RATIO = 0.2
MINIMUM = 10.0
WINDOW_S = 10.0
# Sums of shares of the minimum are a little less than the whole.
_ROUNDING = 1e-6


class RetryBudget:
    """Allows ``minimum`` retries, and ``ratio`` of the requests, in each window.

    Tokens that were earned earlier than a window ago are lost.

    Args:
        now_s: Now, on any clock that ``try_spend`` uses as well.
        ratio: Retries for each request.
        minimum: Retries in a window that need no requests.
        window_s: Length of the window.

    Attributes:
        requests: Requests since the latest ``try_spend``; their sender counts them.
    """

    __slots__ = ("_minimum", "_ratio", "_since_s", "_tokens", "_window_s", "requests")

    def __init__(
        self,
        now_s: float,
        *,
        ratio: float = RATIO,
        minimum: float = MINIMUM,
        window_s: float = WINDOW_S,
    ) -> None:
        self.requests = 0
        self._ratio = ratio
        self._minimum = minimum
        self._window_s = window_s
        self._tokens = minimum
        self._since_s = now_s

    def try_spend(self, now_s: float) -> bool:
        """Return whether one more retry is allowed, and count it."""
        elapsed_s = max(0.0, now_s - self._since_s)
        passed = min(1.0, elapsed_s / self._window_s)
        # The requests since the latest look came at an unknown time: use their mean rate.
        in_window = self.requests * min(1.0, self._window_s / elapsed_s if elapsed_s else 1.0)
        earned = self._minimum * passed + self._ratio * in_window
        self._tokens = self._tokens * (1 - passed) + earned
        self._since_s, self.requests = now_s, 0
        if self._tokens < 1 - _ROUNDING:
            return False
        self._tokens -= 1
        return True
