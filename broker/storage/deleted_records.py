"""Deleted records: NATS keeps their delete markers and earlier revisions until they are purged.

Requests in flight may still read earlier revisions, and a process that was disconnected needs the
markers (``broker.nats.watch.DELETE_MARKER_S``). Afterwards they only take space, and time at each
start of a process: every preview that ever existed would leave three markers.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import NamedTuple

from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.entry_buffer import is_deletion
from broker.nats.jetstream import translated_errors
from broker.nats.ordered_consumer import StreamMessage, consume_in_order
from kubefox.errors import NatsUnavailable

SCAN_TIMEOUT_S = 60.0


class _Marker(NamedTuple):
    sequence: int
    subject: str


class _Markers:
    """Collects the delete markers among the last messages of all subjects."""

    is_full = False

    def __init__(self) -> None:
        self.found: list[_Marker] = []
        self.ended = asyncio.Event()
        self.loss = ""

    def add(self, message: StreamMessage) -> None:
        """See ``broker.nats.ordered_consumer.StreamReader``."""
        if message.headers and is_deletion(message.headers):
            self.found.append(_Marker(message.sequence, message.subject.decode()))
        if not message.pending:
            self.ended.set()

    def lose(self, reason: str) -> None:
        """End the scan: messages may be missing."""
        self.loss = reason
        self.ended.set()


async def purge_deleted(bus: Bus, bucket: str, *, before_s: float, limit: int) -> int:
    """Remove delete markers and the earlier revisions behind them, the oldest first.

    Args:
        bus: Connection to use.
        bucket: Name of the KV bucket.
        before_s: Only markers written before this Unix time.
        limit: How many are removed at most.

    Returns:
        How many were removed.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    stream = f"KV_{bucket}"
    with translated_errors(bus, f"purge deleted records of {bucket}", writes=True):
        markers = await _find_markers(bus, stream, bucket)
        jetstream = bus.jetstream()
        count = min(limit, await _count_before(bus, stream, markers, before_s))
        for marker in markers[:count]:
            # It ends at the marker, so a record that was created again meanwhile stays.
            await jetstream.purge_stream(stream, seq=marker.sequence + 1, subject=marker.subject)
    return count


async def _find_markers(bus: Bus, stream: str, bucket: str) -> list[_Marker]:
    markers = _Markers()
    config = api.ConsumerConfig(
        filter_subject=f"$KV.{bucket}.>",
        deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT,
        headers_only=True,
    )
    async with consume_in_order(bus, stream, config, markers, markers.lose) as consumer:
        if consumer.pending:
            async with asyncio.timeout(SCAN_TIMEOUT_S):
                await markers.ended.wait()
    if markers.loss:
        raise NatsUnavailable(f"the deleted records of {bucket} cannot be read: {markers.loss}")
    return sorted(markers.found)


async def _count_before(bus: Bus, stream: str, markers: list[_Marker], before_s: float) -> int:
    """Return how many markers are older; sequences grow with time, so few of them are read."""
    jetstream = bus.jetstream()
    low, high = 0, len(markers)
    while low < high:
        middle = (low + high) // 2
        try:
            written = (await jetstream.get_msg(stream, markers[middle].sequence)).time
        except NotFoundError:
            # Another process has purged it, so it was old enough.
            written = datetime.fromtimestamp(0, UTC)
        if written is not None and written.timestamp() < before_s:
            low = middle + 1
        else:
            high = middle
    return low
