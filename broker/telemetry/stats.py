"""Statistics of each deployment and component version: rate, errors and quantiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from broker.telemetry.collected import Totals, sum_in_steps
from broker.telemetry.figures import SERIES_A_STEP, EventLabels, EventRole, SeriesFigures
from broker.telemetry.histogram import Durations, merged
from kubefox.steps import Steps
from kubefox.telemetry import ComponentRows, Row, Stats, Summary

_ERROR_DIGIT = 5
_LABELS_A_STEP = 1_024
_Key = TypeVar("_Key")


def stats_of(now: Totals, before: Totals | None = None) -> Steps[Stats]:
    """Return, in steps, the statistics of ``now``; with ``before``, also of the time between."""
    genesis: list[SeriesFigures] = []
    handled: list[SeriesFigures] = []
    for number, series in enumerate(now.series.values(), 1):
        (genesis if series.labels.role == EventRole.GENESIS else handled).append(series)
        if number % _LABELS_A_STEP == 0:
            yield
    window = _Window(now, before)
    deployments = yield from window.rows(genesis)
    components = []
    by_component = yield from _grouped(handled, _component)
    for component, digest in sorted(by_component):
        series_of_component = by_component[component, digest]
        rows = ComponentRows(
            component=component,
            hash=digest,
            all=(yield from window.row(EventLabels(component, digest), series_of_component)),
            deployments=(yield from window.rows(series_of_component)),
        )
        components.append(rows)
        yield
    return Stats(
        at_s=now.at_s,
        window_s=window.length_s,
        deployments=deployments,
        components=tuple(components),
    )


class _Window:
    """The time between two sums of figures."""

    def __init__(self, now: Totals, before: Totals | None) -> None:
        self._before = before
        self.length_s = now.at_s - before.at_s if before else 0.0

    def rows(self, series: list[SeriesFigures]) -> Steps[tuple[Row, ...]]:
        """Return a row for each deployment and virtual environment."""
        by_deployment = yield from _grouped(series, _place)
        rows = []
        for number, place in enumerate(sorted(by_deployment), 1):
            row = yield from self.row(EventLabels("", "", *place), by_deployment[place])
            if row.total.requests or row.in_flight or row.total.refused:
                rows.append(row)
            if number % SERIES_A_STEP == 0:
                yield
        return tuple(rows)

    def row(self, labels: EventLabels, series: list[SeriesFigures]) -> Steps[Row]:
        """Return several series as one row."""
        total = yield from sum_in_steps(labels, series)
        queue_s = total.queue.quantile_s(0.95)
        return Row(
            app=labels.app,
            deployment=labels.deployment,
            virtual_environment=labels.virtual_environment,
            total=_summary(total, 0),
            recent=(yield from self._recent(labels, series)),
            in_flight=total.in_flight,
            queue_p95_ms=_ms(queue_s),
        )

    def _recent(self, labels: EventLabels, series: list[SeriesFigures]) -> Steps[Summary | None]:
        if self._before is None:
            return None
        earlier = self._before.series
        since = (_minus(part, earlier.get(part.labels)) for part in series)
        return _summary((yield from sum_in_steps(labels, since)), self.length_s)


def _place(labels: EventLabels) -> tuple[str, str, str]:
    return labels.app, labels.deployment, labels.virtual_environment


def _component(labels: EventLabels) -> tuple[str, str]:
    return labels.component, labels.hash


def _grouped(
    series: Iterable[SeriesFigures], key: Callable[[EventLabels], _Key]
) -> Steps[dict[_Key, list[SeriesFigures]]]:
    groups: dict[_Key, list[SeriesFigures]] = {}
    for number, part in enumerate(series, 1):
        groups.setdefault(key(part.labels), []).append(part)
        if number % _LABELS_A_STEP == 0:
            yield
    return groups


def _minus(series: SeriesFigures, earlier: SeriesFigures | None) -> SeriesFigures:
    if earlier is None:
        return series
    none = Durations()
    by_class = {
        digit: durations.minus(earlier.by_class.get(digit, none))
        for digit, durations in series.by_class.items()
    }
    refused = Counter(series.refused)
    refused.subtract(earlier.refused)
    return SeriesFigures(series.labels, by_class, refused=dict(+refused))


def _summary(series: SeriesFigures, length_s: float) -> Summary:
    durations = merged(series.by_class.values())
    return Summary(
        requests=durations.count,
        errors=series.by_class.get(_ERROR_DIGIT, Durations()).count,
        p50_ms=_ms(durations.quantile_s(0.50)),
        p95_ms=_ms(durations.quantile_s(0.95)),
        p99_ms=_ms(durations.quantile_s(0.99)),
        rate_per_s=durations.count / length_s if length_s else None,
        refused=series.refused,
    )


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 3)
