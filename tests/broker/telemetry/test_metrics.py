"""Series: bound once, bounded in number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemetry.figures import OTHER, Labels
from broker.telemetry.metrics import IN_FLIGHT, Metrics, Series, Window, end, end_genesis

MS = 10**6


def labels(deployment: str) -> Labels:
    return Labels("api", "h", "shop", deployment, "live")


def test_each_status_class_is_counted_apart() -> None:
    metrics = Metrics()
    series = metrics.series(labels("v1"))

    for status in (200, 204, 404, 500):
        series.words[IN_FLIGHT] += 1
        end(series.words, status, MS)

    (figures,) = metrics.figures("p", "api").series
    assert {digit: each.count for digit, each in figures.by_class.items()} == {2: 2, 4: 1, 5: 1}


def test_the_same_labels_are_the_same_series() -> None:
    metrics = Metrics()

    assert metrics.series(labels("v1")) is metrics.series(labels("v1"))


def test_deployments_beyond_the_bound_are_counted_together() -> None:
    metrics = Metrics(max_series=2)

    for number in range(10):
        end(metrics.series(labels(f"v{number}")).words, 200, MS)

    found = {each.labels.deployment: each for each in metrics.figures("p", "api").series}
    assert set(found) == {"v0", "v1", OTHER}
    assert found[OTHER].by_class[2].count == 8
    assert found[OTHER].labels.component == "api"


def test_what_a_process_watches_is_read_when_it_is_asked() -> None:
    metrics = Metrics()
    state = {"up": True, "lost": 0}
    metrics.watch_gauge("nats_up", lambda: state["up"])
    metrics.watch_counter("lost", lambda: state["lost"])

    state.update(up=False, lost=3)

    figures = metrics.figures("p", "api")
    assert (figures.gauges, figures.counters) == ({"nats_up": 0.0}, {"lost": 3.0})


def test_the_slowest_of_a_window_are_those_that_break_its_record() -> None:
    words, window = Metrics().series(labels("v1")).words, Window(0)

    found = [end_genesis(words, 200, duration, window) for duration in (5, 3, 5, 9, 8, 10)]

    assert found == [True, False, False, True, False, True]
    later = Window(window.end_ns + 1)
    assert end_genesis(words, 200, 1, later)
    assert not end_genesis(words, 200, 1, later)


@given(st.lists(st.tuples(st.integers(-1, 700), st.integers(0, 10**11)), max_size=30))
def test_a_genesis_event_is_counted_as_every_other(ended: list[tuple[int, int]]) -> None:
    one, other, window = Series(labels("v1")), Series(labels("v1")), Window(0)

    for status, duration_ns in ended:
        one.words[IN_FLIGHT] += 1
        end(one.words, status, duration_ns)
        end_genesis(other.words, status, duration_ns, window)

    assert one.figures() == other.figures()


def test_in_flight_is_what_has_begun_and_not_ended() -> None:
    series = Metrics().series(labels("v1"))
    for _ in range(4):
        series.words[IN_FLIGHT] += 1
    for waited_ms in (2, 3):
        end(series.words, 200, MS, waited_ms * MS)

    figures = series.figures()

    assert figures.in_flight == 2
    assert (figures.queue.count, figures.queue.total_s) == (2, 0.005)


def test_what_somebody_else_counts_is_in_flight_too() -> None:
    metrics = Metrics()
    for name in ("v1", "v2"):
        metrics.series(labels(name)).words[IN_FLIGHT] += 1
    metrics.watch_in_flight(lambda: {labels("v1"): 2})
    metrics.watch_in_flight(lambda: {labels("v1"): 1, labels("gone"): 5})

    figures = metrics.figures("p", "api").series

    assert {each.labels.deployment: each.in_flight for each in figures} == {"v1": 4, "v2": 1}


def test_bytes_of_streams_are_counted_by_direction() -> None:
    series = Metrics().series(labels("v1"))
    series.add_stream_bytes(bytes_in=5)
    series.add_stream_bytes(bytes_out=7)
    series.add_stream_bytes(bytes_out=1)

    figures = series.figures()

    assert (figures.stream_bytes_in, figures.stream_bytes_out) == (5, 8)


@pytest.mark.parametrize("status", [600, 699, 700, 10**9, -1, -200])
def test_what_is_no_status_is_an_error_and_nothing_else(status: int) -> None:
    series = Metrics().series(labels("v1"))
    series.words[IN_FLIGHT] += 1

    end(series.words, status, MS)

    figures = series.figures()
    assert {digit: each.count for digit, each in figures.by_class.items()} == {5: 1}
    assert (figures.in_flight, figures.queue.count) == (0, 0)
