"""Counters of one process: a series is looked up once per context and then only added to.

A record in an SDK histogram with six attributes costs 8 µs, in a series that was looked up before
0.12 µs. The number of series is bounded: a series that is out of use makes room for a new one, and
its figures are added to one that is called ``other``. Deployments beyond the limit share that one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakSet, finalize

from broker.runtime.cooperative import TimeSlice
from broker.telemetry.figures import EventLabels, ProcessFigures, SeriesFigures
from broker.telemetry.histogram import BOUNDS_NS, BUCKETS, ONE, Durations
from kubefox.refusal import Refusal

MAX_SERIES = 1_000
REMOVED_AT_ONCE = 64
"""Series that make room together: looking for them takes longer than removing them."""
SLOW_WINDOW_NS = 10 * 10**9

# The counters of a series lie in one list, and most are small numbers, which Python shares. With
# 1,000 deployments in turn, each further object of a series is a cache miss for every event: an
# object for each histogram gave 0.84 of the throughput without telemetry, together with longer ids
# and look-ups by context, the one list 0.88 (docs/explanation/performance-notes.md).
#
# Single numbers first, then the histograms: durations of 2xx answers, queue times and, after the
# first such answer or refusal, durations by each other first digit of the status, and refusals by
# their reason.
IN_FLIGHT, _SLOWEST_NS, _SLOW_WINDOW, _BYTES_IN, _BYTES_OUT = range(5)
_FIRST_SUM = _BYTES_IN
_DURATIONS_2XX = 5
_QUEUE_TIMES = _DURATIONS_2XX + BUCKETS
_OTHER_CLASSES = _QUEUE_TIMES + BUCKETS
_DURATIONS_BY_CLASS = (
    _OTHER_CLASSES,
    _OTHER_CLASSES + BUCKETS,
    _DURATIONS_2XX,
    *(_OTHER_CLASSES + at * BUCKETS for at in (2, 3, 4)),
)
_REFUSALS = _OTHER_CLASSES + 5 * BUCKETS
_REFUSAL_AT = {refusal: at for at, refusal in enumerate(Refusal, _REFUSALS)}
_FULL_LENGTH = _REFUSALS + len(Refusal)
_FIRST_2XX, _FIRST_3XX, _FIRST_5XX, _END_5XX = 200, 300, 500, 600

Counters = list[Any]
ReadInFlight = Callable[[], Iterable[Mapping[EventLabels, int]]]
"""Counts events in flight in parts; between two of them, other tasks may run."""
Finalizer: TypeAlias = "finalize[[Counters, Counters], Series]"


class SlowestWindow:
    """Some seconds in which one event of each series is the slowest.

    A new object for each window: comparing identities is the cheapest comparison.

    Attributes:
        end_ns: Unix time at which the window ends.
    """

    __slots__ = ("end_ns",)

    def __init__(self, now_ns: int) -> None:
        self.end_ns = now_ns + SLOW_WINDOW_NS


class Series:
    """The figures of one component version in one deployment and virtual environment.

    Args:
        labels: Labels of the events.

    Attributes:
        labels: Labels of the events.
        counters: The figures; the top of this module defines the places.
        is_idle: Whether nothing was counted between the last two readings.
        on_end: Saves the last counts of a removed series; see ``BoundedSeries``.
    """

    __slots__ = ("__weakref__", "_sum", "counters", "is_idle", "labels", "on_end")

    def __init__(self, labels: EventLabels) -> None:
        self.labels = labels
        self.counters: Counters = [0] * _OTHER_CLASSES
        self.is_idle = False
        self.on_end: Finalizer | None = None
        self._sum = 0

    @property
    def is_counting(self) -> bool:
        """Whether anything is counted, or will be."""
        return bool(self.counters[IN_FLIGHT]) or any(self.counters[_FIRST_SUM:])

    def observe_use(self) -> None:
        """Set ``is_idle``; once for each reading."""
        latest = sum(self.counters[_FIRST_SUM:])
        self.is_idle = latest == self._sum
        self._sum = latest

    def add_stream_bytes(self, *, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Count a chunk of a request's body, or of an answer's."""
        counters = self.counters
        counters[_BYTES_IN] += bytes_in
        counters[_BYTES_OUT] += bytes_out

    def count_refusal(self, refusal: Refusal) -> None:
        """Count an event that is refused."""
        counters = self.counters
        counters.extend([0] * (_FULL_LENGTH - len(counters)))
        counters[_REFUSAL_AT[refusal]] += 1

    def figures(self, in_flight: int = 0) -> SeriesFigures:
        """Return the figures as they are now.

        Args:
            in_flight: Events in flight that are counted outside of the series.
        """
        counters = self.counters
        by_class = {digit: self._durations(at) for digit, at in enumerate(_DURATIONS_BY_CLASS)}
        return SeriesFigures(
            labels=self.labels,
            by_class={digit: durations for digit, durations in by_class.items() if durations.count},
            queue=self._durations(_QUEUE_TIMES),
            in_flight=counters[IN_FLIGHT] + in_flight,
            stream_bytes_in=counters[_BYTES_IN],
            stream_bytes_out=counters[_BYTES_OUT],
            refused={
                refusal.value: count
                for refusal, count in zip(Refusal, counters[_REFUSALS:], strict=False)
                if count
            },
        )

    def _durations(self, at: int) -> Durations:
        return Durations.of(self.counters[at : at + BUCKETS])


