"""Events that nobody waits for: made like calls, and stored instead of sent."""

from __future__ import annotations

import hashlib
import time

from broker.ids import new_id
from broker.telemetry.telemetry import Telemetry
from fox.kit.context import Context, Emission
from fox.kit.requester import EventStore
from model import codec, subjects
from model.errors import DeadlineExceeded, InvalidRequest, NatsUnavailable
from model.event import Event, EventType

_ID_LENGTH = 32


class Emitter:
    """Stores the events of one component version.

    Args:
        source: The version, as in ``Event.source``.
        store: Keeps them; None keeps nothing.
        telemetry: Of the process.
    """

    def __init__(self, source: str, store: EventStore | None, telemetry: Telemetry) -> None:
        """Start with nothing emitted."""
        self._source = source
        self._store = store
        self._emitted = 0
        telemetry.metrics.watch_counter("events_emitted", lambda: self._emitted)

    async def emit(self, ctx: Context, dependency: str, target: str, emission: Emission) -> bool:
        """Store an event for ``target``; see ``fox.kit.context.Transport``."""
        subject = subjects.emitted(_checked(dependency, target))
        if self._store is None:
            raise NatsUnavailable("this process keeps no events", hop=self._source)
        parent, now_s = ctx.event, time.time()
        remaining_s = ctx.deadline_ms / 1000 - now_s
        if remaining_s <= 0:
            raise DeadlineExceeded(f"time ran out before it was emitted to {dependency}")
        event_id = new_id()
        with ctx.handling.emit(event_id, dependency, subject) as emitting:
            event = Event(
                id=event_id,
                genesis_id=parent.genesis_id,
                type=EventType.COMPONENT,
                context=parent.context,
                source=self._source,
                # While it waits it has none: each attempt to deliver it gets its own.
                deadline_ms=0,
                method=emission.method,
                path=emission.path,
                query=emission.query,
                headers=emission.headers,
                traceparent=emitting.traceparent,
                sent_us=int(now_s * 1_000_000),
            )
            is_new = await self._store.store(
                subject,
                codec.encode(event, emission.body),
                deduplication_id=deduplication_id(ctx, dependency, emission.key),
                timeout_s=remaining_s,
            )
        self._emitted += is_new
        return is_new


def deduplication_id(ctx: Context, dependency: str, key: str) -> str:
    """Return what tells an event from others of its key; nothing without a key.

    A key is a word between two components of one deployment in one virtual environment: what is
    emitted in another one is never lost for it.
    """
    if not key:
        return ""
    place = (ctx.app, ctx.deployment, ctx.virtual_environment, ctx.component, dependency)
    return hashlib.sha256("\0".join((*place, key)).encode()).hexdigest()[:_ID_LENGTH]


def _checked(dependency: str, target: str) -> str:
    if not subjects.is_component(target):
        raise InvalidRequest(f"{dependency} is an adapter: events are emitted to components")
    return target
