"""Whom an event is for: what its figures, spans and log lines have in common."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from broker.telemetry.figures import Labels
from broker.telemetry.metrics import Metrics, Series, Window
from model.context import EventContext

if TYPE_CHECKING:
    from broker.lane import Lane
    from broker.telemetry.ended import Ended

MAX_SCOPES = 4_096


class Scope(Series):
    """One component version in one context; made once, used by every event.

    Its figures are those of a series, perhaps of one that is shared.

    Args:
        labels: What it is told apart by.
        series: Where its events are counted.
        release: Id of the release, or empty.
        pod: Id of the pod, or empty.

    Attributes:
        counted_as: Labels of the series.
        release: Id of the release, or empty.
        span_name: Of the spans of its handlers.
        log_fields: What log lines carry, without those of the event.
    """

    __slots__ = ("counted_as", "log_fields", "release", "span_name")

    def __init__(self, labels: Labels, series: Series, release: str, pod: str) -> None:
        """Bind everything that does not change from event to event."""
        self.labels = labels
        self.words, self.counted_as = series.words, series.labels
        self.release = release
        self.span_name = f"process {labels.component}"
        self.log_fields: Mapping[str, object] = {
            "deployment": labels.deployment,
            "virtual_environment": labels.virtual_environment,
            "component": labels.component,
            "hash": labels.hash[:12],
            "pod": pod,
        }


class Scopes:
    """The scopes of one adapter, by context.

    Args:
        source: ``adapter/<kind>``.
        role: Of ``figures.Role``: whether it makes these events or serves them.
        metrics: Of the process.
        ended: Takes events that have ended.
        threshold: Which traces that begin here are sampled; see ``trace_context.threshold_of``.

    Attributes:
        source: As it was given.
        settling: Takes genesis events that have ended.
        tracing: Of the process.
        threshold: As it was given.
        nowhere: For requests that lead to no deployment.
        window: In which each series has a slowest event now.
    """

    def __init__(
        self,
        source: str,
        role: str,
        metrics: Metrics,
        ended: Ended,
        threshold: str,
    ) -> None:
        """Know nobody yet."""
        self.source = source
        self.settling, self.tracing = ended.genesis, ended.tracing
        self.threshold = threshold
        self._role = role
        self._metrics = metrics
        self._scopes: dict[EventContext, Scope] = {}
        self.nowhere = self._make(EventContext("", "", ""))
        self.window = Window(time.time_ns())
        self._lanes: weakref.WeakSet[Lane] = weakref.WeakSet()
        metrics.watch_in_flight(self._in_flight)

    def of(self, context: EventContext) -> Scope:
        """Return the scope of a context."""
        scope = self._scopes.get(context)
        if scope is None:
            if len(self._scopes) >= MAX_SCOPES:
                self._scopes.clear()
            scope = self._scopes[context] = self._make(context)
        return scope

    def bind(self, lane: Lane) -> None:
        """Let a lane have the scope of its context, and count what it has in flight."""
        scope = lane.scope = self.of(lane.context)
        lane.words = scope.words
        self._lanes.add(lane)

    def _in_flight(self) -> Counter[Labels]:
        counts: Counter[Labels] = Counter()
        for lane in self._lanes:
            if lane.scope is not None:
                counts[lane.scope.counted_as] += lane.in_flight
        return counts

    def _make(self, context: EventContext) -> Scope:
        labels = Labels(
            component=self.source,
            app=context.app,
            deployment=context.deployment,
            virtual_environment=context.virtual_environment,
            role=self._role,
        )
        return Scope(labels, self._metrics.series(labels), context.release, pod="")
