"""The telemetry of a stored event that an adapter delivers, in the trace of its emitter."""

from __future__ import annotations

import msgspec

from broker.runtime import trace_context
from broker.runtime.ids import UNKNOWN_PROCESS, process_of
from broker.telemetry.completed import CompletedEvents
from broker.telemetry.handler_telemetry import HandlerTelemetry
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.measured_handling import MeasuredHandlerTelemetry
from broker.telemetry.records import HandledRecord
from broker.telemetry.span import SpanKind
from kubefox import subjects
from kubefox.errors import FoxError
from kubefox.event import Event


class DeliveryTelemetry(HandlerTelemetry):
    """A stored event that is delivered, while telemetry is off.

    Attributes:
        responder: Number of the process that answered; 0 before, or if it is unknown.
    """

    responder = UNKNOWN_PROCESS

    def sent_traceparent(self) -> str:
        """Return the ``traceparent`` of the event that is sent."""
        return self._traceparent


class MeasuredDeliveryTelemetry(MeasuredHandlerTelemetry, DeliveryTelemetry):
    """A stored event that is delivered, counted and traced.

    Args:
        completed: Receives the event when it has ended.
        event: As it was stored, with the number of its attempt.
        labels: Labels of the event for the adapter.
        target: Subject of its component version.
    """

    # Its span has an id and attributes of its own.
    _needs_own_record = True

    def __init__(
        self, completed: CompletedEvents, event: Event, labels: TelemetryLabels, target: str
    ) -> None:
        is_first = event.attempt == 1
        # Only the first attempt counts the time that the event waited.
        counted = event if is_first else msgspec.structs.replace(event, sent_us=0)
        super().__init__(completed, counted, labels)
        self._target, self._attempt = target, event.attempt
        # All attempts are the same event; each has a span of its own.
        self._span_id = trace_context.new_span_id()

    def sent_traceparent(self) -> str:
        """Return the ``traceparent`` of the event that is sent."""
        return trace_context.format_traceparent(
            self.trace_id, self.own_id, is_sampled=self.is_sampled
        )

    def fail(self, error: BaseException) -> None:
        """End without an answer of the handler."""
        if isinstance(error, FoxError):
            self.responder = error.responder
        super().fail(error)

    def neighbours(self) -> tuple[int, ...]:
        """Return the numbers of the processes that emitted the event, and that answered."""
        return process_of(self._event.id), self.responder

    def record(self) -> HandledRecord:
        """Return the record of the attempt's span."""
        record = super().record()
        _, component, _ = subjects.version_of(self._target)
        attributes = {
            **record.attributes,
            "messaging.destination.name": subjects.emitted(self._target),
            "kubefox.attempt": self._attempt,
        }
        return msgspec.structs.replace(
            record, name=f"deliver {component}", kind=SpanKind.CONSUMER, attributes=attributes
        )
