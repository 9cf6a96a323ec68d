"""A component version at work: check each event, run its handler, carry its calls."""

from __future__ import annotations

import itertools
import time

from broker import logs
from broker.answers import read_answer
from broker.receiver import Reply
from broker.telemetry.telemetry import Telemetry
from fox.kit.context import Context, Emission, Identity
from fox.kit.emitting import Emitter
from fox.kit.kit import Kit
from fox.kit.requester import EventStore, Requester
from fox.kit.response import Response, to_reply
from fox.kit.views import View, Views
from model import codec, subjects
from model.context import ADAPTER_PREFIX, source_name
from model.errors import DeadlineExceeded, NotDeclared
from model.event import Event, EventType, Headers


class ComponentServer:
    """Handles the events of one component version.

    Args:
        kit: What the component declares.
        identity: Which version it is.
        bus: Connection to NATS.
        telemetry: Of the process; None measures nothing.
        store: Keeps the events that are emitted; without one none can be.
    """

    def __init__(
        self,
        kit: Kit,
        identity: Identity,
        bus: Requester,
        telemetry: Telemetry | None = None,
        store: EventStore | None = None,
    ) -> None:
        """Start without any view."""
        self.source = source_name(identity.component, identity.hash)
        self._kit = kit
        self._identity = identity
        self._bus = bus
        self._telemetry = telemetry or Telemetry(is_on=False)
        self._views = Views(bus, identity, self._telemetry)
        self._event_ids = itertools.count(1)
        self._emitter = Emitter(self.source, bus.process_id, store, self._telemetry)

    async def handle(self, event: Event, body: codec.Body) -> Reply:
        """Return the handler's answer to one event.

        Raises:
            ComponentMismatch: This version is not part of the event's deployment.
            NotDeclared: The sender is not part of it, or does not declare this component.
            RouteNotFound: The component has no such handler.
            Exception: Whatever the handler raises.
        """
        view = self._views.get(event.context)
        if view is None:
            view = await self._views.fetch(event.context)
        logs.bind_event(event, view.scope.log_fields)
        with self._telemetry.handling(event, view.scope) as handling:
            self._check_sender(event, view)
            handler = self._kit.handler_of(event)
            ctx = Context(event, bytes(body), view.component, self._identity, self, handling)
            return handling.answer(to_reply(await handler(ctx)))

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
        parent, now_s = ctx.event, time.time()
        target = self._target(ctx, dependency)
        remaining_s = parent.remaining_s(now_s)
        if remaining_s <= 0:
            hop = subjects.hop(target)
            raise DeadlineExceeded(f"time ran out before {hop} was called", hop=hop)
        with ctx.handling.call(dependency, target) as call:
            event = Event(
                id=f"{self._bus.process_id}-{next(self._event_ids):x}",
                genesis_id=parent.genesis_id,
                type=EventType.COMPONENT,
                context=parent.context,
                source=self.source,
                deadline_ms=parent.deadline_ms,
                method=method,
                path=path,
                query=query,
                headers=headers,
                traceparent=call.traceparent,
                sent_us=int(now_s * 1_000_000),
            )
            frame = await self._bus.request(target, codec.encode(event, body), remaining_s)
            response, content = read_answer(frame)
            call.answer(response.status)
            return Response.from_wire(response, content)

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
        if source not in view.component.callers and not source.startswith(ADAPTER_PREFIX):
            raise NotDeclared(
                f"{source} does not declare {self._identity.component} in deployment "
                f"{view.component.deployment}",
                hop=self.source,
            )
