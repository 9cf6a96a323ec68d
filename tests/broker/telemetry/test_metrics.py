"""Series: bound once, bounded in number."""

from __future__ import annotations

from broker.telemetry.figures import OTHER, Labels
from broker.telemetry.metrics import Metrics
from broker.telemetry.scope import SLOW_WINDOW_NS, Scope


def labels(deployment: str) -> Labels:
    return Labels("api", "h", "shop", deployment, "live")


def test_each_status_class_is_counted_apart() -> None:
    metrics = Metrics()
    series = metrics.series(labels("v1"))

    for status in (200, 204, 404, 500):
        series.record(status, 0.001)

    (figures,) = metrics.figures("p", "api").series
    assert {digit: each.count for digit, each in figures.by_class.items()} == {2: 2, 4: 1, 5: 1}


def test_the_same_labels_are_the_same_series() -> None:
    metrics = Metrics()

    assert metrics.series(labels("v1")) is metrics.series(labels("v1"))


def test_deployments_beyond_the_bound_are_counted_together() -> None:
    metrics = Metrics(max_series=2)

    for number in range(10):
        metrics.series(labels(f"v{number}")).record(200, 0.001)

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
    scope = Scope(labels("v1"), Metrics().series(labels("v1")), "", "")
    now = 10**18

    found = [scope.is_slowest(duration, now) for duration in (5, 3, 5, 9, 8)]

    assert found == [True, False, False, True, False]
    assert scope.is_slowest(1, now + SLOW_WINDOW_NS + 1)
