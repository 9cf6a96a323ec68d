"""The labels of an event: its figures, spans and log lines carry the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from sys import intern

from broker.telemetry.figures import EventLabels
from broker.telemetry.metrics import Metrics, Series
from kubefox.context import EventContext

MAX_CONTEXTS = 4_096


class TelemetryLabels:
    """One component version or adapter in one context; made once, used by every event.

    Args:
        event_labels: Labels of the spans.
        series: Counts the events. Contexts beyond the limit of series share one.
        release: Id of the release, or empty.
        pod: Id of the pod, or empty.

    Attributes:
        event_labels: Labels of the spans.
        series: Counts the events.
        counters: Counters of the series.
        release: Id of the release, or empty.
        pod: Id of the pod, or empty.
        span_name: Name of the spans of handlers.
    """

    __slots__ = ("counters", "event_labels", "pod", "release", "series", "span_name")

    def __init__(self, event_labels: EventLabels, series: Series, release: str, pod: str) -> None:
        self.event_labels = event_labels
        self.series, self.counters = series, series.counters
        self.release = release
        self.pod = pod
        # One text for all contexts.
        self.span_name = intern(f"process {event_labels.component}")

    @property
    def log_fields(self) -> Mapping[str, object]:
        """Fields of log lines, without the event's own; made for each line."""
        labels = self.event_labels
        return {
            "deployment": labels.deployment,
            "virtual_environment": labels.virtual_environment,
            "component": labels.component,
            "hash": labels.hash[:12],
            "pod": self.pod,
        }


class AdapterLabels:
    """The labels of one adapter's events, by context.

    Args:
        source: ``adapter/<kind>``.
        role: One of ``figures.Role``.
        metrics: Of the process.
        max_contexts: Size of the cache; when it is full, it is emptied.

    Attributes:
        unrouted: Labels of requests that routing has not led to a deployment.
    """

    def __init__(
        self, source: str, role: str, metrics: Metrics, max_contexts: int = MAX_CONTEXTS
    ) -> None:
        self._source = source
        self._role = role
        self._metrics = metrics
        self._max_contexts = max_contexts
        self._of_context: dict[EventContext, TelemetryLabels] = {}
        self.unrouted = self._make(EventContext("", "", ""))

    def of(self, context: EventContext) -> TelemetryLabels:
        """Return the labels of a context."""
        labels = self._of_context.get(context)
        if labels is None:
            if len(self._of_context) >= self._max_contexts:
                self._of_context.clear()
            labels = self._of_context[context] = self._make(context)
        return labels

    def _make(self, context: EventContext) -> TelemetryLabels:
        labels = EventLabels(
            component=self._source,
            app=context.app,
            deployment=context.deployment,
            virtual_environment=context.virtual_environment,
            role=self._role,
        )
        return TelemetryLabels(labels, self._metrics.series(labels), context.release, pod="")
