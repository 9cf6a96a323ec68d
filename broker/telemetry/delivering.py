"""An event between the stream and its component: measured, and in its emitter's trace."""

from __future__ import annotations

import msgspec

from broker.telemetry import trace_context
from broker.telemetry.ended import Ended
from broker.telemetry.handling import Handling, MeasuredHandling
from broker.telemetry.records import HandledRecord
from broker.telemetry.scope import Scope
from broker.telemetry.span import SpanKind
from model import subjects
from model.event import Event


class Delivering(Handling):
    """An event that is being delivered, while telemetry is off."""

    def send(self) -> str:
        """Return the ``traceparent`` to deliver it with."""
        return self._traceparent


class MeasuredDelivering(MeasuredHandling, Delivering):
    """An event that is being delivered, counted and traced.

    Args:
        ended: Takes it when it has ended.
        event: As it was stored, with the number of its attempt.
        scope: Of the adapter, in the event's context.
        target: Subject of its component.
    """

    # Its span has an id and attributes of its own.
    _has_more = True

    def __init__(self, ended: Ended, event: Event, scope: Scope, target: str) -> None:
        """Take the time; what it has waited counts at its first attempt."""
        is_first = event.attempt == 1
        counted = event if is_first else msgspec.structs.replace(event, sent_us=0)
        super().__init__(ended, counted, scope)
        self._target, self._attempt = target, event.attempt
        # Each attempt is a span of its own, of one and the same event.
        self._span_id = trace_context.new_span_id()

    def send(self) -> str:
        """Return the ``traceparent`` to deliver it with."""
        return trace_context.write(self.trace_id, self.own_id, is_sampled=self.is_sampled)

    def record(self) -> HandledRecord:
        """Return what is put by of it."""
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