def _move(counters: Counters, to: Counters) -> None:
    """Add all sums of a series to another one, and set them to 0."""
    if not any(counters[_FIRST_SUM:]):
        return
    to.extend([0] * (len(counters) - len(to)))
    for at in range(_FIRST_SUM, len(counters)):
        to[at] += counters[at]
        counters[at] = 0


def count_duration(counters: Counters, status: int, duration_ns: int) -> None:
    """Count an answered event.

    Args:
        counters: Of its series.
        status: HTTP status of the answer; any other number counts as an error.
        duration_ns: Duration of the event.
    """
    if _FIRST_2XX <= status < _FIRST_3XX:
        at = _DURATIONS_2XX
    else:
        at = _DURATIONS_BY_CLASS[(status if 0 <= status < _END_5XX else _FIRST_5XX) // 100]
        if at >= len(counters):
            counters.extend([0] * (_FULL_LENGTH - len(counters)))
    counters[at + bisect_left(BOUNDS_NS, duration_ns)] += ONE + duration_ns


def count_queue_time(counters: Counters, waited_ns: int) -> None:
    """Count the time between the sending and the handling of an event."""
    counters[_QUEUE_TIMES + bisect_left(BOUNDS_NS, waited_ns)] += ONE + waited_ns


def is_slowest(counters: Counters, duration_ns: int, window: SlowestWindow) -> bool:
    """Return whether an event is the slowest of its series in the window until now.

    Of a thousand events about seven are.
    """
    if counters[_SLOW_WINDOW] is not window:
        counters[_SLOW_WINDOW] = window
    elif duration_ns <= counters[_SLOWEST_NS]:
        return False
    counters[_SLOWEST_NS] = duration_ns
    return True


class BoundedSeries:
    """The series of one process; a bounded number of them, and the shared ones.

    Targets and events keep the series that they count into. Therefore a removed series is still
    read: its figures, and those that are counted later, are moved to the shared series, or the
    series is taken back. No count is lost, and the sum over all series never decreases.

    Args:
        max_series: Number of series that are not shared.

    Attributes:
        is_gone: Returns whether the deployment or the virtual environment of a series was removed;
            None in a process that does not know. There, a series is out of use while it is idle.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        # The series that was looked up last is the last one.
        self._own: dict[EventLabels, Series] = {}
        self._shared: dict[EventLabels, Series] = {}
        self._removed: WeakSet[Series] = WeakSet()
        self._readings = 0
        self._unsearched = 0
        self.is_gone: Callable[[EventLabels], bool] | None = None

    def of(self, labels: EventLabels, in_flight: Callable[[], Mapping[EventLabels, int]]) -> Series:
        """Return the series of ``labels``, or the shared one if none makes room.

        Args:
            labels: Of the events.
            in_flight: Returns the events in flight that are counted outside of the series.
        """
        series = self._own.pop(labels, None)
        if series is None:
            if self._is_full and not self._found_room(in_flight):
                return self._shared_for(labels)
            series = Series(labels)
        self._own[labels] = series
        return series

    def read(self) -> Generator[Series, None, None]:
        """Yield every series, the shared ones last. Counting may go on between two of them."""
        self._readings += 1
        try:
            # Held until the end: a removed series that ends moves its figures to the shared one,
            # where this reading would find them again.
            removed = [series for series in self._removed if series.is_counting]
            for series in removed:
                if self._readings > 1:
                    # The same holds for the reading that has begun before.
                    yield series
                else:
                    self._take_back_or_move(series)
            # A series that is removed from now on keeps its figures until the next reading.
            own = list(self._own.values())
            for series in own:
                if self.is_gone is None:
                    series.observe_use()
                yield series
            yield from list(self._shared.values())
        finally:
            self._readings -= 1

    def _found_room(self, in_flight: Callable[[], Mapping[EventLabels, int]]) -> bool:
        """Remove unused series, and return whether there were any.

        A search reads every series. After one in vain, as many look-ups go without, so that a
        thousand more contexts do not cost a thousand searches.
        """
        if self._unsearched:
            self._unsearched -= 1
            return False
        self._make_room(in_flight)
        if self._is_full:
            self._unsearched = self._max_series
        return not self._is_full

    def _make_room(self, in_flight: Callable[[], Mapping[EventLabels, int]]) -> None:
        unused = [
            series
            for series in self._own.values()
            if not series.counters[IN_FLIGHT] and self._is_unused(series)
        ]
        # Mostly there are none, and counting takes time in proportion to the contexts in use.
        counts = in_flight() if unused else {}
        removable = (series for series in unused if not counts.get(series.labels))
        for series in list(islice(removable, REMOVED_AT_ONCE)):
            self._remove(series)

    def _is_unused(self, series: Series) -> bool:
        return series.is_idle if self.is_gone is None else self.is_gone(series.labels)

    def _remove(self, series: Series) -> None:
        shared = self._shared_for(series.labels)
        del self._own[series.labels]
        self._removed.add(series)
        # The last events may be counted after the last reading before the end of the series.
        series.on_end = finalize(series, _move, series.counters, shared.counters)
        if not self._readings:
            _move(series.counters, shared.counters)

    def _take_back_or_move(self, series: Series) -> None:
        labels = series.labels
        if labels in self._own or self._is_full or (self.is_gone and self.is_gone(labels)):
            own = self._own.get(labels) or self._shared_for(labels)
            _move(series.counters, own.counters)
            return
        self._removed.discard(series)
        if series.on_end is not None:
            series.on_end.detach()
        self._own[labels] = series

    @property
    def _is_full(self) -> bool:
        return len(self._own) >= self._max_series

    def _shared_for(self, labels: EventLabels) -> Series:
        shared = labels.overflow()
        return self._shared.setdefault(shared, Series(shared))


class Metrics:
    """All figures of one process.

    Args:
        max_series: Number of series; the events of further deployments are counted together.
    """

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._series = BoundedSeries(max_series)
        self._counters: dict[str, Callable[[], float]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._in_flight: list[ReadInFlight] = []

    def series(self, labels: EventLabels) -> Series:
        """Return the series of ``labels``, or beyond the limit the one that is shared."""
        return self._series.of(labels, self._count_in_flight)

    def remove_series_when(self, is_gone: Callable[[EventLabels], bool]) -> None:
        """Set which series make room for new ones: those whose labels ``is_gone`` accepts.

        Without this, a series makes room when nothing was counted between the last two readings.
        """
        self._series.is_gone = is_gone

    def watch_counter(self, name: str, read: Callable[[], float]) -> None:
        """Show the value of ``read``, a count that only grows, as ``name``."""
        self._counters[name] = read

    def watch_gauge(self, name: str, read: Callable[[], float]) -> None:
        """Show the current value of ``read`` as ``name``."""
        self._gauges[name] = read

    def watch_in_flight(self, read: ReadInFlight) -> None:
        """Add the values of ``read``, by the labels of series, to the events in flight."""
        self._in_flight.append(read)

    def figures(self, process: str, service: str, *, is_final: bool = False) -> ProcessFigures:
        """Return all figures as they are now."""
        in_flight = self._count_in_flight()
        series = [series.figures(in_flight[series.labels]) for series in self._series.read()]
        return self._figures(process, service, series, is_final=is_final)

    async def read_figures(self, process: str, service: str) -> ProcessFigures:
        """Return all figures; between two series, other tasks run and may count more events.

        A thousand series take longer than any other task may be held up.
        """
        in_flight: Counter[EventLabels] = Counter()
        found, time_slice = [], TimeSlice()
        for read in self._in_flight:
            for part in read():
                in_flight.update(part)
                await time_slice.checkpoint()
        with closing(self._series.read()) as reading:
            for series in reading:
                found.append(series.figures(in_flight[series.labels]))
                await time_slice.checkpoint()
        return self._figures(process, service, found, is_final=False)

    def _count_in_flight(self) -> Counter[EventLabels]:
        in_flight: Counter[EventLabels] = Counter()
        for read in self._in_flight:
            for part in read():
                in_flight.update(part)
        return in_flight

    def _figures(
        self, process: str, service: str, series: list[SeriesFigures], *, is_final: bool
    ) -> ProcessFigures:
        return ProcessFigures(
            process=process,
            service=service,
            series=tuple(series),
            counters={name: float(read()) for name, read in self._counters.items()},
            gauges={name: float(read()) for name, read in self._gauges.items()},
            is_final=is_final,
        )
