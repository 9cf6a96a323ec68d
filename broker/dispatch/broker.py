"""The broker: sends genesis events to the components that routing chooses.

Every trusted process (HTTP adapter, cron adapter, control) has a broker of its own, so no single
broker can fail for all. Any broker answers any pod's request for its view of a context.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec

from broker.dispatch.contexts import ContextData, Contexts
from broker.dispatch.event_sender import EventSenders, watch_retries
from broker.dispatch.followers import announced
from broker.dispatch.request import DispatchRequest
from broker.dispatch.responses import discard_body, read_response
from broker.dispatch.targets import DispatchTargets
from broker.dispatch.usage import Usage, read_usage_request_s
from broker.dispatch.view_responder import ViewResponder
from broker.nats.bus import Bus
from broker.nats.time_source import encode_time, follow_time, jetstream_time
from broker.runtime.cooperative import run_in_slices
from broker.runtime.platform_clock import clock
from broker.runtime.settings import Settings
from broker.storage.key_encryption import KeyEncryption
from broker.storage.records_bucket import BUCKET
from broker.storage.store import Store, open_store
from broker.streams.incoming import IncomingStream
from broker.telemetry.cache_figures import watch_contexts, watch_routes
from broker.telemetry.figures import EventLabels
from broker.telemetry.telemetry import Telemetry, open_telemetry
from kubefox import codec, subjects
from kubefox.component import DependencyKind
from kubefox.context import adapter_source, source_name
from kubefox.errors import (
    ComponentMismatch,
    Draining,
    NotDeclared,
)
from kubefox.event import Event, ResponseHead
from kubefox.selection import Access
from kubefox.senders import DELIVERER
from kubefox.stream import INLINE_BYTES, LEAST_INLINE_BYTES
from routing.request import GenesisRequest
from routing.resolver import Decision, resolve, resolve_in_steps
from routing.selectors import Selectors
from routing.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

INLINE_ANSWERS = 8
"""So many answers to one target may be on their way at once, each as long as a frame may be."""
_ALL_INLINE_BYTES = INLINE_ANSWERS * INLINE_BYTES
OPENED_SHARE = 8
"""The data of opened contexts has this part of the memory that their routes have, besides it."""

_encode = msgspec.msgpack.Encoder().encode


def _inline_bytes(in_flight: int) -> int:
    """Return the most bytes of an answer's body in its frame, for ``Event.inline_bytes``.

    Answers in frames are not under flow control: those of a thousand requests at once would wait in
    the connection, and the answers of all others behind them.

    Args:
        in_flight: Number of events that wait for their answers from the same target.
    """
    return 0 if in_flight < INLINE_ANSWERS else _ALL_INLINE_BYTES // in_flight


_MANY_ANSWERS = _ALL_INLINE_BYTES // LEAST_INLINE_BYTES
# A table, because each request looks it up.
_INLINE_BYTES = tuple(_inline_bytes(in_flight) for in_flight in range(_MANY_ANSWERS))


class Broker:
    """Resolves requests, dispatches events, and authorizes callers; made by ``open_broker``.

    Attributes:
        bus: The process's connection to NATS.
        store: The control plane's data.
        settings: Of the process.
        telemetry: Of the process.
        contexts: Opens and seals event contexts.
        senders: Send the events.
        dispatch_target: Returns the DispatchTarget of a routing target.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        contexts: Contexts,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self.bus = bus
        self.store = store
        self.settings = settings
        self.telemetry = telemetry
        self.contexts = contexts
        self.senders = EventSenders(bus, settings.hold_s)
        self._targets = DispatchTargets(contexts.seal)
        self.dispatch_target = self._targets.of
        store.keys.listen(self._targets.reseal)
        telemetry.metrics.watch_in_flight(self._targets.in_flight_by_labels)
        self._draining = False

    @property
    def snapshot(self) -> Snapshot:
        """The control plane's current data, as far as this process has received it."""
        return self.store.snapshot

    @property
    def is_ready(self) -> bool:
        """Whether requests are routed by current data."""
        return self.bus.is_ready and self.store.is_current and not self._draining

    @property
    def in_flight(self) -> int:
        """Number of events sent by this broker that wait for their response."""
        return self._targets.in_flight

    def resolve(
        self, request: GenesisRequest, selectors: Selectors, access: Access = Access.OPEN
    ) -> Decision:
        """Return the routing decision for a request by the current snapshot; see ``resolve``.

        Raises:
            FoxError: The request has no route.
            TakesLong: Use ``resolve_in_slices``.
        """
        return resolve(request, selectors, self.store.snapshot, access)

    async def resolve_in_slices(
        self, request: GenesisRequest, selectors: Selectors, access: Access = Access.OPEN
    ) -> Decision:
        """Return the routing decision, however long it takes; other requests go on meanwhile.

        Raises:
            FoxError: The request has no route.
        """
        return await run_in_slices(
            resolve_in_steps(request, selectors, self.store.snapshot, access)
        )

    async def dispatch(
        self, request: DispatchRequest
    ) -> tuple[ResponseHead, codec.Body | IncomingStream]:
        """Send a genesis event to its target and return the response's head and body.

        The caller closes a body that comes as a stream; the event is in flight until then.

        Raises:
            FoxError: The reason why the event failed: no pod, its deadline, a mismatch, the
                handler.
        """
        if self._draining:
            raise Draining("the platform is shutting down")
        target = request.target
        sent_ns = request.sent_ns or time.time_ns()
        ttl_s = request.ttl_s or self.settings.event_ttl_s
        event = _event_of(request, clock.now_s(), ttl_s)
        self._targets.begin(target, sent_ns)
        try:
            frame = codec.encode(event, request.body)
            reply = await self.senders.of(request.source).request(
                target.subject,
                event,
                frame,
                ttl_s,
                deployment=target.deployment,
                body=request.body_stream,
                idempotent=target.idempotent,
            )
            head, content = read_response(reply)
            if head.stream:
                incoming = self.bus.streams.open_incoming(
                    head.stream, target.subject, lane=target.lane
                )
                self._targets.begin(target, sent_ns)
                incoming.on_close = partial(self._targets.end, target)
                return head, incoming
        finally:
            self._targets.end(target)
        return head, content

    async def deliver(
        self, event: Event, body: codec.Body, target: str, data: ContextData, ttl_s: float
    ) -> ResponseHead:
        """Send a stored event to its component and return the response's head.

        The body of the response is read and dropped: a handler that makes it as a stream has
        handled the event only at its end.

        Args:
            event: With a deadline ``ttl_s`` from now.
            body: Body of the event.
            target: Subject of the component version.
            data: Data of the event's context.
            ttl_s: Time for this attempt, with the response's body.

        Raises:
            FoxError: The reason why the event failed: no pod, its deadline, a mismatch, the
                handler.
        """
        frame = codec.encode(event, body)
        deliveries = self._targets.delivery(data.context, data.deployment)
        self._targets.begin(deliveries, time.time_ns())
        try:
            # A delivery that fails is retried later, with the number of its attempt.
            reply = await self.senders.of(DELIVERER).request(
                target, event, frame, ttl_s, deployment=data.deployment, idempotent=False
            )
            head, _ = read_response(reply)
            if head.stream:
                lane = data.context.deployment, data.context.virtual_environment
                incoming = self.bus.streams.open_incoming(head.stream, target, lane=lane)
                await discard_body(incoming, event.remaining_s(clock.now_s()))
        finally:
            self._targets.end(deliveries)
        return head

    async def authorize(self, event: Event, adapter_kind: str) -> ContextData:
        """Check that the sender of an event may call an adapter, and return its context's data.

        Raises:
            InvalidEvent: The token is not valid on this platform.
            ComponentMismatch: The sender is not part of the deployment.
            NotDeclared: The sender does not declare the adapter.
        """
        data = await self.contexts.open(event.context)
        name, _, digest = event.source.partition("@")
        if data.deployment.components.get(name) != digest:
            raise ComponentMismatch(
                f"{event.source} is not part of deployment {data.deployment.name}",
                hop=adapter_source(adapter_kind),
            )
        declared = data.definitions[name].dependencies
        if not any(
            dependency.name == adapter_kind and dependency.kind is DependencyKind.ADAPTER
            for dependency in declared
        ):
            raise NotDeclared(
                f"component {name} does not declare adapter {adapter_kind}",
                hop=source_name(name, digest),
            )
        return data

    def answer_time(self, _subject: str, _request: bytes, reply_subject: str) -> None:
        """Answer a pod's request for the time of the platform; a ``MessageCallback``."""
        self.bus.post(reply_subject, encode_time(clock.now_s()))

    async def answer_usage(self, payload: bytes, reply_subject: str) -> None:
        """Answer a request for the component versions that this broker's events may need."""
        since_ns = time.time_ns() - int(read_usage_request_s(payload) * 1e9)
        usage = Usage(
            revision=self.snapshot.revision,
            hashes=self._targets.hashes_in_use(since_ns),
            keys=self.store.keys.known,
            keys_in_use=self._targets.sealing_keys_in_use(),
        )
        if reply_subject:
            await self.bus.publish(reply_subject, _encode(usage))

    def drain(self) -> None:
        """Refuse new genesis events from now on."""
        self._draining = True


