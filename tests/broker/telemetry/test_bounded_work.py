"""Thousands of series are decoded, added and shown in short steps."""

from __future__ import annotations

import msgspec
import pytest

from broker.telemetry.collected import CollectedFigures, Totals
from broker.telemetry.figures import (
    SERIES_A_STEP,
    EventLabels,
    EventRole,
    ProcessFigures,
    decode_figures,
)
from broker.telemetry.metrics import MAX_SERIES, Metrics, count_duration, count_queue_time
from broker.telemetry.stats import stats_of
from kubefox.steps import finish
from tests.support.bounded_work import MAX_CALLS, most_calls_of_a_step

PROCESSES = 4


def worst_figures(process: str) -> ProcessFigures:
    """Return figures of as many series as a process has, all of one component."""
    metrics = Metrics()
    for number in range(MAX_SERIES):
        role = (EventRole.GENESIS, EventRole.COMPONENT)[number % 2]
        labels = EventLabels("api", "a" * 32, "shop", f"{process}-{number}", "live", role)
        counters = metrics.series(labels).counters
        for status in (200, 301, 404, 503):
            for exponent in range(4, 9):
                count_duration(counters, status, 10**exponent)
                count_queue_time(counters, 10**exponent)
    return metrics.figures(process, "api")


@pytest.fixture(scope="module")
def answers() -> list[ProcessFigures]:
    return [worst_figures(f"p{number}") for number in range(PROCESSES)]


def test_the_figures_of_a_process_are_decoded_as_they_were(answers: list[ProcessFigures]) -> None:
    assert finish(decode_figures(msgspec.msgpack.encode(answers[0]))) == answers[0]


def test_figures_are_decoded_in_short_steps(answers: list[ProcessFigures]) -> None:
    encoded = msgspec.msgpack.encode(answers[0])

    steps = sum(1 for _ in decode_figures(encoded))

    assert steps >= MAX_SERIES // SERIES_A_STEP


def test_thousands_of_series_are_added_in_short_steps(answers: list[ProcessFigures]) -> None:
    collected = CollectedFigures()
    ended = [msgspec.structs.replace(figures, is_final=True) for figures in answers[:2]]

    for figures in (*answers[2:], *ended):
        assert most_calls_of_a_step(collected.add(figures)) < MAX_CALLS
    assert most_calls_of_a_step(collected.totals(1.0, ["p2", "p3"])) < MAX_CALLS


def test_the_statistics_of_thousands_of_series_are_made_in_short_steps(
    answers: list[ProcessFigures],
) -> None:
    collected = CollectedFigures()
    before = finish(collected.totals(1.0, []))
    for figures in answers:
        finish(collected.add(figures))
    now = finish(collected.totals(2.0, []))

    assert most_calls_of_a_step(stats_of(now, before)) < MAX_CALLS


def test_the_sum_never_lacks_a_process_whose_figures_are_being_added(
    answers: list[ProcessFigures],
) -> None:
    collected = CollectedFigures()
    finish(collected.add(answers[0]))
    final = msgspec.structs.replace(answers[0], is_final=True)

    counts = [events_of(finish(collected.totals(1.0, []))) for _ in collected.add(final)]

    assert set(counts) == {events_of(finish(collected.totals(1.0, [])))}


def events_of(totals: Totals) -> int:
    histograms = [series.by_class.values() for series in totals.series.values()]
    return sum(durations.count for of_series in histograms for durations in of_series)
