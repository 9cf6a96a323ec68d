"""A limit for refused requests of each client address: more of them get a short answer.

It counts failures only: a caller with a valid token is never limited, whatever others on its
machine or behind its proxy do.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

BURST = 20
PER_S = 1.0
MAX_ADDRESSES = 10_000
_IPV6_PREFIX = 64


class _Bucket(NamedTuple):
    left: float
    at_s: float


class FailureLimit:
    """Counts failures by address.

    Args:
        burst: Failures at once.
        per_s: Failures a second after that.
        max_addresses: Addresses that are kept; the one that has been quiet longest is forgotten.
        now: Clock in seconds.
    """

    def __init__(
        self,
        *,
        burst: int = BURST,
        per_s: float = PER_S,
        max_addresses: int = MAX_ADDRESSES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._max_addresses = max_addresses
        self._now = now
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def is_within(self, address: str) -> bool:
        """Count a failure of a client, and return whether it is within the limit."""
        key, now_s = _network(address), self._now()
        left, at_s = self._buckets.pop(key, _Bucket(self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        is_within = left >= 1
        self._buckets[key] = _Bucket(left - 1 if is_within else left, now_s)
        if len(self._buckets) > self._max_addresses:
            self._buckets.popitem(last=False)
        return is_within

    def __len__(self) -> int:
        """Return the number of addresses that are kept."""
        return len(self._buckets)


def _network(address: str) -> str:
    """Return the address, or the network of an IPv6 address: a client has all of it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.is_loopback:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
