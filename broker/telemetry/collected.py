"""The sum of the figures of all processes, also of those that have ended.

Each process counts from its start, so the sum of the latest figures of each is right at any time. A
process that does not answer in time, or died, keeps its earlier figures in the sum.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from broker.telemetry.figures import (
    SERIES_A_STEP,
    EventLabels,
    ProcessFigures,
    SeriesFigures,
)
from broker.telemetry.histogram import Durations, merged
from kubefox.steps import Steps

MAX_PROCESSES = 1_000
MAX_SERIES = 10_000
MAX_ENDED = 4_096


class Gauge(NamedTuple):
    """A current value of one process; see ``ProcessFigures`` for its labels."""

    app: str
    service: str
    process: str
    name: str
    value: float


class Totals(msgspec.Struct, frozen=True):
    """The sum of all figures at one moment.

    Attributes:
        at_s: Unix time.
        series: By their labels.
        counters: By app, service and name.
        gauges: Those of the processes that answered.
    """

    at_s: float
    series: dict[EventLabels, SeriesFigures]
    counters: dict[tuple[str, str, str], float]
    gauges: tuple[Gauge, ...]


class CollectedFigures:
    """The latest figures of every process, and the sum of those that have ended.

    Args:
        max_processes: Number of processes; beyond it the oldest counts as ended, of the service
            that has the most.
        max_ended: Ids of ended processes whose late figures are ignored.
        max_series: Number of series in the sum; further ones share one per component.
    """

    def __init__(
        self,
        max_processes: int = MAX_PROCESSES,
        max_ended: int = MAX_ENDED,
        max_series: int = MAX_SERIES,
    ) -> None:
        self._max_processes = max_processes
        self._max_ended = max_ended
        self._max_series = max_series
        self._latest: OrderedDict[str, ProcessFigures] = OrderedDict()
        self._ended: dict[EventLabels, SeriesFigures] = {}
        self._ended_counters: dict[tuple[str, str, str], float] = {}
        self._ended_processes: OrderedDict[str, None] = OrderedDict()

    def add(self, figures: ProcessFigures) -> Steps[None]:
        """Replace the figures of a process; after its final figures, others are ignored.

        One call at a time: the sum stays right between the steps, a second call would lose them.
        """
        if figures.process in self._ended_processes:
            return
        self._latest[figures.process] = figures
        self._latest.move_to_end(figures.process)
        if figures.is_final:
            yield from self._end(figures.process)
        elif len(self._latest) > self._max_processes:
            yield from self._end(self._surplus())

    def _surplus(self) -> str:
        """Return the oldest process of the service that has the most.

        A pod may name any number of processes of its own version; those of others stay.
        """
        services = {process: _service(figures) for process, figures in self._latest.items()}
        [(largest, _)] = Counter(services.values()).most_common(1)
        return next(process for process, service in services.items() if service == largest)

    def totals(self, at_s: float, answered: Iterable[str]) -> Steps[Totals]:
        """Return the sum of the figures as they are at the first step.

        Args:
            at_s: Unix time.
            answered: Ids of the processes that answered; only these have gauges and events in
                flight.
        """
        alive = [self._latest[process] for process in answered if process in self._latest]
        counters, ended = dict(self._ended_counters), self._ended
        latest = tuple(self._latest.values())
        for process in latest:
            _count(counters, process)
        names = {figures.process for figures in alive}
        series = yield from self._merged(
            [
                (ended.values(), False),
                *((process.series, process.process in names) for process in latest),
            ]
        )
        return Totals(
            at_s=at_s,
            series=series,
            counters=counters,
            gauges=tuple(
                Gauge(figures.app, figures.service, figures.process, name, value)
                for figures in alive
                for name, value in figures.gauges.items()
            ),
        )

    def _end(self, process: str) -> Steps[None]:
        """Move the figures of a process to those of the ended ones, at the last step."""
        figures = self._latest[process]
        series = yield from self._merged([(self._ended.values(), False), (figures.series, False)])
        self._ended = series
        del self._latest[process]
        self._ended_processes[process] = None
        if len(self._ended_processes) > self._max_ended:
            self._ended_processes.popitem(last=False)
        _count(self._ended_counters, figures)

    def _merged(
        self, groups: Iterable[tuple[Iterable[SeriesFigures], bool]]
    ) -> Steps[dict[EventLabels, SeriesFigures]]:
        """Add series by their labels.

        Args:
            groups: Series, and whether their process is alive; others have no events in flight.
        """
        parts: dict[EventLabels, list[SeriesFigures]] = {}
        for group, is_alive in groups:
            for number, series in enumerate(group, 1):
                has_room = series.labels in parts or len(parts) < self._max_series
                labels = series.labels if has_room else series.labels.overflow()
                counted = series if is_alive or not series.in_flight else _at_rest(series)
                parts.setdefault(labels, []).append(counted)
                if number % SERIES_A_STEP == 0:
                    yield
        merged_series = {}
        for number, (labels, found) in enumerate(parts.items(), 1):
            merged_series[labels] = yield from sum_in_steps(labels, found)
            if number % SERIES_A_STEP == 0:
                yield
        return merged_series


def _service(figures: ProcessFigures) -> tuple[str, str]:
    """Return the service of a process: that of the platform has no app."""
    return figures.app, figures.service


def _at_rest(series: SeriesFigures) -> SeriesFigures:
    return msgspec.structs.replace(series, in_flight=0)


def sum_in_steps(labels: EventLabels, parts: Iterable[SeriesFigures]) -> Steps[SeriesFigures]:
    """Return any number of series as one, some added in each step."""
    rest, sums = iter(parts), []
    while some := list(islice(rest, SERIES_A_STEP)):
        sums.append(sum_of(labels, some))
        if len(some) == SERIES_A_STEP:
            yield
    return sums[0] if len(sums) == 1 else sum_of(labels, sums)


def sum_of(labels: EventLabels, parts: list[SeriesFigures]) -> SeriesFigures:
    """Return several series as one."""
    if len(parts) == 1 and parts[0].labels == labels:
        return parts[0]
    return SeriesFigures(
        labels=labels,
        by_class={digit: merged(_of_class(parts, digit)) for digit in _digits(parts)},
        queue=merged(series.queue for series in parts),
        in_flight=sum(series.in_flight for series in parts),
        stream_bytes_in=sum(series.stream_bytes_in for series in parts),
        stream_bytes_out=sum(series.stream_bytes_out for series in parts),
        refused=_refused(parts),
    )


def _refused(parts: list[SeriesFigures]) -> dict[str, int]:
    refused: Counter[str] = Counter()
    for series in parts:
        refused.update(series.refused)
    return dict(refused)


def _digits(parts: list[SeriesFigures]) -> list[int]:
    return sorted({digit for series in parts for digit in series.by_class})


def _of_class(parts: list[SeriesFigures], digit: int) -> Iterator[Durations]:
    return (series.by_class[digit] for series in parts if digit in series.by_class)


def _count(counters: dict[tuple[str, str, str], float], process: ProcessFigures) -> None:
    for name, value in process.counters.items():
        key = process.app, process.service, name
        counters[key] = counters.get(key, 0) + value
