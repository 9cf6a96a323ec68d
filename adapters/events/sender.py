"""One attempt to deliver an event: send it, and find out whether its handler began and ended."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import NamedTuple

import msgspec

from adapters.events.attempts import Attempt, Attempts
from adapters.events.backlog import Backlog
from adapters.events.retry import (
    MAX_UNKNOWN,
    attempt_limit_s,
    reason_of,
    status_of,
    waiting_pause_s,
)
from broker.dispatch.broker import Broker
from broker.dispatch.contexts import ContextData
from broker.dispatch.handling import Reply
from broker.events.attempt_histories import AttemptHistories, AttemptHistory
from broker.events.stored_event import StoredEvent
from broker.runtime.platform_clock import clock
from broker.runtime.settings import Settings
from kubefox import codec, subjects
from kubefox.context import adapter_source
from kubefox.delivery import MAX_DELAY_S, Delivery
from kubefox.errors import (
    ComponentFailed,
    ComponentGone,
    Conflict,
    DeadlineExceeded,
    ErrorDetail,
    FoxError,
    InternalError,
    NoPodReady,
    NotDeclared,
)
from kubefox.event import NO_ROUTE, Event, EventType

logger = logging.getLogger(__name__)

_ERROR = 400
_NO_DELIVERY = Delivery()


class FailedAttempt(NamedTuple):
    """The result of a delivery that did not handle its event.

    Attributes:
        status: Input of ``decide_retry``.
        reason: Stored in the dead letter.
        has_begun: Whether it counts as an attempt.
        is_suspect: Whether the pod died while it ran the event.
        due_in_s: Seconds until the event is delivered again; 0 leaves the pause to the caller.
    """

    status: int
    reason: ErrorDetail
    has_begun: bool = False
    is_suspect: bool = False
    due_in_s: float = 0


def after(failure: FailedAttempt, history: AttemptHistory) -> AttemptHistory:
    """Return the history of an event after a delivery that did not handle it.

    An event is not suspect any more when an attempt has ended and its pod is alive.
    """
    if not failure.has_begun:
        return msgspec.structs.replace(history, waited=history.waited + 1)
    return msgspec.structs.replace(history, begun=history.begun + 1, is_suspect=failure.is_suspect)


def name_of(stored: StoredEvent) -> str:
    """Return the name of an event for people."""
    return f"event {stored.sequence} for {subjects.hop(subjects.target_of(stored.subject))}"


class AttemptSender:
    """Makes the attempts of one adapter.

    Args:
        broker: Sends the events, and opens their contexts.
        settings: Of the process.
        attempts: Of the process.
        histories: Of all events.
        kind: Of the adapter.
        max_age_s: Age in seconds at which an event is not sent any more.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        attempts: Attempts,
        histories: AttemptHistories,
        kind: str,
        max_age_s: float,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._attempts = attempts
        self._histories = histories
        self._backlog = Backlog()
        self._source = adapter_source(kind)
        self._max_age_s = max_age_s

    async def attempt(self, stored: StoredEvent) -> tuple[FailedAttempt | None, AttemptHistory]:
        """Return the result of one attempt, None if the event is handled, and its earlier history.

        An attempt that failed has really ended then.

        Raises:
            NatsUnavailable: NATS does not answer, so the history is unknown.
        """
        history = await self._histories.get(stored)
        try:
            event, body = codec.decode_event(stored.frame)
        except FoxError as error:
            return _refused(error), history
        refusal = self._refusal(event, stored, history)
        if refusal is None and history.unknown(stored.deliveries):
            refusal = await self._earlier(event, stored)
            # An earlier attempt may have ended, and been counted, while the pods were asked.
            history = await self._histories.get(stored)
            refusal = refusal or self._refusal(event, stored, history)
        if refusal is not None:
            return refusal, history
        return await self._attempt(event, body, stored, history), history

    def _refusal(
        self, event: Event, stored: StoredEvent, history: AttemptHistory
    ) -> FailedAttempt | None:
        """Return the result of an attempt that is not made now, by the event and its history."""
        hop = subjects.hop(subjects.target_of(stored.subject))
        due_s = _due_s(event, stored)
        if (due_in_s := due_s - clock.now_s()) > 0:
            return _postponed(Conflict("the event is not due", hop=hop), due_in_s)
        expired = self._expiry(stored, history, max(due_s, stored.stored_at_s))
        return None if expired is None else FailedAttempt(_ERROR, expired.to_detail())

    async def _earlier(self, event: Event, stored: StoredEvent) -> FailedAttempt | None:
        """Return the result of an attempt that is not made, because an earlier one still runs."""
        target = subjects.target_of(stored.subject)
        try:
            if await self._attempts.is_running(target, event.id):
                hop = subjects.hop(target)
                return _postponed(Conflict("an earlier attempt still runs", hop=hop))
        except FoxError as error:
            return _refused(error)
        return None

    async def _attempt(
        self, event: Event, body: codec.Body, stored: StoredEvent, history: AttemptHistory
    ) -> FailedAttempt | None:
        target = subjects.target_of(stored.subject)
        if pause_s := self._backlog.pause_s(target, time.monotonic()):
            hop = subjects.hop(target)
            return _postponed(NoPodReady(f"no pod of {hop} is ready", hop=hop), pause_s)
        with self._attempts.open(partial(self._backlog.open, target)) as attempt:
            failure = await self._send(stored, history, attempt, event, body)
        self._note_pod(target, failure, history)
        if failure is not None and attempt.has_begun:
            has_died = failure.reason.code == ComponentGone.code
            await self._attempts.wait_ended(attempt, event.id, has_died=has_died)
        return failure

    def _note_pod(
        self, target: str, failure: FailedAttempt | None, history: AttemptHistory
    ) -> None:
        if failure is None or failure.reason.code != NoPodReady.code or failure.has_begun:
            self._backlog.open(target)
            return
        pause_s = waiting_pause_s(history.waited, self._settings.emit_retry_s, 0)
        self._backlog.close(target, time.monotonic(), pause_s)

    def _expiry(
        self, stored: StoredEvent, history: AttemptHistory, due_s: float
    ) -> FoxError | None:
        """Return the reason why no attempt is made any more, or None."""
        hop = subjects.hop(subjects.target_of(stored.subject))
        attempts, unknown = self._settings.emit_attempts, history.unknown(stored.deliveries)
        if history.begun >= attempts:
            # The dead letter could not be stored.
            return ComponentFailed(
                f"the event has had its {attempts} attempts; see the log of the emit adapter",
                hop=hop,
            )
        if unknown >= MAX_UNKNOWN:
            return ComponentFailed(f"{unknown} deliveries ended with their adapter", hop=hop)
        if clock.now_s() - due_s > self._max_age_s:
            return DeadlineExceeded(f"the event is older than {self._max_age_s:g} s", hop=hop)
        return None

    async def _send(
        self,
        stored: StoredEvent,
        history: AttemptHistory,
        attempt: Attempt,
        event: Event,
        body: codec.Body,
    ) -> FailedAttempt | None:
        target = subjects.target_of(stored.subject)
        hop = subjects.hop(target)
        try:
            data = await self._broker.contexts.open(event.context)
            _check_sender(event, target, data)
            number = event.attempt - 1 + stored.deliveries - history.waited
            event = msgspec.structs.replace(event, attempt=number)
            delivery = self._delivery(event, target, data, attempt, history)
            status = await self._request(event, body, target, data, delivery)
        except FoxError as error:
            return _failed(error, attempt)
        except Exception:
            logger.exception("%s failed inside the platform", name_of(stored))
            failed = InternalError("the platform failed; see the log of the emit adapter", hop=hop)
            return _failed(failed, attempt)
        if status < _ERROR:
            return None
        return FailedAttempt(status, reason_of(status, hop), has_begun=True)

    def _delivery(
        self,
        event: Event,
        target: str,
        data: ContextData,
        attempt: Attempt,
        history: AttemptHistory,
    ) -> Delivery:
        _, component, _ = subjects.version_of(target)
        emitted_s = (event.delivery or _NO_DELIVERY).timeout_ms / 1000
        handler_s = data.definitions[component].default_timeout_s
        limit_s = attempt_limit_s(max(0, emitted_s), handler_s, self._settings.event_ttl_s)
        return Delivery(
            timeout_ms=max(1, int(limit_s * 1000)),
            begin=attempt.subject,
            is_alone=history.is_suspect,
            deliverer=self._broker.telemetry.process,
        )

    async def _request(
        self, event: Event, body: codec.Body, target: str, data: ContextData, delivery: Delivery
    ) -> int:
        """Return the status of the component's response."""
        now_s = clock.now_s()
        # An event may wait as long as a request before its own time limit starts.
        ttl_s = self._settings.event_ttl_s + delivery.timeout_ms / 1000
        telemetry = self._broker.telemetry.delivery_telemetry(
            event, target, self._source, data.context
        )
        sent = msgspec.structs.replace(
            event,
            # An emitter can write any frame into the stream, so these fields are not taken from it.
            type=EventType.COMPONENT,
            handler=NO_ROUTE,
            params={},
            stream="",
            delivery=delivery,
            deadline_ms=int((now_s + ttl_s) * 1000),
            traceparent=telemetry.sent_traceparent(),
            sent_us=int(now_s * 1_000_000),
        )
        try:
            response = await self._broker.deliver(sent, body, target, data, ttl_s)
        except BaseException as error:
            telemetry.fail(error)
            raise
        telemetry.responder = response.responder
        return telemetry.complete(Reply(response.status)).status


