"""The history of the deliveries of an event: how many began, and how many only waited.

JetStream counts deliveries only. An event has an entry here after a delivery that did not handle
it, so an event that is handled at once costs nothing. A delivery without an entry has an unknown
end: its process died, or NATS was unavailable.
"""

from __future__ import annotations

import contextlib

import msgspec

from broker.events.stored_event import StoredEvent
from broker.nats.bus import Bus
from broker.nats.kv import KvBucket
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import FoxError

BUCKET = "kubefox-event-attempts"
TTL_S = 15 * 86_400.0
"""Longer than the longest delay and the highest age of an event together."""


class AttemptHistory(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The earlier deliveries of one event. The field order is the format.

    Attributes:
        stored_at_s: When the event was stored; a new stream uses sequence numbers again.
        begun: Number of attempts whose handler began.
        waited: Number of deliveries whose handler did not begin.
        is_suspect: Whether a pod died while it ran the event.
    """

    stored_at_s: float
    begun: int = 0
    waited: int = 0
    is_suspect: bool = False

    def unknown(self, deliveries: int) -> int:
        """Return how many of the deliveries before the latest one have an unknown end."""
        return max(0, deliveries - 1 - self.begun - self.waited)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AttemptHistory).decode


class AttemptHistories:
    """Reads and writes the histories of stored events.

    Args:
        bus: Connection to use.
    """

    def __init__(self, bus: Bus) -> None:
        self._bucket = KvBucket(bus, BUCKET, ttl_s=TTL_S, needs_leader=True)

    async def get(self, stored: StoredEvent) -> AttemptHistory:
        """Return the history of an event.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        new = AttemptHistory(stored_at_s=stored.stored_at_s)
        if stored.deliveries == 1:
            return new
        entry = await self._bucket.get(str(stored.sequence))
        with contextlib.suppress(*DECODE_ERRORS):
            if entry and (found := _decode(entry.value)).stored_at_s == stored.stored_at_s:
                return found
        return new

    async def put(self, stored: StoredEvent, history: AttemptHistory) -> None:
        """Write the history of an event.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        await self._bucket.put(str(stored.sequence), _encode(history))

    async def delete(self, stored: StoredEvent) -> None:
        """Delete the history of a settled event, if it has one; one that stays expires."""
        if stored.deliveries > 1:
            with contextlib.suppress(FoxError):
                await self._bucket.delete(str(stored.sequence))
