"""Which spans are kept: those of sampled traces, and afterwards those that turned out to matter.

Every hop leaves a few words in a ring of recent ones. If a trace was sampled at its head, its hops
are sent at once. If a hop fails, or a genesis event is the slowest of its deployment for some
seconds, its trace is *kept*: this process and, told by a message, every other one makes spans of
what its ring still holds of it. So failures have whole traces though nearly none is sampled.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from typing import Protocol

from broker.telemetry.records import Record

logger = logging.getLogger(__name__)

# Enough for the few milliseconds that another process needs to say which trace to keep. What is
# put by comes back cold: 512 cost an event twice of what 64 do, 2 % of a whole request.
MAX_RECENT = 64
MAX_KEPT = 256
MAX_QUEUED = 4_096
FULL_BATCH = 512
FLUSH_S = 0.05
# In a storm of failures a few whole traces tell as much as all of them.
MAX_KEEPS = 20
KEEPS_WINDOW_S = 1.0


class Hop(Protocol):
    """One that has ended; what is put by of it is made only when it is wanted."""

    @property
    def trace_id(self) -> str:
        """Id of its trace."""

    def record(self) -> Record:
        """Return what is put by."""


class SettledHop(Hop, Protocol):
    """One that is settled with others of its kind."""

    @property
    def is_sampled(self) -> bool:
        """Whether its trace was sampled at its head."""


class Flush(Protocol):
    """Sends away what one process has gathered."""

    def __call__(
        self, sampled: list[Record], kept: list[Record], keeps: list[str]
    ) -> Coroutine[None, None, None]:
        """Send records of sampled and of kept traces, and the ids of traces to keep everywhere."""


class Tracing:
    """The spans of one process on their way.

    Args:
        flush: Sends them; called in a task of its own, never twice at once.

    Attributes:
        recent: Hops of late whose trace is not wanted, yet.
        kept: Ids of traces that are kept.
        dropped: Spans that were lost because too many waited.
    """

    def __init__(self, flush: Flush) -> None:
        """Start with nothing finished."""
        self._flush = flush
        self.recent: deque[Hop] = deque(maxlen=MAX_RECENT)
        self.kept: OrderedDict[str, None] = OrderedDict()
        self._sampled: list[Record] = []
        self._kept_records: list[Record] = []
        self._keeps: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._window_end_s, self._keeps_left = 0.0, 0
        self._flushing: asyncio.Task[None] | None = None
        self.dropped = 0

    def finish(self, hop: Hop, trace_id: str, *, is_sampled: bool) -> None:
        """Take a hop that has ended.

        Args:
            hop: The hop.
            trace_id: Of its trace; whoever has it at hand spares every hop a look for it.
            is_sampled: Whether its trace was sampled at its head.
        """
        if is_sampled:
            self._queue(self._sampled, hop)
        elif trace_id in self.kept:
            self._queue(self._kept_records, hop)
        else:
            self.recent.append(hop)

    def finish_all(self, hops: Sequence[SettledHop], *, is_any_wanted: bool) -> None:
        """Take hops that have ended, together.

        Args:
            hops: The hops.
            is_any_wanted: Whether the trace of any of them is sampled or kept.
        """
        if not is_any_wanted:
            self.recent.extend(hops)
            return
        for hop in hops:
            try:
                self.finish(hop, hop.trace_id, is_sampled=hop.is_sampled)
            except Exception:
                logger.exception("a span is lost")

    def keep(self, trace_id: str) -> bool:
        """Make spans of what is known of a trace, here and in every other process.

        Returns:
            Whether it is kept: more than a few at a time are not.
        """
        if trace_id in self.kept:
            return True
        if not self._may_keep():
            return False
        self._keeps.append(trace_id)
        # At once: the rings of other processes go round quickly.
        self._schedule(0)
        self.keep_here(trace_id)
        return True

    def keep_here(self, trace_id: str) -> None:
        """Make spans of what this process knows of a trace, and of what it learns of it."""
        if trace_id in self.kept:
            return
        self.kept[trace_id] = None
        if len(self.kept) > MAX_KEPT:
            self.kept.popitem(last=False)
        for hop in [each for each in self.recent if each.trace_id == trace_id]:
            self.recent.remove(hop)
            self._queue(self._kept_records, hop)

    async def drain(self) -> None:
        """Send what waits and return when it is sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None:
            await self._flushing
        await self._send()

    def _may_keep(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._window_end_s:
            self._window_end_s, self._keeps_left = now_s + KEEPS_WINDOW_S, MAX_KEEPS
        self._keeps_left -= 1
        return self._keeps_left >= 0

    def _queue(self, queue: list[Record], hop: Hop) -> None:
        count, record = len(queue), hop.record()
        if count >= MAX_QUEUED:
            self.dropped += sum(1 for _ in record.spans())
            return
        queue.append(record)
        if count == 0 or count == FULL_BATCH:
            self._schedule(FLUSH_S if count == 0 else 0)

    def _schedule(self, delay_s: float) -> None:
        if self._flushing is not None:
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        if self._timer is not None:
            if self._due_s <= due_s:
                return
            self._timer.cancel()
        self._due_s = due_s
        self._timer = loop.call_later(delay_s, self._start)

    def _start(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self._send())
        self._flushing.add_done_callback(self._sent)

    def _sent(self, _task: asyncio.Task[None]) -> None:
        self._flushing = None
        if self._sampled or self._kept_records or self._keeps:
            self._schedule(0 if self._keeps else FLUSH_S)

    async def _send(self) -> None:
        sampled, kept, keeps = self._sampled, self._kept_records, self._keeps
        self._sampled, self._kept_records, self._keeps = [], [], []
        if sampled or kept or keeps:
            await self._flush(sampled, kept, keeps)
