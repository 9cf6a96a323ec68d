"""The spans of one process: spans of sampled traces are sent, spans of other traces may be kept.

Every completed event or call stays in a short queue of recent ones. If its trace was sampled by the
genesis event, its spans are sent at once. If an event fails, or a genesis event is the slowest of
its deployment for some seconds, its trace is *kept*: this process sends the spans that it still has
of the trace, and tells those that it knows to have taken part: the sender of an event that it
handled, and the responders to its own events. They do the same. So failures have whole traces,
though hardly any trace is sampled, and no process hears of a trace in which it took no part.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from contextvars import Context
from typing import Protocol

import msgspec

from broker.runtime.ids import UNKNOWN_PROCESS
from broker.telemetry.records import Record

logger = logging.getLogger(__name__)

# Enough for the few milliseconds until the message of a process that keeps a trace arrives here. An
# object that leaves a long queue is no longer in the processor's caches: with 512 the telemetry of
# an event costs twice of that with 64, which is 2 % of a whole request.
MAX_RECENT = 64
MAX_KEPT = 256
MAX_INFORMED = 1_024
"""Processes that are known to know that a trace is kept; others are told once more."""
MAX_QUEUED = 4_096
FULL_BATCH = 512
FLUSH_S = 0.05
# During many failures a few whole traces are enough. Slow ones are counted apart: with thousands of
# deployments, the first event of each is its slowest, and failures would have no traces.
MAX_KEEPS = 20
KEEPS_WINDOW_S = 1.0


class SpanSource(Protocol):
    """A completed event, call or span. Its record is made only if the span is sent."""

    @property
    def trace_id(self) -> str:
        """Id of the trace."""

    @property
    def is_sampled(self) -> bool:
        """Whether the genesis event sampled the trace."""

    def record(self) -> Record:
        """Return the record of the span."""

    def neighbours(self) -> tuple[int, ...]:
        """Return the numbers of the processes before and after this one, as far as it knows them.

        See ``broker.runtime.ids``.
        """


class KeepTrace(msgspec.Struct, frozen=True, array_like=True):
    """The notice to a process that a trace is kept.

    Attributes:
        trace_id: Id of the trace.
        sender: Number of the process that tells it.
    """

    trace_id: str
    sender: int


Notices = list[tuple[int, KeepTrace]]
"""Notices to processes, by their numbers."""


class Flush(Protocol):
    """Sends the records that one process has gathered."""

    def __call__(
        self, sampled: list[Record], kept: list[Record], notices: Notices
    ) -> Coroutine[None, None, None]:
        """Send records of sampled and of kept traces, and notices."""


class Tracing:
    """The spans of one process that are not sent yet.

    Args:
        flush: Sends them; called in a task of its own, never twice at once.
        process: Number of this process.
        max_recent: Completed events and calls whose trace may still be kept.
        max_queued: Records that wait to be sent; further ones are dropped and counted.

    Attributes:
        recent: The latest completed events and calls of traces that are not sent.
        kept: Ids of kept traces, in order, and the processes that know that it is kept.
        dropped: Spans that were dropped because too many waited.
    """

    def __init__(
        self,
        flush: Flush,
        process: int = UNKNOWN_PROCESS,
        *,
        max_recent: int = MAX_RECENT,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._flush = flush
        self._process = process
        self._max_queued = max_queued
        self.recent: deque[SpanSource] = deque(maxlen=max_recent)
        self.kept: OrderedDict[str, set[int]] = OrderedDict()
        self._sampled: list[Record] = []
        self._kept_records: list[Record] = []
        self._notices: Notices = []
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._failed, self._slow = _Budget(), _Budget()
        self._flushing: asyncio.Task[None] | None = None
        self.dropped = 0

    def finish(self, source: SpanSource) -> None:
        """Send the span of a completed event, call or span, or hold it for a moment."""
        if source.is_sampled:
            self._queue(self._sampled, source)
        elif source.trace_id in self.kept:
            self._send_kept(source)
        else:
            self.recent.append(source)

    def finish_all(self, sources: Sequence[SpanSource], *, is_any_wanted: bool) -> None:
        """Send the spans of several, or hold them for a moment.

        Args:
            sources: Completed events.
            is_any_wanted: Whether the trace of at least one is sampled or kept.
        """
        if not is_any_wanted:
            self.recent.extend(sources)
            return
        for source in sources:
            try:
                self.finish(source)
            except Exception:
                logger.exception("a span is lost")

    def keep_failed(self, trace_id: str) -> bool:
        """Keep the trace of a failure, in this process and in all that took part.

        Returns:
            Whether the trace is kept; only ``MAX_KEEPS`` are in ``KEEPS_WINDOW_S``.
        """
        return self._keep(trace_id, self._failed)

    def keep_slow(self, trace_id: str) -> bool:
        """Keep the trace of a slow event; see ``keep_failed``, and so many slow ones besides."""
        return self._keep(trace_id, self._slow)

    def _keep(self, trace_id: str, budget: _Budget) -> bool:
        if trace_id in self.kept:
            return True
        if not budget.take():
            return False
        self.keep_also(KeepTrace(trace_id, UNKNOWN_PROCESS))
        return True

    def keep_also(self, notice: KeepTrace) -> None:
        """Keep a trace that another process keeps."""
        trace_id = notice.trace_id
        if trace_id in self.kept:
            informed = self.kept[trace_id]
            # Anybody may send notices, and name any process.
            if len(informed) < MAX_INFORMED:
                informed.add(notice.sender)
            return
        self.kept[trace_id] = {UNKNOWN_PROCESS, self._process, notice.sender}
        if len(self.kept) > MAX_KEPT:
            self.kept.popitem(last=False)
        for source in [recent for recent in self.recent if recent.trace_id == trace_id]:
            self.recent.remove(source)
            self._send_kept(source)

    async def drain(self) -> None:
        """Send the waiting records, and return when they are sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None:
            await self._flushing
        await self._send()

    def _send_kept(self, source: SpanSource) -> None:
        """Send the span of a kept trace, and tell those processes of it that do not know."""
        self._queue(self._kept_records, source)
        trace_id = source.trace_id
        informed = self.kept[trace_id]
        for process in source.neighbours():
            if process not in informed:
                informed.add(process)
                self._notices.append((process, KeepTrace(trace_id, self._process)))
                # At once: other processes soon overwrite their recent spans.
                self._schedule(0)

    def _queue(self, queue: list[Record], source: SpanSource) -> None:
        count, record = len(queue), source.record()
        if count >= self._max_queued:
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
        # Not in the context of the event whose record began the batch.
        self._flushing = asyncio.create_task(self._send(), context=Context())
        self._flushing.add_done_callback(self._sent)

    def _sent(self, _task: asyncio.Task[None]) -> None:
        self._flushing = None
        if self._sampled or self._kept_records or self._notices:
            self._schedule(0 if self._notices else FLUSH_S)

    async def _send(self) -> None:
        sampled, kept, notices = self._sampled, self._kept_records, self._notices
        self._sampled, self._kept_records, self._notices = [], [], []
        if sampled or kept or notices:
            await self._flush(sampled, kept, notices)


class _Budget:
    """Allows ``MAX_KEEPS`` in ``KEEPS_WINDOW_S``."""

    def __init__(self) -> None:
        self._end_s, self._left = 0.0, 0

    def take(self) -> bool:
        """Return whether another one is allowed, and count it."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._end_s:
            self._end_s, self._left = now_s + KEEPS_WINDOW_S, MAX_KEEPS
        self._left -= 1
        return self._left >= 0