@contextlib.asynccontextmanager
async def open_broker(
    bus: Bus,
    settings: Settings,
    encryption: KeyEncryption,
    *,
    creates_keys: bool = False,
    with_usage: bool = True,
    checkpoint_file: Path | None = None,
    usage_waits: bool = False,
) -> AsyncIterator[Broker]:
    """Open a broker, which answers requests for views and usage until the context ends.

    Args:
        bus: Connection to use.
        settings: Of the process.
        encryption: Wraps the platform's data keys.
        creates_keys: Whether this process makes the keys of a new platform; others wait for them.
        with_usage: Whether its store keeps the usage index, which control and the pods need.
        checkpoint_file: Where its store keeps a checkpoint; None for nowhere.
        usage_waits: Whether the usage index waits for ``Store.begin_usage`` for some time.
    """
    bus.streams.idle_timeout_s = settings.stream_idle_s
    opening = Telemetry("kubefox", is_on=settings.telemetry, ratio=settings.trace_ratio)
    async with (
        open_telemetry(opening, bus) as telemetry,
        open_store(
            bus,
            encryption,
            creates_keys=creates_keys,
            with_usage=with_usage,
            route_cache_bytes=settings.context_cache_bytes,
            checkpoint_file=checkpoint_file,
            usage_waits=usage_waits,
        ) as store,
        follow_time(bus, jetstream_time(f"KV_{BUCKET}")),
    ):
        opened_bytes = settings.context_cache_bytes // OPENED_SHARE
        contexts = Contexts(store, max_bytes=opened_bytes)
        broker = Broker(bus, store, contexts, settings, telemetry)
        watch_retries(telemetry.metrics, broker.senders)
        telemetry.metrics.watch_gauge("snapshot_current", lambda: store.is_current)
        telemetry.metrics.watch_gauge("snapshot_revision", lambda: store.snapshot.revision)
        watch_contexts(telemetry.metrics, contexts.cache)
        watch_routes(
            telemetry.metrics,
            lambda: store.snapshot.route_bindings.cache,
            lambda: telemetry.routed,
        )
        telemetry.metrics.remove_series_when(lambda labels: _is_gone(labels, store.snapshot))
        telemetry.metrics.watch_gauge("clock_ahead_seconds", lambda: clock.host_ahead_ns / 1e9)
        responder = ViewResponder(bus, contexts)
        views = await bus.serve_fast_path(subjects.VIEWS, responder.accept, subjects.BROKERS_QUEUE)
        times = await bus.serve_fast_path(
            subjects.CLOCK, broker.answer_time, subjects.BROKERS_QUEUE
        )
        usage = await bus.serve(subjects.USAGE, broker.answer_usage)
        try:
            async with announced(bus, store):
                yield broker
        finally:
            broker.drain()
            await bus.stop_serving(views)
            await bus.stop_serving(times)
            await responder.wait_idle()
            await bus.stop_serving(usage)


def _is_gone(labels: EventLabels, snapshot: Snapshot) -> bool:
    """Return whether the deployment or the virtual environment of a series was removed."""
    if not labels.deployment:
        return False
    records = snapshot.records
    return (
        labels.deployment not in records.deployments
        or labels.virtual_environment not in records.virtual_environments
    )


def _event_of(request: DispatchRequest, sent_s: float, ttl_s: float) -> Event:
    """Return the genesis event of a request."""
    target, routed, outgoing = request.target, request.request, request.body_stream
    in_flight = target.in_flight
    return Event(
        id=request.event_id,
        genesis_id=request.event_id,
        type=routed.type,
        context=target.token,
        source=request.source,
        deadline_ms=int((sent_s + ttl_s) * 1000),
        handler=request.handler,
        method=routed.method,
        path=routed.path,
        query=routed.query,
        headers=routed.headers,
        params=request.params,
        traceparent=request.traceparent,
        sent_us=int(sent_s * 1_000_000),
        stream=outgoing.subject if outgoing else "",
        inline_bytes=(
            _INLINE_BYTES[in_flight] if in_flight < _MANY_ANSWERS else LEAST_INLINE_BYTES
        ),
    )
