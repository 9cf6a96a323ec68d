"""Who runs a tick, when several cron adapters see it come due.

One KV entry per schedule names the last tick that was claimed and until when it may be running.
It changes by compare-and-set only, so of all adapters that want a tick one gets it, and none gets
the next one while it still runs. An adapter that dies with a tick in hand loses that tick: a claim
is at most once.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from broker.bus import Bus
from broker.kv import KvBucket
from model.errors import RevisionConflict

BUCKET = "kubefox-ticks"

# Far above the lateness at which a tick is still run, so that no claim is forgotten too early;
# what belongs to a schedule that is gone goes with it.
TTL_S = 3600


class Refusal(Enum):
    """Why a tick is not ours."""

    TAKEN = "it was claimed before"
    BUSY = "the tick before it still runs"
    LATE = "its time has passed"


class TickClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a claim's entry.

    Attributes:
        tick_s: The last tick claimed, in Unix time.
        busy_until_s: When it will have ended whatever happens; 0 once it has.
    """

    tick_s: int
    busy_until_s: float


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TickClaim).decode


class TickClaims:
    """Claims of all schedules, in one KV bucket."""

    def __init__(self, bus: Bus) -> None:
        """Use the bucket on this connection; the first claim makes it."""
        self._bucket = KvBucket(bus, BUCKET, ttl_s=TTL_S)

    async def claim(
        self, key: str, tick_s: int, *, now_s: float, busy_until_s: float
    ) -> int | Refusal:
        """Claim a tick for this process.

        Args:
            key: Of the schedule; a legal KV key.
            tick_s: The tick's due time.
            now_s: Unix time.
            busy_until_s: When the tick will have ended whatever happens.

        Returns:
            The claim's revision, for ``release``, or why the tick is not ours.

        Raises:
            NatsUnavailable: NATS does not answer; the tick may count as claimed.
        """
        value = _encode(TickClaim(tick_s=tick_s, busy_until_s=busy_until_s))
        while True:
            held = await self._bucket.get(key)
            if held is not None and (refusal := _refusal(_decode(held.value), tick_s, now_s)):
                return refusal
            try:
                return await self._bucket.put(key, value, held.revision if held else 0)
            except RevisionConflict:
                # Somebody else claimed or released in between: look again.
                continue

    async def release(self, key: str, tick_s: int, revision: int) -> None:
        """Let the next tick be claimed from now on.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        value = _encode(TickClaim(tick_s=tick_s, busy_until_s=0))
        try:
            await self._bucket.put(key, value, revision)
        except RevisionConflict:
            # The tick outlived its time, and another one has been claimed.
            return


def _refusal(held: TickClaim, tick_s: int, now_s: float) -> Refusal | None:
    if held.tick_s >= tick_s:
        return Refusal.TAKEN
    return Refusal.BUSY if held.busy_until_s > now_s else None
