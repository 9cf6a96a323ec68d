"""The figures of all processes put together, also of those that have ended.

Each process counts from its start, so the sum of what each said last is right at any time: one that
does not answer in time, or died, stays in it with what it said before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from broker.telemetry.figures import Labels, ProcessFigures, SeriesFigures
from broker.telemetry.histogram import Durations, merged

MAX_PROCESSES = 1_000
MAX_SERIES = 10_000
MAX_ENDED = 4_096


class Totals(msgspec.Struct, frozen=True):
    """All figures at one moment.

    Attributes:
        at_s: Unix time.
        series: By their labels.
        counters: By service and name.
        gauges: Process, service, name and value, of processes that live.
    """

    at_s: float
    series: dict[Labels, SeriesFigures]
    counters: dict[tuple[str, str], float]
    gauges: tuple[tuple[str, str, str, float], ...]


class Collected:
    """What every process said last, and the sum of what is over."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._latest: OrderedDict[str, ProcessFigures] = OrderedDict()
        self._ended = ProcessFigures("", "")
        self._ended_counters: dict[tuple[str, str], float] = {}
        self._ended_processes: OrderedDict[str, None] = OrderedDict()

    def take(self, figures: ProcessFigures) -> None:
        """Take what a process says; what is older than its last words does not count."""
        if figures.process in self._ended_processes:
            return
        self._latest[figures.process] = figures
        self._latest.move_to_end(figures.process)
        if figures.is_final:
            self._end(figures.process)
        elif len(self._latest) > MAX_PROCESSES:
            self._end(next(iter(self._latest)))

    def totals(self, at_s: float, answered: Iterable[str]) -> Totals:
        """Return everything together.

        Args:
            at_s: Unix time.
            answered: Processes that live: of the others, only what they counted is of use.
        """
        alive = [self._latest[each] for each in answered if each in self._latest]
        counters = dict(self._ended_counters)
        for process in self._latest.values():
            _count(counters, process)
        return Totals(
            at_s=at_s,
            series=self._series({each.process for each in alive}),
            counters=counters,
            gauges=tuple(
                (each.process, each.service, name, value)
                for each in alive
                for name, value in each.gauges.items()
            ),
        )

    def _series(self, alive: set[str]) -> dict[Labels, SeriesFigures]:
        every = (
            series if process.process in alive else msgspec.structs.replace(series, in_flight=0)
            for process in (self._ended, *self._latest.values())
            for series in process.series
        )
        return _merged(every)

    def _end(self, process: str) -> None:
        figures = self._latest.pop(process)
        self._ended_processes[process] = None
        if len(self._ended_processes) > MAX_ENDED:
            self._ended_processes.popitem(last=False)
        series = _merged((*self._ended.series, *figures.series))
        self._ended = ProcessFigures("", "", tuple(series.values()))
        _count(self._ended_counters, figures)


def _merged(every: Iterable[SeriesFigures]) -> dict[Labels, SeriesFigures]:
    parts: dict[Labels, list[SeriesFigures]] = {}
    for series in every:
        has_room = series.labels in parts or len(parts) < MAX_SERIES
        labels = series.labels if has_room else series.labels.overflow()
        parts.setdefault(labels, []).append(series)
    return {labels: sum_of(labels, each) for labels, each in parts.items()}


def sum_of(labels: Labels, series: list[SeriesFigures]) -> SeriesFigures:
    """Return several series as one."""
    if len(series) == 1 and series[0].labels == labels:
        return series[0]
    return SeriesFigures(
        labels=labels,
        by_class={digit: merged(_of_class(series, digit)) for digit in _digits(series)},
        queue=merged(each.queue for each in series),
        in_flight=sum(each.in_flight for each in series),
        stream_bytes_in=sum(each.stream_bytes_in for each in series),
        stream_bytes_out=sum(each.stream_bytes_out for each in series),
    )


def _digits(series: list[SeriesFigures]) -> list[int]:
    return sorted({digit for each in series for digit in each.by_class})


def _of_class(series: list[SeriesFigures], digit: int) -> Iterator[Durations]:
    return (each.by_class[digit] for each in series if digit in each.by_class)


def _count(counters: dict[tuple[str, str], float], process: ProcessFigures) -> None:
    for name, value in process.counters.items():
        key = process.service, name
        counters[key] = counters.get(key, 0) + value
