"""Emit events: they are made like calls, and stored instead of sent."""

from __future__ import annotations

import math

from broker.runtime.platform_clock import clock
from broker.telemetry.telemetry import Telemetry
from fox.kit.context import Context
from fox.kit.outgoing import EmitOptions, OutgoingRequest
from fox.kit.requester import EventStore
from kubefox import codec, subjects
from kubefox.delivery import Delivery
from kubefox.errors import DeadlineExceeded, InvalidRequest, NatsUnavailable
from kubefox.event import Event, EventType


class Emitter:
    """Stores the events that one component version emits.

    Args:
        source: The version, as in ``Event.source``.
        store: Stores the events; with None, each attempt to emit fails.
        telemetry: Telemetry of the process.
    """

    def __init__(self, source: str, store: EventStore | None, telemetry: Telemetry) -> None:
        self._source = source
        self._store = store
        self._new_id = telemetry.new_id
        self._emitted = 0
        telemetry.metrics.watch_counter("events_emitted", lambda: self._emitted)

    async def emit(
        self,
        ctx: Context,
        dependency: str,
        target: str,
        request: OutgoingRequest,
        options: EmitOptions,
    ) -> bool:
        """Store an event for the subject ``target``; see ``ComponentClient.emit``."""
        if not subjects.is_component(target):
            raise InvalidRequest(f"{dependency} is an adapter: events are emitted to components")
        if self._store is None:
            raise NatsUnavailable("this process cannot store events", hop=self._source)
        subject = subjects.emitted(target)
        parent, now_s = ctx.event, clock.now_s()
        remaining_s = ctx.deadline_ms / 1000 - now_s
        if remaining_s <= 0:
            raise DeadlineExceeded(f"time ran out before the event for {dependency} was stored")
        event_id = self._new_id()
        with ctx.handling.emit(event_id, dependency, subject) as emitting:
            event = Event(
                id=event_id,
                genesis_id=parent.genesis_id,
                type=EventType.COMPONENT,
                context=parent.context,
                source=self._source,
                # A stored event has no deadline: each delivery gets one of its own.
                deadline_ms=0,
                method=request.method,
                path=request.path,
                query=request.query,
                headers=request.headers,
                traceparent=emitting.traceparent,
                sent_us=int(now_s * 1_000_000),
                delivery=_delivery(options, now_s),
            )
            is_new = await self._store.store(
                target, codec.encode(event, request.body), timeout_s=remaining_s
            )
        self._emitted += is_new
        return is_new


def _delivery(options: EmitOptions, now_s: float) -> Delivery | None:
    if options.timeout_s is None and not options.delay_s and not options.key:
        return None
    due_ms = int((now_s + options.delay_s) * 1000) if options.delay_s else 0
    timeout_ms = math.ceil((options.timeout_s or 0) * 1000)
    return Delivery(timeout_ms=timeout_ms, due_ms=due_ms, key=options.key)
