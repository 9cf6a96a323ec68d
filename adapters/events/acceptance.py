"""Accepts the events that components emit: checks who emits them, and stores them.

A pod may not publish to a subject of a stream: with another reply subject, it could have JetStream
publish its acknowledgement anywhere. So it sends the event here, and gets the answer when JetStream
has acknowledged it. All processes that deliver events share the requests. If one dies, the pods
send its requests again: see ``broker.events.remote_outbox``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus

from broker.dispatch.broker import Broker
from broker.events.outbox import MAX_EVENT_BYTES, Outbox, too_large_error
from broker.runtime.fair_share import FairShare
from kubefox import codec, subjects
from kubefox.context import EventContext, lane_of, source_name
from kubefox.deduplication import deduplication_id
from kubefox.errors import (
    FoxError,
    InternalError,
    InvalidEvent,
    NatsUnavailable,
    NotAuthorized,
    NotDeclared,
    Overloaded,
)
from kubefox.event import Event, ResponseHead
from kubefox.refusal import Refusal
from kubefox.senders import DELIVERER

logger = logging.getLogger(__name__)

MAX_BYTES = 64 << 20
"""Memory for the events of one lane that are being stored; all lanes have twice as much."""
_REQUEST_BYTES = 8 << 10
_MAX_KNOWN = 4_096

_Edge = tuple[str, str, str]
"""An emitter, the context of its event, and the subject on which it has sent it."""


class EventAcceptance:
    """Stores the events that pods send to one process; made by ``accept_events``.

    Args:
        broker: Opens the contexts of the events.
        max_bytes: See ``MAX_BYTES``.
    """

    def __init__(self, broker: Broker, *, max_bytes: int = MAX_BYTES) -> None:
        self._broker = broker
        self._bus = broker.bus
        self._outbox = Outbox(broker.bus)
        self._memory = FairShare(max_bytes)
        self._storing: set[asyncio.Task[None]] = set()
        # An edge that was allowed once is allowed for ever: the data of a context never changes.
        self._known: dict[_Edge, EventContext] = {}

    def accept(self, subject: str, frame: bytes, reply: str) -> None:
        """Accept an event and return at once; a ``MessageCallback``.

        Raises:
            InvalidEvent: The message has no reply subject.
        """
        if not reply:
            raise InvalidEvent("the request to store an event has no reply subject")
        try:
            event, _ = codec.decode_event(frame)
            size_bytes = self._take_memory(event, subject, frame)
        except FoxError as error:
            if isinstance(error, InvalidEvent):
                self._bus.malformed.note(subject, error)
            self._bus.post(reply, _failure(error))
            return
        task = asyncio.create_task(self._answer(event, subject, frame, reply, size_bytes))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def wait_idle(self) -> None:
        """Return when all accepted events are answered."""
        await asyncio.gather(*self._storing)

    def _take_memory(self, event: Event, subject: str, frame: bytes) -> int:
        if len(frame) > MAX_EVENT_BYTES:
            raise too_large_error(len(frame))
        size_bytes = len(frame) + _REQUEST_BYTES
        if not self._memory.try_take(lane_of(event.context), size_bytes):
            hop = subjects.hop(subjects.target_of_outbox(subject))
            raise Overloaded(
                f"the event for {hop} was not stored, because too many are being stored",
                hop=hop,
                refusal=Refusal.EVENTS_FULL,
            )
        return size_bytes

    async def _answer(
        self, event: Event, subject: str, frame: bytes, reply: str, size_bytes: int
    ) -> None:
        try:
            answer = await self._store(event, subject, frame)
        except FoxError as error:
            answer = _failure(error)
        except Exception:
            logger.exception("an event on %s could not be stored", subject)
            answer = _failure(InternalError("the event was not stored; see the adapter's log"))
        finally:
            self._memory.release(lane_of(event.context), size_bytes)
        # A pod that gets no answer sends the event again.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, answer)

    async def _store(self, event: Event, subject: str, frame: bytes) -> bytes:
        edge = event.source, event.context, subject
        context = self._known.get(edge)
        if context is None:
            context = await self._check(event, subject)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[edge] = context
        target = subjects.target_of_outbox(subject)
        is_new = await self._outbox.store(
            subjects.emitted(target),
            frame,
            deduplication_id=_deduplication_id(event, target, context),
        )
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return codec.encode(ResponseHead(status=status, source=DELIVERER))

    async def _check(self, event: Event, subject: str) -> EventContext:
        """Check the sender, the context and the graph of an event, and return its context.

        Raises:
            NotAuthorized: The event is not one of its sender, or of another app.
            NotDeclared: The emitter does not declare the component.
            FoxError: The context is not valid, or not known any more.
        """
        sender, target = subject.rpartition(".")[2], subjects.target_of_outbox(subject)
        if sender != event.source:
            self._refuse_forged(subject, f"{sender} emits an event of {event.source}")
        data = await self._broker.contexts.open(event.context)
        app, component, digest = subjects.version_of(target)
        if data.context.app != app:
            named = data.context.app
            self._refuse_forged(subject, f"{sender} of app {app} emits an event of app {named}")
        if event.source not in data.view(component, digest).callers:
            raise NotDeclared(
                f"{event.source} does not declare {component} in deployment {data.deployment.name}",
                hop=source_name(component, digest),
            )
        return data.context

    def _refuse_forged(self, subject: str, fault: str) -> None:
        error = NotAuthorized(fault, hop=DELIVERER)
        self._bus.forged.note(subject, error)
        raise error


@contextlib.asynccontextmanager
async def accept_events(broker: Broker) -> AsyncIterator[EventAcceptance]:
    """Store the events that pods emit until the context ends; then answer those in flight."""
    acceptance = EventAcceptance(broker)
    subscription = await broker.bus.serve_fast_path(
        subjects.OUTBOX, acceptance.accept, subjects.ADAPTERS_QUEUE
    )
    await broker.bus.flush()
    try:
        yield acceptance
    finally:
        await broker.bus.stop_serving(subscription)
        await acceptance.wait_idle()


def _failure(error: FoxError) -> bytes:
    return codec.encode(ResponseHead(status=0, source=DELIVERER, error=error.to_detail()))


def _deduplication_id(event: Event, target: str, context: EventContext) -> str:
    key = event.delivery.key if event.delivery is not None else ""
    emitter = event.source.partition("@")[0]
    return deduplication_id(context, emitter, subjects.version_of(target)[1], key)
