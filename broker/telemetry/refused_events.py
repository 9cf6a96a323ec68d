"""Counts the events that a receiver refuses, before or instead of their handler."""

from __future__ import annotations

from broker.telemetry.figures import EventLabels, EventRole
from broker.telemetry.metrics import Metrics
from kubefox.context import EventContext, unchecked
from kubefox.event import Event
from kubefox.refusal import Refusal
from kubefox.senders import ADAPTER_PREFIX

_UNKNOWN = EventContext("", "", "")


class RefusedEvents:
    """The refused events of one receiver, by their deployment and virtual environment.

    Args:
        metrics: Of the process.
        source: Of the receiver: ``component@hash`` or ``adapter/<kind>``.
    """

    def __init__(self, metrics: Metrics, source: str) -> None:
        self._metrics = metrics
        self._component, _, self._hash = source.partition("@")
        is_adapter = source.startswith(ADAPTER_PREFIX)
        self._role = EventRole.ADAPTER if is_adapter else EventRole.COMPONENT

    def count(self, event: Event, refusal: Refusal) -> None:
        """Count an event; that its context is genuine was not checked yet."""
        context = unchecked(event.context) or _UNKNOWN
        labels = EventLabels(
            self._component,
            self._hash,
            context.app,
            context.deployment,
            context.virtual_environment,
            self._role,
        )
        self._metrics.series(labels).count_refusal(refusal)
