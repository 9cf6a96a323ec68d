"""Figures of many processes as one: nothing is counted twice, and nothing is lost."""

from __future__ import annotations

import pytest

from broker.telemetry import collected
from broker.telemetry.collected import Collected, Totals
from broker.telemetry.figures import OTHER, Labels, ProcessFigures, Role
from broker.telemetry.metrics import IN_FLIGHT, Metrics, end
from broker.telemetry.stats import stats_of

MS = 10**6
V1 = Labels("api", "a" * 32, "shop", "v1", "live")
V2 = Labels("api", "a" * 32, "shop", "v2", "live")
CLIENTS = Labels("adapter/http", "", "shop", "v1", "live", Role.GENESIS)


def figures(
    process: str,
    *answered: tuple[Labels, int],
    status: int = 200,
    is_final: bool = False,
    in_flight: int = 0,
) -> ProcessFigures:
    metrics = Metrics()
    for labels, count in answered:
        series = metrics.series(labels)
        for _ in range(in_flight):
            series.words[IN_FLIGHT] += 1
        for _ in range(count):
            series.words[IN_FLIGHT] += 1
            end(series.words, status, 2 * MS, MS)
    metrics.watch_counter("lost", lambda: 1)
    metrics.watch_gauge("up", lambda: True)
    return metrics.figures(process, "api", is_final=is_final)


def requests(totals: Totals) -> dict[str, int]:
    return {
        labels.deployment: sum(each.count for each in series.by_class.values())
        for labels, series in totals.series.items()
    }


def test_processes_add_up() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 3), (V2, 1), in_flight=1))
    known.take(figures("p2", (V1, 4), in_flight=2))

    totals = known.totals(1.0, ["p1", "p2"])

    assert requests(totals) == {"v1": 7, "v2": 1}
    assert totals.series[V1].in_flight == 3
    assert totals.counters == {("api", "lost"): 2}
    assert len(totals.gauges) == 2


def test_what_a_process_says_again_counts_once() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 3)))
    known.take(figures("p1", (V1, 5)))

    assert requests(known.totals(1.0, ["p1"])) == {"v1": 5}


def test_a_process_that_ends_leaves_its_last_figures() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 3)))
    known.take(figures("p1", (V1, 5), is_final=True, in_flight=1))
    known.take(figures("p1", (V1, 4)))
    known.take(figures("p2", (V1, 1)))

    totals = known.totals(1.0, ["p2"])

    assert requests(totals) == {"v1": 6}
    assert totals.series[V1].in_flight == 0
    assert totals.counters == {("api", "lost"): 2}


def test_a_process_that_does_not_answer_counts_with_what_it_said() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 3), in_flight=1))

    totals = known.totals(1.0, [])

    assert requests(totals) == {"v1": 3}
    assert totals.series[V1].in_flight == 0
    assert totals.gauges == ()


def test_the_number_of_processes_is_bounded_and_still_all_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collected, "MAX_PROCESSES", 2)
    monkeypatch.setattr(collected, "MAX_ENDED", 3)
    known = Collected()

    for number in range(10):
        known.take(figures(f"p{number}", (V1, 1)))

    assert requests(known.totals(1.0, [])) == {"v1": 10}
    assert (len(known._latest), len(known._ended_processes)) == (2, 3)


def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collected, "MAX_SERIES", 1)
    known = Collected()
    known.take(figures("p1", (V1, 3), (V2, 4)))

    assert requests(known.totals(1.0, ["p1"])) == {"v1": 3, OTHER: 4}


def test_stats_tell_deployments_and_components_apart() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 3), (V2, 1), (CLIENTS, 2), status=500))

    stats = stats_of(known.totals(1.0, ["p1"]))

    (deployment,) = stats.deployments
    (component,) = stats.components
    assert (deployment.deployment, deployment.total.requests) == ("v1", 2)
    assert (component.component, component.all.total.requests) == ("api", 4)
    assert component.all.total.errors == 4
    assert [(each.deployment, each.total.requests) for each in component.deployments] == [
        ("v1", 3),
        ("v2", 1),
    ]
    assert component.all.total.p50_ms == pytest.approx(2, rel=0.5)
    assert component.all.queue_p95_ms == pytest.approx(1, rel=0.5)
    assert component.all.recent is None


def test_stats_of_a_window_tell_what_came_in_it() -> None:
    known = Collected()
    known.take(figures("p1", (V1, 10)))
    before = known.totals(1.0, ["p1"])
    known.take(figures("p1", (V1, 14), (V2, 2)))

    stats = stats_of(known.totals(3.0, ["p1"]), before)

    (component,) = stats.components
    assert stats.window_s == 2
    assert component.all.recent is not None
    assert (component.all.recent.requests, component.all.recent.rate_per_s) == (6, 3)
    v1, v2 = component.deployments
    assert v1.recent is not None
    assert v2.recent is not None
    assert (v1.recent.requests, v2.recent.requests) == (4, 2)
