"""A component version at work: check each event, run its handler, carry its calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial

from broker import logs
from broker.answers import read_answer
from broker.bodies import Bodies
from broker.ids import new_id
from broker.pour import Chunks, Streamed, Upload, once
from broker.receiver import Reply
from broker.stream import Incoming
from broker.telemetry.handling import Call
from broker.telemetry.telemetry import Telemetry
from broker.waking import send_awake
from fox.kit.context import Context, Emission, Identity
from fox.kit.emitting import Emitter
from fox.kit.kit import Kit
from fox.kit.requester import EventStore, StreamingRequester
from fox.kit.response import Response, StreamedResponse, to_reply
from fox.kit.views import View, Views
from model import codec, subjects
from model.context import ADAPTER_PREFIX, source_name
from model.errors import DeadlineExceeded, NoPodReady, NotDeclared
from model.event import Event, EventType, Headers
from model.event import Response as ResponseHead
from model.stream import INLINE_BYTES

_LENGTH = "content-length"


class ComponentServer:
    """Handles the events of one component version.

    Args:
        kit: What the component declares.
        identity: Which version it is.
        bus: Connection to NATS.
        telemetry: Of the process; None measures nothing.
        store: Keeps the events that are emitted; without one none can be.
        bodies: What whole bodies may take; None takes the defaults.
    """

    def __init__(
        self,
        kit: Kit,
        identity: Identity,
        bus: StreamingRequester,
        telemetry: Telemetry | None = None,
        store: EventStore | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        """Start without any view."""
        self.source = source_name(identity.component, identity.hash)
        self._kit = kit
        self._identity = identity
        self._bus = bus
        self._telemetry = telemetry or Telemetry(is_on=False)
        self._views = Views(bus, identity, self._telemetry)
        self._bodies = bodies or Bodies()
        self._emitter = Emitter(self.source, store, self._telemetry)

    async def handle(self, event: Event, body: codec.Body) -> Reply:
        """Return the handler's answer to one event.

        Raises:
            ComponentMismatch: This version is not part of the event's deployment.
            NotDeclared: The sender is not part of it, or does not declare this component.
            RouteNotFound: The component has no such handler.
            BodyTooLarge: It does not take a body of this length.
            Exception: Whatever the handler raises.
        """
        view = self._views.get(event.context)
        if view is None:
            view = await self._views.fetch(event.context)
        logs.bind_event(event, view.scope)
        handling = self._telemetry.handling(event, view.scope)
        try:
            self._check_sender(event, view)
            handler = self._kit.handler_of(event)
            if len(body) > self._bodies.limit_bytes and not self._kit.streams_body(handler):
                self._bodies.check(len(body))
            ctx = Context(event, bytes(body), view, self._identity, self, handling)
            reply = to_reply(await handler(ctx))
            if reply.stream is not None or len(reply.body) > INLINE_BYTES:
                reply = _in_parts(reply, ctx)
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.answer(reply)

    async def handle_stream(self, event: Event, body: Incoming) -> Reply:
        """Return the handler's answer to an event whose body comes as a stream.

        Raises:
            FoxError: As in ``handle``; or the stream broke.
            Exception: Whatever the handler raises.
        """
        view = self._views.get(event.context) or await self._views.fetch(event.context)
        logs.bind_event(event, view.scope)
        handling = self._telemetry.handling(event, view.scope)
        try:
            self._check_sender(event, view)
            handler = self._kit.handler_of(event)
            body.meter = handling.flows().request
            ttl_s = event.remaining_s(time.time())
            with self._bodies.hold() as held:
                is_whole = not self._kit.streams_body(handler)
                if is_whole:
                    self._bodies.check(_announced_bytes(event))
                content = await held.collect(body) if is_whole else b""
                ctx = Context(event, content, view, self._identity, self, handling)
                ctx.go_on(partial(body.left_s, ttl_s), None if is_whole else body)
                reply = to_reply(await handler(ctx))
            if reply.stream is not None or len(reply.body) > INLINE_BYTES:
                reply = _in_parts(reply, ctx)
        except BaseException as error:
            handling.fail(error)
            raise
        return handling.answer(reply)

    async def call(
        self,
        ctx: Context,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str,
        headers: Headers,
        body: bytes,
    ) -> Response:
        """Send an event from one component straight to another; see ``Transport``."""
        if len(body) > INLINE_BYTES:
            opened = self.stream(
                ctx, dependency, method, path, query=query, headers=headers, body=body
            )
            async with opened as answer:
                return await self._whole(answer)
        target = self._target(ctx, dependency)
        event_id = new_id()
        with ctx.handling.call(event_id, dependency, target) as call:
            asked = method, path, query, headers, ""
            event, remaining_s = self._event(ctx, event_id, call, *asked, target)
            packed = codec.encode(event, body)
            try:
                frame = await self._bus.request(target, packed, remaining_s)
            except NoPodReady as failure:
                frame = await send_awake(self._bus, target, event, packed, failure)
            response, content = read_answer(frame)
            call.answer(response.status)
            if response.stream:
                with self._bodies.hold() as held:
                    content = await held.collect(self._incoming(response, target, call))
            return Response.from_wire(response, content)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        ctx: Context,
        dependency: str,
        method: str,
        path: str,
        *,
        query: str,
        headers: Headers,
        body: bytes | Chunks,
    ) -> AsyncIterator[StreamedResponse]:
        """Open a call whose bodies may come and go in chunks; see ``Transport``."""
        target = self._target(ctx, dependency)
        event_id = new_id()
        with ctx.handling.call(event_id, dependency, target) as call:
            async with contextlib.AsyncExitStack() as stack:
                inline, outgoing = b"", None
                if isinstance(body, bytes) and len(body) <= INLINE_BYTES:
                    inline = body
                else:
                    outgoing = await stack.enter_async_context(self._upload(body, target, call))
                subject = outgoing.subject if outgoing else ""
                asked = method, path, query, headers, subject
                event, remaining_s = self._event(ctx, event_id, call, *asked, target)
                packed = codec.encode(event, inline)
                try:
                    frame = await self._bus.request(target, packed, remaining_s, outgoing)
                except NoPodReady as failure:
                    frame = await send_awake(
                        self._bus, target, event, packed, failure, body=outgoing
                    )
                response, content = read_answer(frame)
                call.answer(response.status)
                if not response.stream:
                    yield StreamedResponse.of(response, content)
                    return
                with self._incoming(response, target, call) as incoming:
                    yield StreamedResponse.of(response, incoming)

    def _event(
        self,
        ctx: Context,
        event_id: str,
        call: Call,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        stream: str,
        target: str,
    ) -> tuple[Event, float]:
        """Return the event of a call, and the seconds that it has."""
        parent, now_s = ctx.event, time.time()
        event = Event(
            id=event_id,
            genesis_id=parent.genesis_id,
            type=EventType.COMPONENT,
            context=parent.context,
            source=self.source,
            deadline_ms=ctx.deadline_ms,
            method=method,
            path=path,
            query=query,
            headers=headers,
            traceparent=call.traceparent,
            sent_us=int(now_s * 1_000_000),
            stream=stream,
        )
        remaining_s = event.remaining_s(now_s)
        if remaining_s <= 0:
            hop = subjects.hop(target)
            raise DeadlineExceeded(f"time ran out before {hop} was called", hop=hop)
        return event, remaining_s

    def _upload(self, body: bytes | Chunks, target: str, call: Call) -> Upload:
        chunks = once(body) if isinstance(body, bytes) else body
        return Upload(self._bus.streams, chunks, target, call.flows().request)

    def _incoming(self, response: ResponseHead, target: str, call: Call) -> Incoming:
        incoming = self._bus.streams.receive(response.stream, target)
        incoming.meter = call.flows().answer
        return incoming

    async def _whole(self, answer: StreamedResponse) -> Response:
        with self._bodies.hold() as held:
            async for chunk in answer:
                held.add(chunk)
            return answer.whole(bytes(held.data))

    async def emit(self, ctx: Context, dependency: str, emission: Emission) -> bool:
        """Store an event from one component for another; see ``Transport``."""
        return await self._emitter.emit(ctx, dependency, self._target(ctx, dependency), emission)

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


def _in_parts(reply: Reply, ctx: Context) -> Reply:
    """Return an answer whose body goes as a stream, and let the context live as long as that."""
    event = ctx.event
    ttl_s = event.deadline_ms / 1000 - (event.sent_us / 1e6 or time.time())
    ctx.go_on(lambda: ttl_s)
    if reply.stream is not None:
        return reply
    # Whatever it says of its length, as it says it of a short one: the bytes are what counts.
    headers = (each for each in reply.headers if each[0] != _LENGTH)
    length = _LENGTH, str(len(reply.body))
    return Reply(reply.status, (*headers, length), b"", Streamed(once(reply.body)))


def _announced_bytes(event: Event) -> int:
    """Return the length that the request says its body has, or 0."""
    length = next((value for name, value in event.headers if name == _LENGTH), "")
    return int(length) if length.isdecimal() else 0
