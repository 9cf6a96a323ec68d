"""Claims: of several cron adapters, one runs a tick.

One KV entry per schedule holds its last claimed tick and the time until which that tick may run.
The entry changes by compare-and-set only, so one adapter gets a tick, and none gets the next tick
while that one runs. A tick is lost when its adapter dies: it runs at most once.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from broker.nats.bus import Bus
from broker.nats.kv import KvBucket
from kubefox.errors import RevisionConflict

BUCKET = "kubefox-ticks"

# Well above the lateness at which a tick still runs, so that no claim expires too early. It also
# removes the claims of deleted schedules.
TTL_S = 3600
SET_BACK_S = 60
"""A tick that is claimed and due later than this was claimed before the clock was set back."""


class ClaimRefusal(Enum):
    """Why this process may not run a tick."""

    TAKEN = "it has been claimed before"
    BUSY = "the previous tick is still running"
    LATE = "it is too late to run it"


class TickClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a claim's entry.

    Attributes:
        tick_s: The last claimed tick, in Unix time.
        busy_until_s: Time at which the tick has ended at the latest; 0 once it has ended.
    """

    tick_s: int
    busy_until_s: float


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TickClaim).decode


class TickClaims:
    """The claims of all schedules, in one KV bucket."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = KvBucket(bus, BUCKET, ttl_s=TTL_S)

    async def claim(
        self, key: str, tick_s: int, *, now_s: float, busy_until_s: float
    ) -> int | ClaimRefusal:
        """Claim a tick for this process.

        Args:
            key: Of the schedule; a valid KV key.
            tick_s: Due time of the tick.
            now_s: Unix time.
            busy_until_s: Time at which the tick has ended at the latest.

        Returns:
            The claim's revision, for ``release``, or why this process may not run the tick.

        Raises:
            NatsUnavailable: NATS does not answer. The tick may be claimed all the same.
        """
        value = _encode(TickClaim(tick_s=tick_s, busy_until_s=busy_until_s))
        while True:
            held = await self._bucket.get(key)
            if held is not None and (refusal := _refusal(_decode(held.value), tick_s, now_s)):
                return refusal
            try:
                return await self._bucket.put(key, value, held.revision if held else 0)
            except RevisionConflict:
                # Another adapter has claimed or released a tick in between: read again.
                continue

    async def release(self, key: str, tick_s: int, revision: int) -> None:
        """Record that a tick has ended, so that the next one can be claimed.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        value = _encode(TickClaim(tick_s=tick_s, busy_until_s=0))
        try:
            await self._bucket.put(key, value, revision)
        except RevisionConflict:
            # The tick ran longer than its claim, and another one has been claimed.
            return


def _refusal(held: TickClaim, tick_s: int, now_s: float) -> ClaimRefusal | None:
    if held.tick_s > now_s + SET_BACK_S:
        return None
    if held.tick_s >= tick_s:
        return ClaimRefusal.TAKEN
    return ClaimRefusal.BUSY if held.busy_until_s > now_s else None
