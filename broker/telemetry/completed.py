"""Completed events: counted, and their spans sent, kept for a moment or dropped.

Nearly all events end well and without streams or spans of their author. A HandledEvent holds what
is kept of such an event: the event itself would keep its headers, its token and its body from being
reused while they are still in the processor's caches.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import ClassVar, Protocol

import msgspec

from broker.runtime import trace_context
from broker.runtime.ids import process_of
from broker.runtime.platform_clock import clock
from broker.telemetry.deferred import Defer, DeferredQueue
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.metrics import IN_FLIGHT, count_duration, count_queue_time
from broker.telemetry.records import MAX_PATH, HandledRecord
from broker.telemetry.tracing import Tracing

logger = logging.getLogger(__name__)

_NS_PER_US = 1_000


class HandledEvent(msgspec.Struct, gc=False, eq=False):
    """A handled event without failure, streams or spans of its author.

    Attributes:
        is_sampled: Always false: a sampled event has a span of its own.
        labels: Labels of the event.
        status: HTTP status of the answer.
        start_ns: Unix time.
        end_ns: Unix time.
        sent_us: See ``Event``, as for the following attributes.
        traceparent: Empty or not sampled.
        id: Id of the event.
        genesis_id: Id of the genesis event.
        method: HTTP method, or operation.
        path: Percent-encoded.
    """

    is_sampled: ClassVar[bool] = False

    labels: TelemetryLabels
    status: int
    start_ns: int
    end_ns: int
    sent_us: int
    traceparent: str
    id: str
    genesis_id: str
    method: str
    path: str

    @property
    def trace_id(self) -> str:
        """Id of the trace."""
        # Saves 0.12 of the 0.81 µs that counting an event takes.
        if not self.traceparent:
            return self.genesis_id
        return trace_context.trace_id_of(self.traceparent, self.genesis_id)

    def neighbours(self) -> tuple[int, ...]:
        """Return the number of the process that sent the event."""
        return (process_of(self.id),)

    def record(self) -> HandledRecord:
        """Return the record of the span."""
        return HandledRecord(
            self.traceparent,
            "",
            self.id,
            self.genesis_id,
            self.method,
            self.path[:MAX_PATH],
            self.labels.event_labels,
            self.start_ns,
            self.end_ns,
            self.status,
            "",
        )


class Completion(Protocol):
    """A completed event or call that counts itself."""

    def process(self) -> None:
        """Count it, and pass its span on."""


class CompletedEvents:
    """The completed events of one process that are not counted yet.

    Args:
        tracing: Receives the spans.

    Attributes:
        tracing: Receives the spans.
        handled: Handled events without failure, streams or spans of their author.
        others: All other handled events, and outgoing calls.
    """

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self.handled: DeferredQueue[HandledEvent] = DeferredQueue(partial(count_handled, tracing))
        self.others: DeferredQueue[Completion] = DeferredQueue(_process_each)

    def defer(self, defer: Defer | None) -> None:
        """Process events by ``defer`` from now on; see ``DeferredQueue``."""
        self.handled.defer(defer)
        self.others.defer(defer)

    def flush(self) -> None:
        """Process the waiting events now."""
        self.handled.flush()
        self.others.flush()


def count_handled(tracing: Tracing, events: list[HandledEvent]) -> None:
    """Count events, and pass their spans on."""
    kept, is_any_kept = tracing.kept, False
    for event in events:
        count_handling(event.labels, event.status, event.start_ns, event.end_ns, event.sent_us)
        if event.trace_id in kept:
            is_any_kept = True
    tracing.finish_all(events, is_any_wanted=is_any_kept)


def count_handling(
    labels: TelemetryLabels, status: int, start_ns: int, end_ns: int, sent_us: int
) -> None:
    """Count a handled event.

    Args:
        labels: Labels of the event.
        status: HTTP status of the answer.
        start_ns: Unix time.
        end_ns: Unix time.
        sent_us: See ``Event``.
    """
    counters = labels.counters
    counters[IN_FLIGHT] -= 1
    count_duration(counters, status, end_ns - start_ns)
    if sent_us:
        # An event from the future has not waited: clocks still differ a little.
        waited_ns = start_ns - clock.host_ahead_ns - sent_us * _NS_PER_US
        count_queue_time(counters, max(0, waited_ns))


def _process_each(completions: Iterable[Completion]) -> None:
    for completion in completions:
        try:
            completion.process()
        except Exception:
            logger.exception("a completed event could not be counted")
