"""The adapter that delivers stored events, which components emit for each other.

An event is sent to its component like any other, in the context and the trace in which it was
emitted. After an attempt it is done, tried again after a pause, or stored as a dead letter.
Delivery is at least once: an attempt whose result is lost, since a process died or NATS was
unavailable, is repeated. Only an attempt whose handler has begun counts, so an event waits for a
pod until it is too old.
"""

from __future__ import annotations

import functools
import logging
import random
from contextlib import AsyncExitStack
from typing import Self

import msgspec

from adapters.events.acceptance import accept_events
from adapters.events.attempts import Attempts
from adapters.events.retry import (
    MAX_AGE_S,
    RetryDecision,
    decide_retry,
    postponed_pause_s,
    retry_pause_s,
    waiting_pause_s,
)
from adapters.events.sender import AttemptSender, FailedAttempt, after, name_of
from broker.dispatch.broker import Broker
from broker.events.attempt_histories import AttemptHistories, AttemptHistory
from broker.events.dead_letters import DeadLetters, open_dead_letters
from broker.events.deliveries import (
    ACK,
    ACK_WAIT_S,
    MAX_HELD,
    DeliveryLimits,
    nak,
    open_deliveries,
)
from broker.events.stored_event import StoredEvent
from broker.runtime.ids import DELIVERING_PROCESSES
from broker.runtime.platform_clock import clock
from broker.runtime.settings import Settings
from kubefox import codec, subjects
from kubefox.context import lane_of
from kubefox.dead_letter import DeadLetterRecord
from kubefox.errors import ErrorDetail, FoxError, NoPodReady

logger = logging.getLogger(__name__)


