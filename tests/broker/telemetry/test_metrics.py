"""Series are looked up once, and their number is bounded."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry.figures import OTHER, EventLabels
from broker.telemetry.metrics import (
    IN_FLIGHT,
    MAX_SERIES,
    Metrics,
    Series,
    SlowestWindow,
    count_duration,
    count_queue_time,
    is_slowest,
)
from kubefox.refusal import Refusal

MS = 10**6


def labels(deployment: str) -> EventLabels:
    return EventLabels("api", "h", "shop", deployment, "live")


def counts_of(metrics: Metrics) -> dict[str, int]:
    """Return the number of events of each deployment, without 0."""
    counts: dict[str, int] = {}
    for series in metrics.figures("p", "api").series:
        count = sum(durations.count for durations in series.by_class.values())
        name = series.labels.deployment
        counts[name] = counts.get(name, 0) + count
    return {name: count for name, count in counts.items() if count}


def test_each_status_class_is_counted_apart() -> None:
    metrics = Metrics()
    series = metrics.series(labels("v1"))

    for status in (200, 204, 404, 500):
        count_duration(series.counters, status, MS)

    (figures,) = metrics.figures("p", "api").series
    assert {digit: durations.count for digit, durations in figures.by_class.items()} == {
        2: 2,
        4: 1,
        5: 1,
    }


def test_the_same_labels_are_the_same_series() -> None:
    metrics = Metrics()

    assert metrics.series(labels("v1")) is metrics.series(labels("v1"))


def test_deployments_beyond_the_series_limit_share_one_series() -> None:
    metrics = Metrics(max_series=2)

    for number in range(10):
        count_duration(metrics.series(labels(f"v{number}")).counters, 200, MS)

    found = {part.labels.deployment: part for part in metrics.figures("p", "api").series}
    assert set(found) == {"v0", "v1", OTHER}
    assert found[OTHER].by_class[2].count == 8
    assert found[OTHER].labels.component == "api"


def test_watched_values_are_read_on_request() -> None:
    metrics = Metrics()
    state = {"up": True, "lost": 0}
    metrics.watch_gauge("nats_up", lambda: state["up"])
    metrics.watch_counter("lost", lambda: state["lost"])

    state.update(up=False, lost=3)

    figures = metrics.figures("p", "api")
    assert (figures.gauges, figures.counters) == ({"nats_up": 0.0}, {"lost": 3.0})


def test_an_event_is_the_slowest_until_a_slower_one_or_the_next_window() -> None:
    counters, window = Metrics().series(labels("v1")).counters, SlowestWindow(0)

    found = [is_slowest(counters, duration_ns, window) for duration_ns in (5, 3, 5, 9, 8, 10)]

    assert found == [True, False, False, True, False, True]
    later = SlowestWindow(window.end_ns + 1)
    assert is_slowest(counters, 1, later)
    assert not is_slowest(counters, 1, later)


def test_queue_times_are_counted_apart_from_durations() -> None:
    series = Metrics().series(labels("v1"))
    for waited_ms in (2, 3):
        count_queue_time(series.counters, waited_ms * MS)

    figures = series.figures()

    assert figures.by_class == {}
    assert (figures.queue.count, figures.queue.total_s) == (2, 0.005)


def test_watched_counts_are_added_to_the_events_in_flight() -> None:
    metrics = Metrics()
    for name in ("v1", "v2"):
        metrics.series(labels(name)).counters[IN_FLIGHT] += 1
    metrics.watch_in_flight(lambda: [{labels("v1"): 1}, {labels("v1"): 1}])
    metrics.watch_in_flight(lambda: [{labels("v1"): 1, labels("gone"): 5}])

    figures = metrics.figures("p", "api").series

    assert {item.labels.deployment: item.in_flight for item in figures} == {"v1": 4, "v2": 1}


def test_bytes_of_streams_are_counted_by_direction() -> None:
    series = Metrics().series(labels("v1"))
    series.add_stream_bytes(bytes_in=5)
    series.add_stream_bytes(bytes_out=7)
    series.add_stream_bytes(bytes_out=1)

    figures = series.figures()

    assert (figures.stream_bytes_in, figures.stream_bytes_out) == (5, 8)


def test_refusals_are_counted_by_their_reason() -> None:
    metrics = Metrics()
    series = metrics.series(labels("v1"))

    for refusal in (Refusal.TOO_LATE, Refusal.QUEUE_FULL, Refusal.TOO_LATE):
        series.count_refusal(refusal)

    (figures,) = metrics.figures("p", "api").series
    assert figures.refused == {"too_late": 2, "queue_full": 1}
    assert not figures.by_class


def test_the_refusals_of_a_removed_series_are_kept() -> None:
    metrics = Metrics(max_series=1)
    metrics.series(labels("v1")).count_refusal(Refusal.DRAINING)
    metrics.remove_series_when(lambda series_labels: series_labels == labels("v1"))
    metrics.series(labels("v2")).count_refusal(Refusal.TOO_LATE)

    shown = {
        figures.labels.deployment: figures.refused for figures in metrics.figures("p", "api").series
    }
    assert shown == {OTHER: {"draining": 1}, "v2": {"too_late": 1}}


@pytest.mark.parametrize("status", [600, 699, 700, 10**9, -1, -200])
def test_an_invalid_status_counts_as_an_error(status: int) -> None:
    series = Metrics().series(labels("v1"))

    count_duration(series.counters, status, MS)

    figures = series.figures()
    assert {digit: durations.count for digit, durations in figures.by_class.items()} == {5: 1}
    assert figures.queue.count == 0


def test_the_series_of_removed_deployments_make_room() -> None:
    metrics, current = Metrics(), set[str]()
    metrics.remove_series_when(lambda labels: labels.deployment not in current)
    kept = []
    for number in range(MAX_SERIES):
        current.add(f"v{number}")
        series = metrics.series(labels(f"v{number}"))
        count_duration(series.counters, 200, MS)
        kept.append(series)
    current.clear()

    for number in range(200):
        current.add(f"new-{number}")
        count_duration(metrics.series(labels(f"new-{number}")).counters, 200, MS)

    counts = counts_of(metrics)
    assert all(counts[f"new-{number}"] == 1 for number in range(200))
    # Series are removed in groups, those that were looked up first before the others.
    assert counts[OTHER] == 256
    assert "v255" not in counts
    assert "v256" in counts
    assert sum(counts.values()) == MAX_SERIES + 200


def test_contexts_beyond_the_limit_do_not_search_all_series_each_time() -> None:
    metrics, asked = Metrics(max_series=100), []

    def is_gone(of: EventLabels) -> bool:
        asked.append(of)
        return False

    metrics.remove_series_when(is_gone)
    for number in range(1_100):
        metrics.series(labels(f"v{number}"))

    assert len(asked) <= 1_000


def test_a_series_with_events_in_flight_makes_no_room() -> None:
    metrics = Metrics(max_series=2)
    metrics.remove_series_when(lambda _: True)
    metrics.watch_in_flight(lambda: [{labels("v2"): 1}])
    metrics.series(labels("v1")).counters[IN_FLIGHT] += 1
    metrics.series(labels("v2"))

    assert metrics.series(labels("v3")).labels.deployment == OTHER


def test_what_is_counted_into_a_removed_series_is_shown_as_other() -> None:
    metrics = Metrics(max_series=1)
    metrics.remove_series_when(lambda labels: labels.deployment == "v1")
    late = metrics.series(labels("v1"))
    metrics.series(labels("v2"))

    count_duration(late.counters, 200, MS)
    assert counts_of(metrics) == {OTHER: 1}
    count_duration(late.counters, 500, MS)
    del late
    gc.collect()

    assert counts_of(metrics) == {OTHER: 2}


def test_a_removed_series_is_taken_back_when_it_counts_again_and_there_is_room() -> None:
    metrics, gone = Metrics(max_series=2), {"v1", "v2"}
    metrics.remove_series_when(lambda labels: labels.deployment in gone)
    kept = [metrics.series(labels(name)) for name in ("v1", "v2")]
    metrics.series(labels("v3"))
    gone.clear()

    count_duration(kept[0].counters, 200, MS)

    assert counts_of(metrics) == {"v1": 1}


def test_without_knowledge_of_deployments_idle_series_make_room() -> None:
    metrics = Metrics(max_series=2)
    used, idle = (metrics.series(labels(name)) for name in ("used", "idle"))
    for _ in range(2):
        count_duration(used.counters, 200, MS)
        counts_of(metrics)
    count_duration(idle.counters, 200, MS)

    count_duration(metrics.series(labels("new")).counters, 200, MS)

    assert counts_of(metrics) == {"used": 2, "new": 1, OTHER: 1}


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["add", "drop", "count"]))))
def test_the_sum_over_all_series_is_the_number_of_events(steps: list[tuple[int, str]]) -> None:
    metrics, current = Metrics(max_series=3), set[str]()
    metrics.remove_series_when(lambda labels: labels.deployment not in current)
    held: dict[int, Series] = {}
    events = 0

    for number, step in steps:
        if step == "add":
            current.add(f"v{number}")
            held[number] = metrics.series(labels(f"v{number}"))
        elif step == "drop":
            current.discard(f"v{number}")
            held.pop(number, None)
        elif number in held:
            count_duration(held[number].counters, 200, MS)
            events += 1
        assert sum(counts_of(metrics).values()) == events


async def test_events_in_flight_are_counted_between_other_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.runtime.cooperative.TIME_SLICE_S", 0)
    metrics, turns = Metrics(), list[str]()
    metrics.series(labels("v1"))
    metrics.watch_in_flight(lambda: ({labels("v1"): len(turns)} for _ in range(4)))

    reading = asyncio.create_task(metrics.read_figures("p", "api"))
    while not reading.done():
        turns.append("another task")
        await asyncio.sleep(0)

    # Each part sees one turn more than the one before.
    (series,) = (await reading).series
    assert series.in_flight == 1 + 2 + 3 + 4


async def test_many_series_are_read_between_other_tasks_without_losing_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.runtime.cooperative.TIME_SLICE_S", 0)
    metrics, gone = Metrics(max_series=3), set[str]()
    metrics.remove_series_when(lambda labels: labels.deployment in gone)
    for number in range(3):
        count_duration(metrics.series(labels(f"v{number}")).counters, 200, MS)
    reading = asyncio.create_task(metrics.read_figures("p", "api"))
    await asyncio.sleep(0)

    gone.update(("v0", "v2"))
    metrics.series(labels("new"))
    during = counts_of(metrics)
    figures = await reading

    assert sum(during.values()) == 3
    assert sum(series.by_class[2].count for series in figures.series if series.by_class) == 3
    assert counts_of(metrics) == {"v1": 1, OTHER: 2}
