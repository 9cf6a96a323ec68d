"""The telemetry of one process: counts its events, traces them, and answers control.

Nothing is sent while nothing happens: figures are sent on request, spans after their events.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from broker.nats.bus import Bus
from broker.runtime import trace_context
from broker.runtime.idle_callbacks import IdleCallbacks
from broker.runtime.ids import PROCESS_IDS, EventIds
from broker.telemetry import live_span, otlp
from broker.telemetry.completed import CompletedEvents
from broker.telemetry.deferred import Defer, DeferredQueue
from broker.telemetry.delivery_telemetry import DeliveryTelemetry, MeasuredDeliveryTelemetry
from broker.telemetry.figures import EventLabels, EventRole
from broker.telemetry.figures_responder import FiguresResponder
from broker.telemetry.handler_telemetry import HandlerTelemetry
from broker.telemetry.labels import AdapterLabels, TelemetryLabels
from broker.telemetry.measured_handling import MeasuredHandlerTelemetry
from broker.telemetry.metrics import Metrics
from broker.telemetry.records import Record, RecordBatch
from broker.telemetry.request_telemetry import (
    AdapterRequests,
    MeasuredRequestTelemetry,
    RequestTelemetry,
    count_requests,
)
from broker.telemetry.tracing import KeepTrace, Notices, Tracing
from kubefox import subjects
from kubefox.context import ComponentView, EventContext
from kubefox.errors import FoxError
from kubefox.event import Event
from kubefox.senders import PLATFORM, Sender

logger = logging.getLogger(__name__)

DEFAULT_RATIO = 0.01

_encode = msgspec.msgpack.Encoder().encode
_decode_notice = msgspec.msgpack.Decoder(KeepTrace).decode


class Telemetry:
    """Counts and traces the events of one process; see ``open_telemetry``.

    Args:
        service: Name of the component, or role of the process.
        pod: Id of the pod, or empty.
        is_on: Whether events are measured at all.
        ratio: Share of the traces begun here that are sampled.
        ids: Makes the ids of the events that the process sends.

    Attributes:
        process: Number of the process; see ``broker.runtime.ids``.
        new_id: Returns the id of a new event.
        metrics: Figures of the process.
        tracing: Spans of the process.
        routed: Number of genesis events that were counted and had a route.
        handler_telemetry: Returns the telemetry of an event that is handled, by its labels.
    """

    def __init__(
        self,
        service: str = "",
        pod: str = "",
        *,
        is_on: bool = True,
        ratio: float = DEFAULT_RATIO,
        ids: EventIds = PROCESS_IDS,
    ) -> None:
        self.service = service
        self.pod = pod
        self.metrics = Metrics()
        self.process, self.new_id = ids.process, ids.new
        self.tracing = Tracing(self._send, ids.process)
        self._completed = CompletedEvents(self.tracing)
        self._completed_requests: DeferredQueue[MeasuredRequestTelemetry] = DeferredQueue(
            self._count_requests
        )
        self.routed = 0
        self._is_on = is_on
        self.handler_telemetry: Callable[[Event, TelemetryLabels], HandlerTelemetry] = (
            partial(MeasuredHandlerTelemetry, self._completed) if is_on else _unmeasured
        )
        self._threshold = trace_context.sampling_threshold(ratio)
        self._adapter_labels: dict[tuple[str, str], AdapterLabels] = {}
        self._adapter_requests: dict[str, AdapterRequests] = {}
        self._bus: Bus | None = None
        self._responder: FiguresResponder | None = None
        self._exporter: otlp.Exporter | None = None
        self._lost_spans = 0

    def request_telemetry(self, source: str) -> Callable[[str], RequestTelemetry]:
        """Return the function that begins the telemetry of an adapter's genesis event, by its id.

        Args:
            source: ``adapter/<kind>``.
        """
        if not self._is_on:
            return RequestTelemetry
        requests = self._adapter_requests.get(source)
        if requests is None:
            requests = self._adapter_requests[source] = AdapterRequests(
                self._labels_of_adapter(source, EventRole.GENESIS),
                self.tracing,
                self._completed_requests,
                self._threshold,
            )
        return requests.begin

    def labels_of(self, component: str, digest: str, view: ComponentView) -> TelemetryLabels:
        """Return the labels of a component version in the context of a view."""
        labels = EventLabels(component, digest, view.app, view.deployment, view.virtual_environment)
        return TelemetryLabels(labels, self.metrics.series(labels), view.release, self.pod)

    def adapter_telemetry(
        self, event: Event, source: str, context: EventContext
    ) -> HandlerTelemetry:
        """Return the telemetry of an event that an adapter, ``adapter/<kind>``, handles."""
        return self.handler_telemetry(
            event, self._labels_of_adapter(source, EventRole.ADAPTER).of(context)
        )

    def delivery_telemetry(
        self, event: Event, target: str, source: str, context: EventContext
    ) -> DeliveryTelemetry:
        """Return the telemetry of an event that an adapter, ``adapter/<kind>``, delivers."""
        if not self._is_on:
            return DeliveryTelemetry(event.traceparent)
        labels = self._labels_of_adapter(source, EventRole.ADAPTER).of(context)
        return MeasuredDeliveryTelemetry(self._completed, event, labels, target)

    def _labels_of_adapter(self, source: str, role: str) -> AdapterLabels:
        labels = self._adapter_labels.get((source, role))
        if labels is None:
            labels = AdapterLabels(source, role, self.metrics)
            self._adapter_labels[source, role] = labels
        return labels

    async def serve(self, bus: Bus, exporter: otlp.Exporter | None) -> None:
        """Answer requests for figures from now on, and send spans to control."""
        self._bus, self._exporter = bus, exporter
        self.defer(bus.call_after_write, IdleCallbacks().call_when_idle)
        live_span.install()
        reconnects = _Count()
        bus.on_reconnect(reconnects.add)
        self.metrics.watch_counter("nats_reconnects", lambda: reconnects.count)
        self.metrics.watch_counter("malformed_messages", lambda: bus.malformed.count)
        self.metrics.watch_counter("forged_messages", lambda: bus.forged.count)
        self.metrics.watch_counter("forbidden_messages", lambda: bus.forbidden.count)
        self.metrics.watch_counter("spans_dropped", lambda: self._dropped)
        self.metrics.watch_gauge("nats_requests_waiting", lambda: bus.in_flight)
        self._responder = FiguresResponder(bus, self._send_figures)
        await self._responder.start()
        await bus.serve_fast_path(subjects.keep_trace(self.process), self.keep_trace)

    def _count_requests(self, requests: list[MeasuredRequestTelemetry]) -> None:
        self.routed += count_requests(self.tracing, requests)

    def rest_while(self, is_idle: Callable[[], bool]) -> None:
        """Do not answer control's regular requests while the process is idle; see ``wake``.

        Args:
            is_idle: Returns whether no event is in flight.
        """
        if self._responder is not None:
            self._responder.rest_while(is_idle)

    def wake(self) -> None:
        """Answer requests again: an event arrived while no other was in flight."""
        if self._responder is not None:
            self._responder.wake()

    def defer(self, after_write: Defer | None, when_idle: Defer | None) -> None:
        """Count completed events later from now on; without the arguments, at once.

        Args:
            after_write: Runs after the answers over NATS are written: counts handled events.
            when_idle: Runs when the event loop is idle: counts genesis events.
        """
        self._completed.defer(after_write)
        self._completed_requests.defer(when_idle)

    async def end(self) -> None:
        """Send the waiting spans and the final figures; control keeps these for its sums."""
        self.defer(None, None)
        await self.tracing.drain()
        self._count_completed()
        figures = self.metrics.figures(self._process, self.service, is_final=True)
        await self._publish(subjects.figures_of(self._sender), _encode(figures))

    @property
    def _dropped(self) -> int:
        return self.tracing.dropped + self._lost_spans

    @property
    def _process(self) -> str:
        return self._bus.process_id if self._bus else ""

    def _count_completed(self) -> None:
        self._completed.flush()
        self._completed_requests.flush()

    @property
    def _sender(self) -> Sender:
        return self._bus.sender if self._bus else PLATFORM

    async def _send_figures(self) -> int:
        """Send the figures, and return the number of events in flight."""
        self._count_completed()
        figures = await self.metrics.read_figures(self._process, self.service)
        await self._publish(subjects.figures_of(self._sender), _encode(figures))
        return sum(series.in_flight for series in figures.series)

    def keep_trace(self, _subject: str, payload: bytes, _reply: str) -> None:
        """Keep a trace that another process keeps; a ``MessageCallback``."""
        self.tracing.keep_also(_decode_notice(payload))

    async def _send(self, sampled: list[Record], kept: list[Record], notices: Notices) -> None:
        for process, notice in notices:
            await self._publish(subjects.keep_trace(process), _encode(notice))
        spans_of, kept_spans_of = subjects.spans_of, subjects.kept_spans_of
        for subject_of, records in ((spans_of, sampled), (kept_spans_of, kept)):
            subject = subject_of(self._sender)
            if records and not await self._publish(subject, self._batch(records)):
                self._lost_spans += sum(1 for record in records for _ in record.spans())
        if self._exporter is not None:
            self._exporter.spans.add([*sampled, *kept])

    def _batch(self, records: list[Record]) -> bytes:
        return _encode(RecordBatch(self._process, self.pod, tuple(records)))

    async def _publish(self, subject: str, payload: bytes) -> bool:
        """Return whether a message was sent; a failure never stops the events themselves."""
        if self._bus is None:
            return False
        try:
            await self._bus.publish(subject, payload)
        except FoxError as error:
            logger.debug("telemetry on %s is lost: %s", subject, error)
            return False
        return True


def _unmeasured(event: Event, _labels: TelemetryLabels) -> HandlerTelemetry:
    return HandlerTelemetry(event.traceparent)


class _Count:
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> None:
        self.count += 1


@contextlib.asynccontextmanager
async def open_telemetry(
    telemetry: Telemetry,
    bus: Bus,
    read_settings: Callable[[], otlp.OtlpSettings | None] = otlp.settings_from_environ,
) -> AsyncIterator[Telemetry]:
    """Serve and export the telemetry of a process until the context ends, then send the rest.

    Args:
        telemetry: Of the process.
        bus: Connection of the process.
        read_settings: Returns the settings of OTLP, or None without a collector.
    """
    settings = read_settings()
    async with contextlib.AsyncExitStack() as stack:
        exporter = None
        if settings is not None:
            opened = otlp.open_exporter(
                settings,
                telemetry.service,
                telemetry.pod,
                telemetry.metrics,
                app=bus.sender.app if bus.sender.is_pod else "",
            )
            exporter = await stack.enter_async_context(opened)
        await telemetry.serve(bus, exporter)
        try:
            yield telemetry
        finally:
            await telemetry.end()