class EventsAdapter:
    """Delivers stored events; the processes that run one share the work.

    Args:
        broker: Sends the events, and opens their contexts.
        settings: Of the process.
        max_age_s: Age in seconds at which an event becomes a dead letter without another attempt.
        ack_wait_s: Time after which JetStream delivers an event again that is not in progress.
        max_held: Events of one deployment in one virtual environment that wait in the process.
    """

    kind = "emit"
    is_inbound = True

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        *,
        max_age_s: float = MAX_AGE_S,
        ack_wait_s: float = ACK_WAIT_S,
        max_held: int = MAX_HELD,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._limits = DeliveryLimits(settings.emit_concurrency, max_held, ack_wait_s)
        self._dead_letters = DeadLetters(broker.bus)
        self._histories = AttemptHistories(broker.bus)
        self._attempts = Attempts(broker.bus, settings.emit_hung_s)
        self._sender = AttemptSender(
            broker, settings, self._attempts, self._histories, self.kind, max_age_s
        )
        # Only tokens of this platform are cached: the others raise.
        self._lane_of_context = functools.lru_cache(maxsize=4_096)(self._check_lane)
        self._serving = AsyncExitStack()
        self._is_serving = False
        self._delivered = self._retried = self._waits = self._dead_lettered = 0
        self._postponed = 0

    async def __aenter__(self) -> Self:
        """Start to deliver events."""
        metrics = self._broker.telemetry.metrics
        metrics.watch_counter("events_delivered", lambda: self._delivered)
        metrics.watch_counter("events_retried", lambda: self._retried)
        metrics.watch_counter("events_not_begun", lambda: self._waits)
        metrics.watch_counter("events_postponed", lambda: self._postponed)
        metrics.watch_counter("events_dead_lettered", lambda: self._dead_lettered)
        await open_dead_letters(self._broker.bus)
        delivering = open_deliveries(
            self._broker.bus,
            self.deliver,
            drain_s=self._settings.drain_s,
            postpone=self.postpone,
            lane_of=self._lane_of,
            limits=self._limits,
        )
        await self._serve_kept_traces()
        await self._serving.enter_async_context(self._attempts.serving())
        await self._serving.enter_async_context(delivering)
        await self._serving.enter_async_context(accept_events(self._broker))
        self._is_serving = True
        return self

    async def _serve_kept_traces(self) -> None:
        """Learn of kept traces in which events were emitted, until this stops."""
        bus, subject = self._broker.bus, subjects.keep_trace(DELIVERING_PROCESSES)
        subscription = await bus.serve_fast_path(subject, self._broker.telemetry.keep_trace)
        self._serving.push_async_callback(bus.stop_serving, subscription)

    async def __aexit__(self, *_exception: object) -> None:
        """Accept no more events, and finish the attempts in flight."""
        self._is_serving = False
        await self._serving.aclose()

    @property
    def is_ready(self) -> bool:
        """Whether events are delivered by current data."""
        return self._is_serving and self._broker.is_ready

    @property
    def waits(self) -> int:
        """Number of deliveries that did not begin, because there was no pod or no place in it."""
        return self._waits

    async def deliver(self, stored: StoredEvent) -> bytes:
        """Make one attempt to deliver an event, and return its acknowledgement for JetStream.

        Raises:
            FoxError: The event is to be given up, but its dead letter could not be stored; or NATS
                is unavailable.
        """
        failure, history = await self._sender.attempt(stored)
        if failure is None:
            self._delivered += 1
            await self._histories.delete(stored)
            return ACK
        history = after(failure, history)
        attempts = self._settings.emit_attempts
        decision = decide_retry(failure.status, attempt=history.begun, attempts=attempts)
        if decision is RetryDecision.RETRY:
            return await self._retry(stored, failure, history)
        await self._give_up(stored, failure.reason, history)
        return ACK

    async def postpone(self, stored: StoredEvent, delay_s: float | None) -> bytes:
        """Return the settlement of an event for which its lane has no room, without an attempt.

        Args:
            stored: The event.
            delay_s: Time until its next delivery; None makes it longer each time.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        history = await self._histories.get(stored)
        await self._histories.put(
            stored, msgspec.structs.replace(history, waited=history.waited + 1)
        )
        if delay_s is None:
            self._postponed += 1
            delay_s = postponed_pause_s(history.waited, random.random())  # noqa: S311 - no secret
        return nak(delay_s)

    def _lane_of(self, frame: bytes) -> str:
        """Return the lane of an event; those without a valid context share one."""
        try:
            event, _ = codec.decode_event(frame)
            return self._lane_of_context(event.context)
        except FoxError:
            return ""

    def _check_lane(self, token: str) -> str:
        # A component may write any frame: without this, one could take a lane for each event.
        self._broker.contexts.claims(token)
        return lane_of(token)

    async def _retry(
        self, stored: StoredEvent, failure: FailedAttempt, history: AttemptHistory
    ) -> bytes:
        """Return the acknowledgement after which an event is delivered again."""
        await self._histories.put(stored, history)
        if failure.due_in_s:
            self._waits += failure.reason.code == NoPodReady.code
            return nak(failure.due_in_s)
        retry_s, randomness = self._settings.emit_retry_s, random.random()  # noqa: S311 - no secret
        if failure.has_begun:
            self._retried += 1
            pause_s = retry_pause_s(history.begun, retry_s, randomness)
            what = f"failed in attempt {history.begun} of {self._settings.emit_attempts}"
        else:
            self._waits += 1
            pause_s = waiting_pause_s(history.waited - 1, retry_s, randomness)
            what = "did not begin"
        logger.info(
            "%s %s, next delivery in %.3g s%s: %s",
            name_of(stored),
            what,
            pause_s,
            ", alone in its pod" if history.is_suspect else "",
            failure.reason.detail,
        )
        return nak(pause_s)

    async def _give_up(
        self, stored: StoredEvent, reason: ErrorDetail, history: AttemptHistory
    ) -> None:
        try:
            await self._store_dead_letter(stored, reason, history)
        except FoxError:
            # Attempts that began count, though JetStream delivers the event again.
            await self._histories.put(stored, history)
            raise
        await self._histories.delete(stored)

    async def _store_dead_letter(
        self, stored: StoredEvent, reason: ErrorDetail, history: AttemptHistory
    ) -> None:
        record = self._dead_letter_record(stored, reason, history)
        await self._dead_letters.store(record, stored.sequence)
        self._dead_lettered += 1
        logger.warning(
            "%s is a dead letter after attempt %d: %s",
            name_of(stored),
            record.attempts,
            reason.detail,
        )

    def _dead_letter_record(
        self, stored: StoredEvent, reason: ErrorDetail, history: AttemptHistory
    ) -> DeadLetterRecord:
        before, deployment, virtual_environment = 0, "", ""
        try:
            event, _ = codec.decode_event(stored.frame)
            before = event.attempt - 1
            context = self._broker.contexts.claims(event.context)
            deployment, virtual_environment = context.deployment, context.virtual_environment
        except FoxError as error:
            logger.debug(
                "%s has no readable context for its dead letter: %s", name_of(stored), error
            )
        return DeadLetterRecord(
            target=subjects.target_of(stored.subject),
            frame=stored.frame,
            reason=reason,
            # An event that was refused before it began counts as sent once.
            attempts=before + max(1, history.begun),
            emitted_at_s=stored.stored_at_s,
            died_at_s=clock.now_s(),
            deployment=deployment,
            virtual_environment=virtual_environment,
        )
