"""The broker: sends genesis events to the component that routing decided on.

One is embedded in every trusted process (HTTP adapter, cron, control), so there is no single
broker to lose. Any of them answers any pod that asks for its view of a context.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import msgspec

from broker.answers import discard, read_answer
from broker.bus import Bus
from broker.contexts import ContextData, Contexts
from broker.lane import Lane, Lanes
from broker.settings import Settings
from broker.store import Store, open_store
from broker.stream import Incoming, Outgoing
from broker.telemetry.telemetry import Telemetry, open_telemetry
from broker.usage import Usage, read_question_s
from broker.views import ViewReply, ViewRequest
from broker.waking import send_awake
from model import codec, subjects
from model.component import DependencyKind
from model.context import adapter_source, source_name
from model.decoding import UNREADABLE
from model.errors import (
    ComponentMismatch,
    Draining,
    FoxError,
    InvalidEvent,
    NoPodReady,
    NotDeclared,
)
from model.event import NO_ROUTE, Event, Headers, Response
from routing.bindings import Target
from routing.request import GenesisRequest
from routing.resolver import Decision, resolve
from routing.selectors import Selectors
from routing.snapshot import Snapshot

logger = logging.getLogger(__name__)

_decode_view_request = msgspec.msgpack.Decoder(ViewRequest).decode
_encode = msgspec.msgpack.Encoder().encode


class Broker:
    """Resolves, dispatches, and answers for contexts; made by ``open_broker``.

    Attributes:
        bus: The process's connection to NATS.
        store: The control plane's data.
        settings: Of the process.
        telemetry: Of the process.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        contexts: Contexts,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        """Put the parts together; see ``open_broker``."""
        self.bus = bus
        self.store = store
        self.settings = settings
        self.telemetry = telemetry
        self._contexts = contexts
        self._lanes = Lanes(contexts.seal)
        self._draining = False
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def snapshot(self) -> Snapshot:
        """The control plane's data as this process knows it now."""
        return self.store.snapshot

    @property
    def is_ready(self) -> bool:
        """Whether requests are routed by current data."""
        return self.bus.is_ready and self.store.is_current and not self._draining

    @property
    def in_flight(self) -> int:
        """How many events that this broker has sent wait for their answer."""
        return self._lanes.in_flight

    def resolve(self, request: GenesisRequest, selectors: Selectors) -> Decision:
        """Decide who serves a request, by the snapshot of this moment; see ``resolve``."""
        return resolve(request, selectors, self.store.snapshot)

    def lane(self, target: Target) -> Lane:
        """Return what all events to a target have in common."""
        return self._lanes.of(target)

    async def dispatch(
        self,
        lane: Lane,
        *,
        event_id: str,
        type: str,  # noqa: A002 - the event's field
        source: str,
        handler: int = NO_ROUTE,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: Headers = (),
        params: dict[str, str] | None = None,
        body: codec.Body = b"",
        traceparent: str = "",
        ttl_s: float | None = None,
        sent_ns: int = 0,
        upload: Outgoing | None = None,
    ) -> tuple[Response, codec.Body | Incoming]:
        """Send a genesis event to its target and return the response's head and body.

        A body that comes as a stream is the caller's to close: until then the event is in flight.

        Args:
            lane: Of the target that was decided on: who, and in which context.
            event_id: A new one, see ``broker.ids``.
            type: One of ``EventType``.
            source: ``adapter/<kind>``.
            handler: Route or schedule id.
            method: See ``Event``, as all that follow.
            path: Percent-encoded.
            query: Without selectors.
            headers: Without selectors.
            params: Captured by the rule.
            body: At most ``INLINE_BYTES``.
            traceparent: W3C trace context, or empty; see ``Event``.
            ttl_s: Time until the response's head; None takes the setting.
            sent_ns: Unix time; 0 is now.
            upload: Sends the body, instead of ``body``; the time begins when it is over.

        Raises:
            FoxError: Whatever stopped it: no pod, time, a mismatch, the handler.
        """
        if self._draining:
            raise Draining("the platform is shutting down")
        ttl_s = ttl_s or self.settings.event_ttl_s
        sent_ns = sent_ns or time.time_ns()
        event = Event(
            id=event_id,
            genesis_id=event_id,
            type=type,
            context=lane.token,
            source=source,
            deadline_ms=sent_ns // 1_000_000 + int(ttl_s * 1000),
            handler=handler,
            method=method,
            path=path,
            query=query,
            headers=headers,
            params=params or {},
            traceparent=traceparent,
            sent_us=sent_ns // 1_000,
            stream=upload.subject if upload else "",
        )
        subject = lane.subject
        self._lanes.note(lane, sent_ns)
        lane.in_flight += 1
        try:
            packed = codec.encode(event, body)
            try:
                frame = await self.bus.request(subject, packed, ttl_s, upload)
            except NoPodReady as failure:
                frame = await send_awake(
                    *(self.bus, subject, event, packed, failure), hashes=lane.hashes, body=upload
                )
            head, content = read_answer(frame)
            if head.stream:
                incoming = self.bus.streams.receive(head.stream, subject)
                lane.in_flight += 1
                incoming.on_close = lane.leave
                return head, incoming
        finally:
            lane.in_flight -= 1
        return head, content

    @property
    def contexts(self) -> Contexts:
        """What sealed contexts stand for."""
        return self._contexts

    async def deliver(
        self, event: Event, body: codec.Body, target: str, data: ContextData, ttl_s: float
    ) -> Response:
        """Send an event that was stored to its component and return the response's head.

        Nobody wants its body. One that comes as a stream is read all the same, for what makes it is
        a part of handling the event, and has the same time.

        Args:
            event: With a deadline ``ttl_s`` from now.
            body: Its body.
            target: Subject of the component version.
            data: What the event's context stands for.
            ttl_s: Time for this attempt and all below it.

        Raises:
            FoxError: Whatever stopped it: no pod, time, a mismatch, the handler.
        """
        packed = codec.encode(event, body)
        traffic = self._lanes.delivery(data.context, data.deployment)
        self._lanes.note(traffic, time.time_ns())
        traffic.in_flight += 1
        try:
            try:
                frame = await self.bus.request(target, packed, ttl_s)
            except NoPodReady as failure:
                frame = await send_awake(
                    *(self.bus, target, event, packed, failure), hashes=traffic.hashes
                )
            head, _ = read_answer(frame)
            if head.stream:
                answer = self.bus.streams.receive(head.stream, target)
                await discard(answer, event.remaining_s(time.time()))
        finally:
            traffic.in_flight -= 1
        return head

    async def authorize(self, event: Event, adapter_kind: str) -> ContextData:
        """Return what an event's context stands for, once its sender may call the adapter.

        Raises:
            InvalidEvent: The token is not one of this platform.
            ComponentMismatch: The sender is not part of the deployment.
            NotDeclared: The sender does not declare the adapter.
        """
        data = await self._contexts.open(event.context)
        name, _, digest = event.source.partition("@")
        if data.deployment.components.get(name) != digest:
            raise ComponentMismatch(
                f"{event.source} is not part of deployment {data.deployment.name}",
                hop=adapter_source(adapter_kind),
            )
        declared = data.definitions[name].dependencies
        if not any(
            each.name == adapter_kind and each.kind is DependencyKind.ADAPTER for each in declared
        ):
            raise NotDeclared(
                f"component {name} does not declare adapter {adapter_kind}",
                hop=source_name(name, digest),
            )
        return data

    def take_view(self, _subject: str, payload: bytes, reply: str) -> None:
        """Take the question of a pod for its view of a context; see ``broker.bus.Taker``.

        Each gets a task: an old revision is read from NATS, and holds up nobody else.
        """
        task = asyncio.create_task(self._answer_view(payload, reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def wait_answered(self) -> None:
        """Return when every pod that asked has its answer."""
        await asyncio.gather(*self._answering)

    async def _answer_view(self, payload: bytes, reply: str) -> None:
        try:
            answer = await self._view(payload)
            if reply:
                await self.bus.publish(reply, _encode(answer))
        except Exception:
            logger.exception("a pod's question for its view could not be answered")

    async def _view(self, payload: bytes) -> ViewReply:
        try:
            request = _read_view_request(payload)
            data = await self._contexts.open(request.token)
            return ViewReply(view=data.view(request.component, request.hash))
        except FoxError as error:
            return ViewReply(error=error.to_detail())

    async def answer_usage(self, payload: bytes, reply: str) -> None:
        """Tell which component versions events that are in flight, or began lately, may need."""
        since_ns = time.time_ns() - int(read_question_s(payload) * 1e9)
        usage = Usage(revision=self.snapshot.revision, hashes=self._lanes.needed(since_ns))
        if reply:
            await self.bus.publish(reply, _encode(usage))

    def drain(self) -> None:
        """Refuse new genesis events from now on."""
        self._draining = True


def _read_view_request(payload: bytes) -> ViewRequest:
    try:
        return _decode_view_request(payload)
    except UNREADABLE as error:
        raise InvalidEvent(f"the question for a view cannot be read: {error}") from error


@contextlib.asynccontextmanager
async def open_broker(bus: Bus, settings: Settings) -> AsyncIterator[Broker]:
    """Open a broker on a connection; it answers views and usage until the context ends."""
    bus.streams.idle_s = settings.stream_idle_s
    measured = Telemetry("kubefox", is_on=settings.telemetry, ratio=settings.trace_ratio)
    async with open_telemetry(measured, bus) as telemetry, open_store(bus) as store:
        contexts = Contexts(store, await store.platform_key())
        broker = Broker(bus, store, contexts, settings, telemetry)
        telemetry.metrics.watch_gauge("snapshot_current", lambda: store.is_current)
        telemetry.metrics.watch_gauge("snapshot_revision", lambda: store.snapshot.revision)
        views = await bus.take(subjects.VIEW, broker.take_view, subjects.BROKERS_QUEUE)
        usage = await bus.serve(subjects.USAGE, broker.answer_usage)
        await bus.flush()
        try:
            yield broker
        finally:
            broker.drain()
            await bus.stop_serving(views)
            await broker.wait_answered()
            await bus.stop_serving(usage)
