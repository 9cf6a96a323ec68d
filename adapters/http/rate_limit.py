"""A rate limit for each client, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

MAX_CLIENTS = 1_024


class RateLimit:
    """Allows each client a number of requests at once, and then a rate.

    It keeps one time for each client: that at which the client has its whole burst again. The
    clients that were seen longest ago are forgotten when there are too many.

    Args:
        per_s: Requests a second.
        burst: Requests at once.
        max_clients: Clients that are remembered.
    """

    def __init__(self, per_s: float, burst: int, max_clients: int = MAX_CLIENTS) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._max_clients = max_clients
        self._whole_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Number of clients that are remembered."""
        return len(self._whole_at_s)

    def take(self, client: str, now_s: float) -> bool:
        """Return whether a client may have one more request now.

        Args:
            client: Address or another name of the client.
            now_s: A clock that never goes back.
        """
        used_s = max(self._whole_at_s.get(client, now_s) - now_s, 0.0) + self._interval_s
        if used_s > self._burst_s:
            return False
        self._whole_at_s[client] = now_s + used_s
        self._whole_at_s.move_to_end(client)
        if len(self._whole_at_s) > self._max_clients:
            self._whole_at_s.popitem(last=False)
        return True
