"""Recent traces in memory, bounded in bytes, so that `fox traces` needs no collector.

Batches are stored encoded and decoded only for a query, so storing one costs nothing. Traces that
failed or were slow are stored apart, so many sampled traces do not push them out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import msgspec

from broker.telemetry.records import RecordBatch
from broker.telemetry.senders import fault_of_spans
from broker.telemetry.span import SpanRecord, all_attributes
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import NotAuthorized, NotFound
from kubefox.formats import OptionalName, Range, documented
from kubefox.senders import PLATFORM, Sender
from kubefox.telemetry import Span, Trace, TraceSummary

SAMPLED_BYTES = 8 << 20
KEPT_BYTES = 8 << 20
MIN_PREFIX = 4
MAX_TRACES = 1_000
_ID_KEYS = ("kubefox.event.id", "messaging.message.id")

_decode = msgspec.msgpack.Decoder(RecordBatch).decode

_Batch = tuple[Sender, bytes]


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query for traces; an empty name matches all.

    Attributes:
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        component: Name of a component in the trace.
        errors: Whether only traces with a failure match.
        limit: Number of traces, the latest first.
    """

    deployment: OptionalName = ""
    virtual_environment: OptionalName = ""
    component: OptionalName = ""
    errors: bool = False
    limit: Annotated[int, documented(Range(minimum=1, maximum=MAX_TRACES))] = 20


class TraceStore:
    """The latest spans.

    Args:
        on_malformed: Called once for each batch that cannot be decoded.
        on_forged: Called once for each batch that is not of its sender.
        sampled_bytes: Memory for sampled traces.
        kept_bytes: Memory for traces that failed or were slow.
    """

    def __init__(
        self,
        on_malformed: Callable[[Exception], None] | None = None,
        on_forged: Callable[[Exception], None] | None = None,
        *,
        sampled_bytes: int = SAMPLED_BYTES,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._on_malformed, self._on_forged = on_malformed, on_forged
        self._sampled = _Ring(sampled_bytes)
        self._kept = _Ring(kept_bytes)

    def add_sampled(self, payload: bytes, sender: Sender = PLATFORM) -> None:
        """Add an encoded batch of sampled traces."""
        self._sampled.add((sender, payload))

    def add_kept(self, payload: bytes, sender: Sender = PLATFORM) -> None:
        """Add an encoded batch of traces that failed or were slow."""
        self._kept.add((sender, payload))

    async def recent(
        self, query: TraceQuery, is_visible: Callable[[TraceSummary], bool] | None = None
    ) -> tuple[TraceSummary, ...]:
        """Return the latest traces that match a query, as far as they are visible.

        Args:
            query: What is wanted.
            is_visible: As for ``find``.
        """
        traces: dict[str, list[SpanRecord]] = {}
        async for _, span in self._spans(is_visible):
            traces.setdefault(span.trace_id, []).append(span)
        found = [_summary(spans) for spans in traces.values() if _matches(spans, query)]
        found.sort(key=lambda summary: summary.start_ns, reverse=True)
        return tuple(found[: query.limit])

    async def find(
        self, name: str, is_visible: Callable[[TraceSummary], bool] | None = None
    ) -> Trace:
        """Return a trace.

        Args:
            name: Id of the trace, at least its first four digits, or id of an event.
            is_visible: Whether a span is visible, by the summary of this span alone; None if all
                are. Anybody can add spans to a trace of others, by sending its id.

        Raises:
            NotFound: There is none that is visible; or later traces have replaced it.
        """
        found: dict[str, list[tuple[RecordBatch, SpanRecord]]] = {}
        trace_id = ""
        async for batch, span in self._spans(is_visible):
            found.setdefault(span.trace_id, []).append((batch, span))
            if _is_named(span, name):
                trace_id = span.trace_id
        if not trace_id:
            raise NotFound(f"no trace {name!r} found: it was not traced, or later ones replaced it")
        spans = [_to_span(batch, record) for batch, record in found[trace_id]]
        spans.sort(key=lambda span: span.start_ns)
        return Trace(trace_id=trace_id, spans=tuple(spans))

    async def _spans(
        self, is_visible: Callable[[TraceSummary], bool] | None
    ) -> AsyncIterator[tuple[RecordBatch, SpanRecord]]:
        sampled, kept = tuple(self._sampled.batches), tuple(self._kept.batches)
        for number, received in enumerate((*sampled, *kept)):
            batch = self._read(*received)
            if batch is None:
                (self._sampled if number < len(sampled) else self._kept).discard(received)
                continue
            for record in batch.records:
                for span in record.spans():
                    if is_visible is None or is_visible(_summary([span])):
                        yield batch, span
            # There are thousands of batches: requests are handled between them.
            await asyncio.sleep(0)

    def _read(self, sender: Sender, payload: bytes) -> RecordBatch | None:
        try:
            batch = _decode(payload)
        except DECODE_ERRORS as error:
            if self._on_malformed is not None:
                self._on_malformed(error)
            return None
        fault = fault_of_spans(sender, batch)
        if fault and self._on_forged is not None:
            self._on_forged(NotAuthorized(fault))
        return None if fault else batch


class _Ring:
    """Encoded batches and their senders up to a number of bytes; the oldest are dropped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.batches: deque[_Batch] = deque()

    def add(self, received: _Batch) -> None:
        self.batches.append(received)
        self._bytes += len(received[1])
        while self._bytes > self._max_bytes:
            self._bytes -= len(self.batches.popleft()[1])

    def discard(self, received: _Batch) -> None:
        with contextlib.suppress(ValueError):  # Another query has discarded it.
            self.batches.remove(received)
            self._bytes -= len(received[1])


def _is_named(span: SpanRecord, name: str) -> bool:
    if len(name) >= MIN_PREFIX and span.trace_id.startswith(name):
        return True
    return any(span.attributes.get(key) == name for key in _ID_KEYS)


def _matches(spans: list[SpanRecord], query: TraceQuery) -> bool:
    if query.errors and not any(span.is_error for span in spans):
        return False
    components = {span.labels.component for span in spans}
    if query.component and query.component not in components:
        return False
    return any(
        query.deployment in {"", span.labels.deployment}
        and query.virtual_environment in {"", span.labels.virtual_environment}
        for span in spans
    )


def _summary(spans: list[SpanRecord]) -> TraceSummary:
    ids = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id not in ids]
    first = min(roots or spans, key=lambda span: span.start_ns)
    labels = first.labels
    return TraceSummary(
        trace_id=first.trace_id,
        name=first.name,
        path=str(first.attributes.get("url.path", "")),
        app=labels.app,
        deployment=labels.deployment,
        virtual_environment=labels.virtual_environment,
        start_ns=first.start_ns,
        duration_ns=first.end_ns - first.start_ns,
        status=first.status,
        error=first.error,
        spans=len(spans),
    )


def _to_span(batch: RecordBatch, span: SpanRecord) -> Span:
    return Span(
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=span.kind.name.lower(),
        service=span.labels.component,
        pod=batch.pod,
        start_ns=span.start_ns,
        duration_ns=span.end_ns - span.start_ns,
        status=span.status,
        error=span.error,
        attributes=all_attributes(span, batch.pod),
        events=span.events,
    )
