"""The sum of the figures of many processes: each event is counted once."""

from __future__ import annotations

import pytest

from broker.telemetry.collected import CollectedFigures, Totals
from broker.telemetry.figures import OTHER, EventLabels, EventRole, ProcessFigures
from broker.telemetry.metrics import IN_FLIGHT, Metrics, count_duration, count_queue_time
from broker.telemetry.stats import stats_of
from kubefox.refusal import Refusal
from kubefox.steps import finish

MS = 10**6
V1 = EventLabels("api", "a" * 32, "shop", "v1", "live")
V2 = EventLabels("api", "a" * 32, "shop", "v2", "live")
CLIENTS = EventLabels("adapter/http", "", "shop", "v1", "live", EventRole.GENESIS)


def figures(
    process: str,
    *answered: tuple[EventLabels, int],
    status: int = 200,
    is_final: bool = False,
    in_flight: int = 0,
) -> ProcessFigures:
    metrics = Metrics()
    for labels, count in answered:
        series = metrics.series(labels)
        series.counters[IN_FLIGHT] += in_flight
        for _ in range(count):
            count_duration(series.counters, status, 2 * MS)
            count_queue_time(series.counters, MS)
    metrics.watch_counter("lost", lambda: 1)
    metrics.watch_gauge("up", lambda: True)
    return metrics.figures(process, "api", is_final=is_final)


def requests(totals: Totals) -> dict[str, int]:
    return {
        labels.deployment: sum(value.count for value in series.by_class.values())
        for labels, series in totals.series.items()
    }


def test_figures_of_processes_are_summed() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 3), (V2, 1), in_flight=1)))
    finish(collected.add(figures("p2", (V1, 4), in_flight=2)))

    totals = finish(collected.totals(1.0, ["p1", "p2"]))

    assert requests(totals) == {"v1": 7, "v2": 1}
    assert totals.series[V1].in_flight == 3
    assert totals.counters == {("", "api", "lost"): 2}
    assert len(totals.gauges) == 2


def test_newer_figures_of_a_process_replace_older_ones() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 3))))
    finish(collected.add(figures("p1", (V1, 5))))

    assert requests(finish(collected.totals(1.0, ["p1"]))) == {"v1": 5}


def test_final_figures_of_a_process_stay_in_the_sum() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 3))))
    finish(collected.add(figures("p1", (V1, 5), is_final=True, in_flight=1)))
    finish(collected.add(figures("p1", (V1, 4))))
    finish(collected.add(figures("p2", (V1, 1))))

    totals = finish(collected.totals(1.0, ["p2"]))

    assert requests(totals) == {"v1": 6}
    assert totals.series[V1].in_flight == 0
    assert totals.counters == {("", "api", "lost"): 2}


def test_a_process_that_does_not_answer_counts_with_its_earlier_figures() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 3), in_flight=1)))

    totals = finish(collected.totals(1.0, []))

    assert requests(totals) == {"v1": 3}
    assert totals.series[V1].in_flight == 0
    assert totals.gauges == ()


def test_the_number_of_processes_is_bounded_and_the_sum_is_complete() -> None:
    collected = CollectedFigures(max_processes=2, max_ended=3)

    for number in range(10):
        finish(collected.add(figures(f"p{number}", (V1, 1))))

    assert requests(finish(collected.totals(1.0, []))) == {"v1": 10}
    assert (len(collected._latest), len(collected._ended_processes)) == (2, 3)


def test_the_number_of_series_is_bounded() -> None:
    collected = CollectedFigures(max_series=1)
    finish(collected.add(figures("p1", (V1, 3), (V2, 4))))

    assert requests(finish(collected.totals(1.0, ["p1"]))) == {"v1": 3, OTHER: 4}


def test_stats_have_a_row_for_each_deployment_and_component() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 3), (V2, 1), (CLIENTS, 2), status=500)))

    stats = finish(stats_of(finish(collected.totals(1.0, ["p1"]))))

    (deployment,) = stats.deployments
    (component,) = stats.components
    assert (deployment.deployment, deployment.total.requests) == ("v1", 2)
    assert (component.component, component.all.total.requests) == ("api", 4)
    assert component.all.total.errors == 4
    assert [(row.deployment, row.total.requests) for row in component.deployments] == [
        ("v1", 3),
        ("v2", 1),
    ]
    assert component.all.total.p50_ms == pytest.approx(2, rel=0.5)
    assert component.all.queue_p95_ms == pytest.approx(1, rel=0.5)
    assert component.all.recent is None


def test_stats_count_refused_events_by_their_reason() -> None:
    metrics, collected = Metrics(), CollectedFigures()
    for labels in (V1, V2, V2):
        metrics.series(labels).count_refusal(Refusal.TOO_LATE)
    finish(collected.add(metrics.figures("p1", "api")))
    before = finish(collected.totals(1.0, ["p1"]))
    metrics.series(V2).count_refusal(Refusal.QUEUE_FULL)
    finish(collected.add(metrics.figures("p1", "api")))

    (component,) = finish(stats_of(finish(collected.totals(3.0, ["p1"])), before)).components

    v1, v2 = component.deployments
    assert component.all.total.refused == {"too_late": 3, "queue_full": 1}
    assert (v1.total.refused, v1.total.requests) == ({"too_late": 1}, 0)
    assert v2.total.refused == {"too_late": 2, "queue_full": 1}
    assert v1.recent is not None
    assert v2.recent is not None
    assert (v1.recent.refused, v2.recent.refused) == ({}, {"queue_full": 1})


def test_stats_of_a_window_count_only_its_requests() -> None:
    collected = CollectedFigures()
    finish(collected.add(figures("p1", (V1, 10))))
    before = finish(collected.totals(1.0, ["p1"]))
    finish(collected.add(figures("p1", (V1, 14), (V2, 2))))

    stats = finish(stats_of(finish(collected.totals(3.0, ["p1"])), before))

    (component,) = stats.components
    assert stats.window_s == 2
    assert component.all.recent is not None
    assert (component.all.recent.requests, component.all.recent.rate_per_s) == (6, 3)
    v1, v2 = component.deployments
    assert v1.recent is not None
    assert v2.recent is not None
    assert (v1.recent.requests, v2.recent.requests) == (4, 2)


@pytest.mark.parametrize("service", ["ui", "http"])
def test_processes_that_one_pod_invents_do_not_end_those_of_others(service: str) -> None:
    collected = CollectedFigures(max_processes=3)
    finish(collected.add(ProcessFigures("vm-1", "http", counters={"retries": 1})))
    finish(collected.add(ProcessFigures("vm-2", "control")))

    for number in range(10):
        name = f"{service}-aaaaaaaaaaaa-{number}"
        finish(collected.add(ProcessFigures(name, service, app="shop")))
    finish(collected.add(ProcessFigures("vm-1", "http", counters={"retries": 5})))

    assert "vm-1" in collected._latest
    assert collected._latest["vm-1"].counters == {"retries": 5}
