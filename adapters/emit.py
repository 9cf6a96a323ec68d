"""Emit: delivers the events that components have stored for each other.

Each is sent to its component by the ordinary path, in the context and the trace in which it was
emitted, with a deadline of its own for every attempt. It is settled by what became of that: it was
handled, it is tried again after a pause, or it is given up as a dead letter. An attempt whose end
nobody can tell, since a process died or NATS was away, is made again: at least once.
"""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from adapters.emit_fate import MAX_WAIT_S, Fate, delay_s, fate_of, reason_of, status_of
from broker.broker import Broker
from broker.contexts import ContextData
from broker.dead_letters import DeadLetters, open_dead_letters
from broker.deliveries import DONE, StoredEvent, again, open_deliveries
from broker.receiver import Reply
from broker.settings import Settings
from model import codec, subjects
from model.context import adapter_source
from model.dead_letter import Burial
from model.errors import (
    ComponentFailed,
    DeadlineExceeded,
    ErrorDetail,
    FoxError,
    InternalError,
    NotDeclared,
)
from model.event import NO_ROUTE, Event, EventType

logger = logging.getLogger(__name__)

_ERROR = 400


class Failure(NamedTuple):
    """Why an attempt failed: a status that ``fate_of`` reads, and the reason for people."""

    status: int
    reason: ErrorDetail


class EmitAdapter:
    """Delivers events, together with those of all other processes.

    Args:
        broker: Sends them, and knows what their contexts stand for.
        settings: Of the process.
    """

    kind = "emit"
    is_inbound = True

    def __init__(self, broker: Broker, settings: Settings) -> None:
        """Prepare to deliver; entering the context starts."""
        self._broker = broker
        self._settings = settings
        self._dead_letters = DeadLetters(broker.bus)
        self._serving = AsyncExitStack()
        self._is_serving = False
        self._delivered = self._retried = self._buried = 0

    async def __aenter__(self) -> Self:
        """Deliver from now on."""
        metrics = self._broker.telemetry.metrics
        metrics.watch_counter("events_delivered", lambda: self._delivered)
        metrics.watch_counter("events_retried", lambda: self._retried)
        metrics.watch_counter("events_dead_lettered", lambda: self._buried)
        await open_dead_letters(self._broker.bus)
        delivering = open_deliveries(self._broker.bus, self.deliver, drain_s=self._settings.drain_s)
        await self._serving.enter_async_context(delivering)
        self._is_serving = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take no more events, and settle those in hand."""
        self._is_serving = False
        await self._serving.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether events are delivered by current data."""
        return self._is_serving and self._broker.is_ready

    async def deliver(self, stored: StoredEvent) -> bytes:
        """Make one attempt to deliver an event, and return how it is settled.

        Raises:
            FoxError: It is to be given up, and its dead letter could not be stored.
        """
        failure = await self._attempt(stored)
        if failure is None:
            self._delivered += 1
            return DONE
        attempt, attempts = stored.deliveries, self._settings.emit_attempts
        if fate_of(failure.status, attempt=attempt, attempts=attempts) is Fate.AGAIN:
            self._retried += 1
            pause_s = delay_s(attempt, self._settings.emit_retry_s)
            logger.info(
                "%s failed, again in %g s: %s", _name(stored), pause_s, failure.reason.detail
            )
            return again(pause_s)
        await self._bury(stored, failure.reason)
        return DONE

    async def _attempt(self, stored: StoredEvent) -> Failure | None:
        hop = subjects.hop(subjects.target_of(stored.subject))
        if (over := self._over(stored, hop)) is not None:
            return Failure(_ERROR, over.to_detail())
        try:
            status = await self._send(stored)
        except FoxError as error:
            return Failure(status_of(error), error.to_detail())
        except Exception:
            logger.exception("%s could not be delivered", _name(stored))
            failed = InternalError("the platform failed; its log tells why", hop=hop)
            return Failure(failed.http_status, failed.to_detail())
        return Failure(status, reason_of(status, hop)) if status >= _ERROR else None

    def _over(self, stored: StoredEvent, hop: str) -> FoxError | None:
        """Return why there is to be no attempt any more."""
        attempts = self._settings.emit_attempts
        if stored.deliveries > attempts:
            # Its dead letter could not be stored, or whoever made the last attempt died in it.
            return ComponentFailed(f"it had {attempts} attempts, the log tells of them", hop=hop)
        if time.time() - stored.stored_at_s > MAX_WAIT_S:
            return DeadlineExceeded(f"it is older than {MAX_WAIT_S:g} s", hop=hop)
        return None

    async def _send(self, stored: StoredEvent) -> int:
        """Return the status of the component's answer."""
        event, body = codec.decode_event(stored.frame)
        target, now_s = subjects.target_of(stored.subject), time.time()
        data = await self._broker.contexts.open(event.context)
        _check_sender(event, target, data)
        event = msgspec.structs.replace(event, attempt=event.attempt - 1 + stored.deliveries)
        source, ttl_s = adapter_source(self.kind), self._settings.event_ttl_s
        measured = self._broker.telemetry.delivering(event, target, source, data.context)
        sent = msgspec.structs.replace(
            event,
            # Whoever may emit may write whatever into a frame: no more than this is taken.
            type=EventType.COMPONENT,
            handler=NO_ROUTE,
            params={},
            stream="",
            deadline_ms=int((now_s + ttl_s) * 1000),
            traceparent=measured.send(),
            sent_us=int(now_s * 1_000_000),
        )
        try:
            response = await self._broker.deliver(sent, body, target, data, ttl_s)
        except BaseException as error:
            measured.fail(error)
            raise
        return measured.answer(Reply(response.status)).status

    async def _bury(self, stored: StoredEvent, reason: ErrorDetail) -> None:
        buried = self._burial(stored, reason)
        await self._dead_letters.bury(buried, stored.sequence)
        self._buried += 1
        logger.warning(
            "%s is given up after attempt %d: %s", _name(stored), buried.attempts, reason.detail
        )

    def _burial(self, stored: StoredEvent, reason: ErrorDetail) -> Burial:
        before, deployment, virtual_environment = 0, "", ""
        try:
            event, _ = codec.decode_event(stored.frame)
            before = event.attempt - 1
            context = self._broker.contexts.claims(event.context)
            deployment, virtual_environment = context.deployment, context.virtual_environment
        except FoxError as error:
            logger.debug("a dead letter tells little of itself: %s", error)
        return Burial(
            target=subjects.target_of(stored.subject),
            frame=stored.frame,
            reason=reason,
            attempts=before + stored.deliveries,
            emitted_at_s=stored.stored_at_s,
            died_at_s=time.time(),
            deployment=deployment,
            virtual_environment=virtual_environment,
        )


def _check_sender(event: Event, target: str, data: ContextData) -> None:
    """Refuse an event as its receiver would: who is sent by an adapter is not asked there.

    Raises:
        ComponentMismatch: Its component version is not part of the deployment.
        NotDeclared: The sender is not, or does not declare the component.
    """
    _, component, digest = subjects.version_of(target)
    if event.source not in data.view(component, digest).callers:
        raise NotDeclared(
            f"{event.source} does not declare {component} in deployment {data.deployment.name}",
            hop=subjects.hop(target),
        )


def _name(stored: StoredEvent) -> str:
    return f"event {stored.sequence} for {subjects.hop(subjects.target_of(stored.subject))}"
