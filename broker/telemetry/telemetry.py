"""The telemetry of one process: what counts, what traces, and who is told of it.

Nothing is sent while nothing happens: figures are told to who asks, spans follow events.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from broker.bus import Bus
from broker.idle import Idle
from broker.telemetry import live_span, otlp, trace_context
from broker.telemetry.delivering import Delivering, MeasuredDelivering
from broker.telemetry.ended import Ended
from broker.telemetry.figures import Labels, Role
from broker.telemetry.genesis import Genesis, measured_by
from broker.telemetry.handling import Handling, MeasuredHandling
from broker.telemetry.metrics import Metrics
from broker.telemetry.records import Record, RecordBatch
from broker.telemetry.scope import Scope, Scopes
from broker.telemetry.tracing import Tracing
from model import subjects
from model.context import ComponentView, EventContext
from model.errors import FoxError
from model.event import Event

logger = logging.getLogger(__name__)

DEFAULT_RATIO = 0.01

_encode = msgspec.msgpack.Encoder().encode


class Telemetry:
    """Measures and traces the events of one process; see ``open_telemetry``.

    Args:
        service: What the process is: a component's name, or its role.
        pod: Id of the pod, or empty.
        is_on: Whether anything is measured at all.
        ratio: Share of the genesis events that begin here which are traced.

    Attributes:
        metrics: What is counted.
        tracing: Spans on their way.
        handling: Makes of an event that is received, and its scope, what measures it.
    """

    def __init__(
        self,
        service: str = "",
        pod: str = "",
        *,
        is_on: bool = True,
        ratio: float = DEFAULT_RATIO,
    ) -> None:
        """Start with nothing measured, and nobody who is told."""
        self.service = service
        self.pod = pod
        self.metrics = Metrics()
        self.tracing = Tracing(self._send)
        self._ended = Ended(self.tracing)
        self._is_on = is_on
        self.handling: Callable[[Event, Scope], Handling] = (
            partial(MeasuredHandling, self._ended) if is_on else _unmeasured
        )
        self._threshold = trace_context.threshold_of(ratio)
        self._scopes: dict[str, Scopes] = {}
        self._bus: Bus | None = None
        self._exporter: otlp.Exporter | None = None
        self._lost_spans = 0

    def genesis_of(self, source: str) -> Callable[[str], Genesis]:
        """Return what makes the genesis events of an adapter, ``adapter/<kind>``, by their ids."""
        if not self._is_on:
            return Genesis
        return measured_by(self._scopes_of(source, Role.GENESIS))

    def scope(self, component: str, digest: str, view: ComponentView) -> Scope:
        """Return the scope of a component version in the context of a view."""
        labels = Labels(component, digest, view.app, view.deployment, view.virtual_environment)
        return Scope(labels, self.metrics.series(labels), view.release, self.pod)

    def serving(self, event: Event, source: str, context: EventContext) -> Handling:
        """Return an event that an adapter, ``adapter/<kind>``, receives."""
        return self.handling(event, self._scopes_of(source, Role.ADAPTER).of(context))

    def delivering(
        self, event: Event, target: str, source: str, context: EventContext
    ) -> Delivering:
        """Return an event that an adapter, ``adapter/<kind>``, delivers to ``target``."""
        if not self._is_on:
            return Delivering(event.traceparent)
        scope = self._scopes_of(source, Role.ADAPTER).of(context)
        return MeasuredDelivering(self._ended, event, scope, target)

    def _scopes_of(self, source: str, role: str) -> Scopes:
        scopes = self._scopes.get(source)
        if scopes is None:
            scopes = self._scopes[source] = Scopes(
                source, role, self.metrics, self._ended, self._threshold
            )
        return scopes

    async def serve(self, bus: Bus, exporter: otlp.Exporter | None) -> None:
        """Tell who asks from now on, and send spans to control."""
        self._bus, self._exporter = bus, exporter
        self._ended.defer(bus.call_later, Idle().call)
        live_span.install()
        reconnects = _Count()
        bus.on_reconnect(reconnects.add)
        self.metrics.watch_counter("nats_reconnects", lambda: reconnects.count)
        self.metrics.watch_counter("spans_dropped", lambda: self._dropped)
        self.metrics.watch_gauge("nats_requests_waiting", lambda: bus.in_flight)
        await bus.serve(subjects.FIGURES, self._answer_figures)
        await bus.serve(subjects.KEEP_TRACE, self._keep_trace)

    async def end(self) -> None:
        """Send what waits, and the last figures: they count on when the process is gone."""
        self._ended.defer(None, None)
        await self.tracing.drain()
        await self._publish(subjects.LAST_FIGURES, self._figures(is_final=True))

    @property
    def _dropped(self) -> int:
        return self.tracing.dropped + self._lost_spans

    def _figures(self, *, is_final: bool = False) -> bytes:
        self._ended.settle()
        process = self._bus.process_id if self._bus else ""
        return _encode(self.metrics.figures(process, self.service, is_final=is_final))

    async def _answer_figures(self, _payload: bytes, reply: str) -> None:
        await self._publish(reply, self._figures())

    async def _keep_trace(self, payload: bytes, _reply: str) -> None:
        self.tracing.keep_here(payload.decode())

    async def _send(self, sampled: list[Record], kept: list[Record], keeps: list[str]) -> None:
        for trace_id in keeps:
            await self._publish(subjects.KEEP_TRACE, trace_id.encode())
        for subject, records in ((subjects.SPANS, sampled), (subjects.KEPT_SPANS, kept)):
            if records and not await self._publish(subject, self._batch(records)):
                self._lost_spans += sum(1 for each in records for _ in each.spans())
        if self._exporter is not None:
            self._exporter.spans.put([*sampled, *kept])

    def _batch(self, records: list[Record]) -> bytes:
        process = self._bus.process_id if self._bus else ""
        return _encode(RecordBatch(process, self.pod, tuple(records)))

    async def _publish(self, subject: str, payload: bytes) -> bool:
        """Send without waiting for anybody; telemetry never stops what it measures."""
        if self._bus is None:
            return False
        try:
            await self._bus.publish(subject, payload)
        except FoxError as error:
            logger.debug("telemetry is lost: %s", error)
            return False
        return True


def _unmeasured(event: Event, _scope: Scope) -> Handling:
    return Handling(event.traceparent)


class _Count:
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> None:
        self.count += 1


@contextlib.asynccontextmanager
async def open_telemetry(
    telemetry: Telemetry, bus: Bus, environ: Callable[[], otlp.Target | None] = otlp.from_environ
) -> AsyncIterator[Telemetry]:
    """Let a process tell of itself until the context ends; then its last words are sent.

    Args:
        telemetry: Of the process.
        bus: Its connection.
        environ: Tells whether there is a collector.
    """
    target = environ()
    async with contextlib.AsyncExitStack() as stack:
        exporter = None
        if target is not None:
            made = otlp.open_exporter(target, telemetry.service, telemetry.pod, telemetry.metrics)
            exporter = await stack.enter_async_context(made)
        await telemetry.serve(bus, exporter)
        try:
            yield telemetry
        finally:
            await telemetry.end()