def _failed(error: FoxError, attempt: Attempt) -> FailedAttempt:
    # A pod of an earlier version does not ask before it begins.
    has_begun = attempt.has_begun or isinstance(error, ComponentFailed | InternalError)
    is_suspect = attempt.has_begun and isinstance(error, ComponentGone)
    return FailedAttempt(status_of(error), error.to_detail(), has_begun, is_suspect)


def _refused(error: FoxError) -> FailedAttempt:
    return FailedAttempt(status_of(error), error.to_detail())


def _postponed(reason: FoxError, due_in_s: float = 0) -> FailedAttempt:
    return FailedAttempt(reason.http_status, reason.to_detail(), due_in_s=due_in_s)


def _due_s(event: Event, stored: StoredEvent) -> float:
    due_s = event.delivery.due_ms / 1000 if event.delivery else 0
    return min(due_s, stored.stored_at_s + MAX_DELAY_S)


def _check_sender(event: Event, target: str, data: ContextData) -> None:
    """Check that the emitter declares the component that the event is for.

    A receiver checks this for events of components; it does not for those of an adapter.

    Raises:
        ComponentMismatch: The receiving component version is not part of the deployment.
        NotDeclared: The emitter is not part of the deployment, or does not declare the component.
    """
    _, component, digest = subjects.version_of(target)
    if event.source not in data.view(component, digest).callers:
        raise NotDeclared(
            f"{event.source} does not declare {component} in deployment {data.deployment.name}",
            hop=subjects.hop(target),
        )
