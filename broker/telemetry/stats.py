"""Figures for people: rate, errors and quantiles of each deployment and each component version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from broker.telemetry.collected import Totals, sum_of
from broker.telemetry.figures import Labels, Role, SeriesFigures
from broker.telemetry.histogram import Durations, merged
from model.telemetry import ComponentRows, Row, Stats, Summary

_ERROR_DIGIT = 5
_Key = TypeVar("_Key")


def stats_of(now: Totals, before: Totals | None = None) -> Stats:
    """Return the figures of ``now``; with ``before``, also what came since."""
    genesis = [each for each in now.series.values() if each.labels.role == Role.GENESIS]
    handled = [each for each in now.series.values() if each.labels.role != Role.GENESIS]
    by_component = _grouped(handled, lambda labels: (labels.component, labels.hash))
    window = _Window(now, before)
    return Stats(
        at_s=now.at_s,
        window_s=window.length_s,
        deployments=window.rows(genesis),
        components=tuple(
            ComponentRows(
                component=component,
                hash=digest,
                all=window.row(Labels(component, digest), series),
                deployments=window.rows(series),
            )
            for (component, digest), series in sorted(by_component.items())
        ),
    )


class _Window:
    """What came between two moments."""

    def __init__(self, now: Totals, before: Totals | None) -> None:
        self._before = before
        self.length_s = now.at_s - before.at_s if before else 0.0

    def rows(self, series: list[SeriesFigures]) -> tuple[Row, ...]:
        """Return a row for each deployment and virtual environment."""
        by_deployment = _grouped(series, lambda labels: (*_place(labels),))
        rows = (
            self.row(Labels("", "", *place), each) for place, each in sorted(by_deployment.items())
        )
        return tuple(row for row in rows if row.total.requests or row.in_flight)

    def row(self, labels: Labels, series: list[SeriesFigures]) -> Row:
        """Return several series as one row."""
        total = sum_of(labels, series)
        queue_s = total.queue.quantile_s(0.95)
        return Row(
            app=labels.app,
            deployment=labels.deployment,
            virtual_environment=labels.virtual_environment,
            total=_summary(total, 0),
            recent=self._recent(labels, series),
            in_flight=total.in_flight,
            queue_p95_ms=_ms(queue_s),
        )

    def _recent(self, labels: Labels, series: list[SeriesFigures]) -> Summary | None:
        if self._before is None:
            return None
        earlier = self._before.series
        since = [_minus(each, earlier.get(each.labels)) for each in series]
        return _summary(sum_of(labels, since), self.length_s)


def _place(labels: Labels) -> tuple[str, str, str]:
    return labels.app, labels.deployment, labels.virtual_environment


def _grouped(
    series: Iterable[SeriesFigures], key: Callable[[Labels], _Key]
) -> dict[_Key, list[SeriesFigures]]:
    groups: dict[_Key, list[SeriesFigures]] = {}
    for each in series:
        groups.setdefault(key(each.labels), []).append(each)
    return groups


def _minus(series: SeriesFigures, earlier: SeriesFigures | None) -> SeriesFigures:
    if earlier is None:
        return series
    none = Durations()
    by_class = {
        digit: each.minus(earlier.by_class.get(digit, none))
        for digit, each in series.by_class.items()
    }
    return SeriesFigures(series.labels, by_class)


def _summary(series: SeriesFigures, length_s: float) -> Summary:
    durations = merged(series.by_class.values())
    return Summary(
        requests=durations.count,
        errors=series.by_class.get(_ERROR_DIGIT, Durations()).count,
        p50_ms=_ms(durations.quantile_s(0.50)),
        p95_ms=_ms(durations.quantile_s(0.95)),
        p99_ms=_ms(durations.quantile_s(0.99)),
        rate_per_s=durations.count / length_s if length_s else None,
    )


def _ms(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s * 1000, 3)
