"""Recent traces in memory, bounded in bytes, so that `fox traces` needs no collector.

Batches are kept as they came and read only when somebody looks: taking one costs nothing. Traces
that failed or were slow have a room of their own: a flood of sampled ones does not drive them out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from broker.telemetry.records import RecordBatch
from broker.telemetry.span import SpanRecord, all_attributes
from model.decoding import UNREADABLE
from model.errors import NotFound
from model.telemetry import Span, Trace, TraceSummary

logger = logging.getLogger(__name__)

SAMPLED_BYTES = 8 << 20
KEPT_BYTES = 8 << 20
MIN_PREFIX = 4
_ID_KEYS = ("kubefox.event.id", "messaging.message.id")

_decode = msgspec.msgpack.Decoder(RecordBatch).decode


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which traces are wanted; an empty name stands for all.

    Attributes:
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        component: Name of a component that took part.
        errors: Only those in which something failed.
        limit: How many, the latest first.
    """

    deployment: str = ""
    virtual_environment: str = ""
    component: str = ""
    errors: bool = False
    limit: int = 20


class TraceStore:
    """The spans that came last.

    Args:
        sampled_bytes: Room for sampled traces.
        kept_bytes: Room for those that failed or were slow.
    """

    def __init__(self, sampled_bytes: int = SAMPLED_BYTES, kept_bytes: int = KEPT_BYTES) -> None:
        """Start empty."""
        self._sampled = _Ring(sampled_bytes)
        self._kept = _Ring(kept_bytes)

    def add_sampled(self, payload: bytes) -> None:
        """Take an encoded batch of sampled traces."""
        self._sampled.add(payload)

    def add_kept(self, payload: bytes) -> None:
        """Take an encoded batch of traces that failed or were slow."""
        self._kept.add(payload)

    async def recent(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Return the latest traces that fulfil a query."""
        traces: dict[str, list[SpanRecord]] = {}
        async for _, span in self._spans():
            traces.setdefault(span.trace_id, []).append(span)
        wanted = [_summary(each) for each in traces.values() if _fulfils(each, query)]
        wanted.sort(key=lambda each: each.start_ns, reverse=True)
        return tuple(wanted[: query.limit])

    async def find(self, name: str) -> Trace:
        """Return the trace of an id: of the trace, or the beginning of it, or of an event.

        Raises:
            NotFound: There is none, or it has been driven out by later ones.
        """
        found: dict[str, list[tuple[RecordBatch, SpanRecord]]] = {}
        wanted = ""
        async for batch, span in self._spans():
            found.setdefault(span.trace_id, []).append((batch, span))
            if _is_called(span, name):
                wanted = span.trace_id
        if not wanted:
            raise NotFound(f"no trace {name!r} is kept: it was not traced, or later ones took over")
        spans = sorted((_shown(*each) for each in found[wanted]), key=lambda each: each.start_ns)
        return Trace(trace_id=wanted, spans=tuple(spans))

    async def _spans(self) -> AsyncIterator[tuple[RecordBatch, SpanRecord]]:
        for payload in (*self._sampled.payloads, *self._kept.payloads):
            try:
                batch = _decode(payload)
            except UNREADABLE:
                logger.exception("a batch of spans cannot be read")
                continue
            for record in batch.records:
                for span in record.spans():
                    yield batch, span
            # Some thousand batches are read: requests go first.
            await asyncio.sleep(0)


class _Ring:
    """Payloads, the oldest dropped when they take too much room."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.payloads: deque[bytes] = deque()

    def add(self, payload: bytes) -> None:
        self.payloads.append(payload)
        self._bytes += len(payload)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self.payloads.popleft())


def _is_called(span: SpanRecord, name: str) -> bool:
    if len(name) >= MIN_PREFIX and span.trace_id.startswith(name):
        return True
    return any(span.attributes.get(key) == name for key in _ID_KEYS)


def _fulfils(spans: list[SpanRecord], query: TraceQuery) -> bool:
    if query.errors and not any(each.is_error for each in spans):
        return False
    components = {each.labels.component for each in spans}
    if query.component and query.component not in components:
        return False
    return any(
        query.deployment in {"", each.labels.deployment}
        and query.virtual_environment in {"", each.labels.virtual_environment}
        for each in spans
    )


def _summary(spans: list[SpanRecord]) -> TraceSummary:
    ids = {each.span_id for each in spans}
    tops = [each for each in spans if each.parent_id not in ids]
    first = min(tops or spans, key=lambda each: each.start_ns)
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


def _shown(batch: RecordBatch, span: SpanRecord) -> Span:
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
