from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cron.schedule import TOLERANCE_S, NextTick, TickQueue, parse
from kubefox.errors import InvalidRequest

NOON_S = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())

EXPRESSIONS = (
    "@every 1s",
    "@every 7s",
    "@every 3600s",
    "* * * * *",
    "*/5 * * * *",
    "0 12 * * *",
    "30 6 * * MON-FRI",
    "15,45 */2 1 * *",
)
SMALL_STEPS_S = st.lists(st.floats(0.001, TOLERANCE_S), min_size=1, max_size=60)


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def queue_of(expression: str, since_s: float = NOON_S) -> TickQueue[str]:
    queue: TickQueue[str] = TickQueue()
    queue.replace({"tick": parse(expression)}, since_s)
    return queue


def times_between(next_tick: NextTick, after_s: float, until_s: float) -> list[int]:
    times = []
    while (due_s := next_tick(after_s)) is not None and due_s <= until_s:
        times.append(due_s)
        after_s = due_s
    return times


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/15 * * * *", "2026-03-01T12:00:00", "2026-03-01T12:15:00"),
        ("*/15 * * * *", "2026-03-01T11:59:59", "2026-03-01T12:00:00"),
        ("0 2 * * *", "2026-03-28T12:00:00", "2026-03-29T02:00:00"),
        ("0 0 29 2 *", "2026-03-01T12:00:00", "2028-02-29T00:00:00"),
        ("@every 90s", "2026-03-01T12:00:00", "2026-03-01T12:01:30"),
        ("@every 90s", "2026-03-01T12:01:29", "2026-03-01T12:01:30"),
    ],
)
def test_the_next_tick_is_the_first_time_after_the_given_one(
    expression: str, after: str, expected: str
) -> None:
    assert parse(expression)(at(after)) == at(expected)


def test_a_fraction_of_a_second_does_not_hide_a_tick() -> None:
    assert parse("@every 1s")(NOON_S - 0.5) == NOON_S
    assert parse("* * * * *")(NOON_S - 0.5) == NOON_S


def test_every_n_seconds_counts_from_the_epoch() -> None:
    next_tick = parse("@every 7s")

    due_s = {next_tick(7_000_000 + offset) for offset in (0, 0.5, 3, 6.999)}

    assert due_s == {7_000_007}


@pytest.mark.parametrize(
    "expression",
    ["", "hourly", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "@every 0s", "@every 5m"],
)
def test_an_expression_that_is_neither_cron_nor_every_is_refused_by_name(expression: str) -> None:
    with pytest.raises(InvalidRequest, match="five cron fields") as caught:
        parse(expression)

    assert repr(expression) in caught.value.detail


def test_a_schedule_without_due_times_is_not_waited_for() -> None:
    queue = queue_of("0 0 */31 * 1#5")

    assert queue.next_due_s is None
    assert queue.pop_due(NOON_S + 1e9) == {}


@given(st.sampled_from(EXPRESSIONS), SMALL_STEPS_S)
def test_each_due_time_is_popped_once_and_none_is_skipped(
    expression: str, steps_s: list[float]
) -> None:
    queue = queue_of(expression)

    now_s = float(NOON_S)
    taken = []
    for step_s in steps_s:
        now_s += step_s
        taken += queue.pop_due(now_s).get("tick", [])

    assert taken == times_between(parse(expression), NOON_S, now_s)


@given(st.sampled_from(EXPRESSIONS), st.integers(0, 10_000))
def test_the_next_due_time_pops_exactly_that_tick(expression: str, offset_s: int) -> None:
    queue = queue_of(expression, NOON_S + offset_s)
    due_s = queue.next_due_s
    assert due_s is not None

    assert queue.pop_due(due_s - 0.001) == {}
    assert queue.pop_due(due_s) == {"tick": [due_s]}
    assert queue.pop_due(due_s) == {}


@given(st.sampled_from(EXPRESSIONS), st.integers(TOLERANCE_S + 1, 10_000_000))
def test_after_a_long_suspension_only_ticks_within_the_tolerance_are_due(
    expression: str, slept_s: int
) -> None:
    queue = queue_of(expression)
    now_s = NOON_S + slept_s

    taken = queue.pop_due(now_s).get("tick", [])

    assert taken == times_between(parse(expression), now_s - TOLERANCE_S - 1, now_s)
    assert queue.next_due_s is not None
    assert queue.next_due_s > now_s


def test_each_schedule_has_its_own_ticks_oldest_first() -> None:
    queue: TickQueue[str] = TickQueue()
    queue.replace({"slow": parse("@every 3s"), "quick": parse("@every 2s")}, NOON_S)

    due = queue.pop_due(NOON_S + 4)

    assert due == {"quick": [NOON_S + 2, NOON_S + 4], "slow": [NOON_S + 3]}


def test_a_new_schedule_counts_from_now_and_an_old_one_keeps_its_next_tick() -> None:
    queue = queue_of("@every 2s")

    queue.replace({"tick": parse("@every 2s"), "new": parse("@every 2s")}, NOON_S + 3)

    assert queue.pop_due(NOON_S + 4) == {"new": [NOON_S + 4], "tick": [NOON_S + 2, NOON_S + 4]}


def test_a_removed_schedule_has_no_ticks() -> None:
    queue = queue_of("@every 2s")

    queue.replace({}, NOON_S)

    assert queue.next_due_s is None
    assert queue.pop_due(NOON_S + 4) == {}


@given(SMALL_STEPS_S)
def test_replacing_the_schedules_by_equal_ones_loses_and_repeats_no_tick(
    steps_s: list[float],
) -> None:
    queue = queue_of("@every 1s")

    taken = []
    now_s = float(NOON_S)
    for step_s in steps_s:
        now_s += step_s
        queue.replace({"tick": parse("@every 1s")}, now_s)
        taken += queue.pop_due(now_s).get("tick", [])

    assert taken == list(range(NOON_S + 1, int(now_s) + 1))
