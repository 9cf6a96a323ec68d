"""Serve one component version: check each event, run its handler, send its calls."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from broker.dispatch.event_sender import EventSender
from broker.dispatch.handling import Reply, with_length
from broker.dispatch.responses import read_response
from broker.runtime import logs
from broker.runtime.platform_clock import clock
from broker.streams.bodies import BodyMemory
from broker.streams.body_sender import BodySender, Chunks, StreamedBody, single_chunk
from broker.streams.incoming import IncomingStream
from broker.telemetry.handler_telemetry import OutgoingCall
from broker.telemetry.telemetry import Telemetry
from fox.kit.context import Context
from fox.kit.emitting import Emitter
from fox.kit.kit import Handler, Kit
from fox.kit.outgoing import EmitOptions, OutgoingRequest
from fox.kit.requester import EventStore, StreamingRequester
from fox.kit.response import Content, Response, StreamedResponse, to_reply
from fox.kit.runner import HandlerRunner
from fox.kit.runs import Runs
from fox.kit.variables import Identity
from fox.kit.views import View, Views
from kubefox import codec, subjects
from kubefox.context import lane_of, source_name
from kubefox.errors import DeadlineExceeded, NotDeclared
from kubefox.event import Event, EventType, ResponseHead
from kubefox.senders import ADAPTER_PREFIX
from kubefox.stream import INLINE_BYTES

_LENGTH = "content-length"


class ComponentServer:
    """Handles the events of one component version.

    Args:
        kit: The component's declaration and handlers.
        identity: The component version.
        bus: Connection to NATS.
        telemetry: Telemetry of the process; None measures nothing.
        store: Stores emitted events; with None, each attempt to emit fails.
        bodies: Limits of buffered bodies; None stands for the defaults.
        sender: Sends the calls; None stands for one with the default hold.
        runs: The emitted events that run in this process; None stands for none.

    Attributes:
        source: The component version, as in ``Event.source``.
        prepare: Awaits the view of an event whose context is new; ``Receiver.prepare`` in a pod.
    """

    def __init__(
        self,
        kit: Kit,
        identity: Identity,
        bus: StreamingRequester,
        telemetry: Telemetry | None = None,
        store: EventStore | None = None,
        bodies: BodyMemory | None = None,
        sender: EventSender | None = None,
        runs: Runs | None = None,
        views: Views | None = None,
    ) -> None:
        self.source = source_name(identity.component, identity.hash)
        self.prepare: Callable[[Awaitable[View]], Awaitable[View]] = _only_await
        self._kit = kit
        self._identity = identity
        self._bus = bus
        self._telemetry = telemetry or Telemetry(is_on=False)
        self._new_id = self._telemetry.new_id
        self._views = views or Views(bus, identity, self._telemetry)
        self._bodies = bodies or BodyMemory()
        self._sender = sender or EventSender(bus, identity.sender)
        self._runner = HandlerRunner(kit, runs or Runs(bus), self.source)
        self._emitter = Emitter(self.source, store, self._telemetry)

    async def handle(self, event: Event, body: codec.Body) -> Reply:
        """Return the handler's answer to one event.

        Raises:
            ComponentMismatch: This version is not part of the event's deployment.
            NotDeclared: The sender is not part of it, or does not declare this component.
            RouteNotFound: The component has no such handler.
            BodyTooLarge: The body is larger than the limit.
            Exception: The handler raised it.
        """
        view = self._views.get(event.context)
        if view is None:
            view = await self.prepare(self._views.fetch(event.context))
        logs.bind_event(event, view.telemetry_labels)
        handling = self._telemetry.handler_telemetry(event, view.telemetry_labels)
        try:
            self._check_sender(event, view)
            handler = self._kit.handler_of(event)
            if len(body) > self._bodies.limit_bytes and not self._kit.streams_body(handler):
                self._bodies.check(len(body))
            ctx = Context(event, bytes(body), view, self._identity, self, handling)
            reply = to_reply(await self._run(handler, ctx))
            if reply.stream is not None or len(reply.body) > INLINE_BYTES:
                reply = _as_stream(reply, ctx)
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.complete(reply)

    async def handle_stream(self, event: Event, body: IncomingStream) -> Reply:
        """Return the handler's answer to an event whose body is a stream.

        Raises:
            FoxError: See ``handle``; or the stream broke.
            Exception: The handler raised it.
        """
        view = self._views.get(event.context)
        if view is None:
            view = await self.prepare(self._views.fetch(event.context))
        logs.bind_event(event, view.telemetry_labels)
        handling = self._telemetry.handler_telemetry(event, view.telemetry_labels)
        try:
            self._check_sender(event, view)
            handler = self._kit.handler_of(event)
            body.meter = handling.stream_meters().request
            ttl_s = event.remaining_s(clock.now_s())
            with self._bodies.buffer(lane_of(event.context)) as buffer:
                is_whole = not self._kit.streams_body(handler)
                if is_whole:
                    self._bodies.check(_announced_bytes(event))
                content = await buffer.collect(body) if is_whole else b""
                if is_whole and body.on_gathered is not None:
                    await body.on_gathered()
                ctx = Context(event, content, view, self._identity, self, handling)
                ctx.use_stream_deadline(partial(body.left_s, ttl_s), None if is_whole else body)
                reply = to_reply(await self._run(handler, ctx))
            if reply.stream is not None or len(reply.body) > INLINE_BYTES:
                reply = _as_stream(reply, ctx)
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.complete(reply)

    async def _run(self, handler: Handler, ctx: Context) -> Content | Response:
        if ctx.event.delivery is None and not self._kit.has_time_limits:
            return await handler(ctx)
        return await self._runner.run(handler, ctx)

    async def call(self, ctx: Context, dependency: str, request: OutgoingRequest) -> Response:
        """Send an event to another component, without a broker between; see ``Transport``."""
        if len(request.body) > INLINE_BYTES:
            async with self.stream(ctx, dependency, request) as answer:
                return await self._whole(ctx, answer)
        target = self._target(ctx, dependency)
        event_id = self._new_id()
        with ctx.handling.call(event_id, dependency, target) as call:
            event, remaining_s = self._event(ctx, event_id, call, request, target)
            frame = codec.encode(event, request.body)
            frame = await self._sender.request(
                target, event, frame, remaining_s, idempotent=request.idempotent
            )
            head, content = read_response(frame)
            call.record_answer(head)
            if head.stream:
                with self._bodies.buffer(lane_of(ctx.event.context)) as buffer:
                    content = await buffer.collect(self._incoming(ctx, head, target, call))
            return Response.from_wire(head, content, subjects.source_at(target))

    @contextlib.asynccontextmanager
    async def stream(
        self,
        ctx: Context,
        dependency: str,
        request: OutgoingRequest,
        chunks: Chunks | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Open a call whose bodies may be streams; see ``Transport``."""
        target = self._target(ctx, dependency)
        event_id = self._new_id()
        with ctx.handling.call(event_id, dependency, target) as call:
            async with contextlib.AsyncExitStack() as stack:
                body, outgoing = request.body, None
                if chunks is None and len(body) > INLINE_BYTES:
                    body, chunks = b"", single_chunk(body)
                if chunks is not None:
                    streams, meter = self._bus.streams, call.stream_meters().request
                    sender = BodySender(streams, chunks, target, meter)
                    outgoing = await stack.enter_async_context(sender)
                subject = outgoing.subject if outgoing else ""
                event, remaining_s = self._event(ctx, event_id, call, request, target, subject)
                frame = codec.encode(event, body)
                frame = await self._sender.request(
                    target,
                    event,
                    frame,
                    remaining_s,
                    body=outgoing,
                    idempotent=request.idempotent,
                )
                head, content = read_response(frame)
                call.record_answer(head)
                source = subjects.source_at(target)
                if not head.stream:
                    yield StreamedResponse.of(head, content, source)
                    return
                with self._incoming(ctx, head, target, call) as incoming:
                    yield StreamedResponse.of(head, incoming, source)

    def _event(
        self,
        ctx: Context,
        event_id: str,
        call: OutgoingCall,
        request: OutgoingRequest,
        target: str,
        stream: str = "",
    ) -> tuple[Event, float]:
        """Return the event of a call, and the seconds until its deadline.

        Raises:
            DeadlineExceeded: The deadline has passed.
        """
        parent, now_s = ctx.event, clock.now_s()
        event = Event(
            id=event_id,
            genesis_id=parent.genesis_id,
            type=EventType.COMPONENT,
            context=parent.context,
            source=self.source,
            deadline_ms=ctx.deadline_ms,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            traceparent=call.traceparent,
            sent_us=int(now_s * 1_000_000),
            stream=stream,
            depth=parent.depth + 1,
        )
        remaining_s = event.remaining_s(now_s)
        if remaining_s <= 0:
            hop = subjects.hop(target)
            raise DeadlineExceeded(f"time ran out before {hop} was called", hop=hop)
        return event, remaining_s

    def _incoming(
        self, ctx: Context, head: ResponseHead, target: str, call: OutgoingCall
    ) -> IncomingStream:
        lane = lane_of(ctx.event.context)
        incoming = self._bus.streams.open_incoming(head.stream, target, lane=lane)
        incoming.meter = call.stream_meters().answer
        return incoming

    async def _whole(self, ctx: Context, answer: StreamedResponse) -> Response:
        with self._bodies.buffer(lane_of(ctx.event.context)) as buffer:
            async for chunk in answer:
                buffer.add(chunk)
            return answer.with_body(bytes(buffer.data))

    async def emit(
        self, ctx: Context, dependency: str, request: OutgoingRequest, options: EmitOptions
    ) -> bool:
        """Store an event from one component for another; see ``Transport``."""
        target = self._target(ctx, dependency)
        return await self._emitter.emit(ctx, dependency, target, request, options)

    def _target(self, ctx: Context, dependency: str) -> str:
        target = ctx.view.targets.get(dependency)
        if target is None:
            raise NotDeclared(
                f"component {self._identity.component} does not declare {dependency}, "
                f"or deployment {ctx.deployment} has no such component",
                hop=self.source,
            )
        return target

    def _check_sender(self, event: Event, view: View) -> None:
        source = event.source
        if not source.startswith(ADAPTER_PREFIX) and source not in view.callers:
            raise NotDeclared(
                f"{source} does not declare {self._identity.component} in deployment "
                f"{view.deployment}",
                hop=self.source,
            )


async def _only_await(view: Awaitable[View]) -> View:
    return await view


def _as_stream(reply: Reply, ctx: Context) -> Reply:
    """Return an answer whose body is sent as a stream, and extend the context's deadline to it."""
    event = ctx.event
    ctx.limit_deadline(None)
    ttl_s = event.deadline_ms / 1000 - (event.sent_us / 1e6 or clock.now_s())
    ctx.use_stream_deadline(lambda: ttl_s)
    if reply.stream is not None:
        return reply
    headers = with_length(reply.headers, len(reply.body))
    return Reply(reply.status, headers, b"", StreamedBody(single_chunk(reply.body)))


def _announced_bytes(event: Event) -> int:
    """Return the body's length according to the request's headers, or 0."""
    length = next((value for name, value in event.headers if name == _LENGTH), "")
    return int(length) if length.isdecimal() else 0
