"""Events of many lanes start in turns, and each lane has its limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.events.fair_queue import FairQueue

Item = tuple[str, int]


def queue_of(lanes: str, *, started: int = 100, held: int = 100) -> FairQueue[Item]:
    queue: FairQueue[Item] = FairQueue(started, held, 1_000)
    for number, lane in enumerate(lanes):
        queue.add(lane, (lane, number), 1)
    return queue


def start_all(queue: FairQueue[Item]) -> str:
    """Start events until none may; return their lanes in order."""
    lanes = ""
    while (found := queue.start_next()) is not None:
        lanes += found[0]
    return lanes


def test_the_lanes_are_served_in_turn() -> None:
    assert start_all(queue_of("aaaabbc")) == "abcabaa"


def test_an_event_behind_a_flood_starts_next() -> None:
    queue = queue_of("a" * 50, started=3)
    start_all(queue)
    queue.add("b", ("b", 50), 1)

    assert start_all(queue) == "b"


def test_a_lane_has_no_more_at_work_than_its_places() -> None:
    queue = queue_of("aaaa", started=3)

    assert start_all(queue) == "aaa"
    queue.end("a", 1)
    assert start_all(queue) == "a"


def test_a_full_lane_holds_no_further_event_and_another_lane_does() -> None:
    queue = queue_of("aa", held=2)

    assert not queue.add("a", ("a", 9), 1)
    assert queue.add("b", ("b", 9), 1)


def test_a_lane_whose_events_are_large_holds_few() -> None:
    queue: FairQueue[Item] = FairQueue(10, 10, 100)

    assert [queue.add("a", ("a", number), 40) for number in range(3)] == [True, True, False]
    assert queue.add("b", ("b", 0), 40)


def test_an_event_at_work_takes_memory_until_its_end() -> None:
    queue: FairQueue[Item] = FairQueue(10, 10, 100)
    queue.add("a", ("a", 0), 100)
    queue.start_next()

    assert not queue.add("a", ("a", 1), 100)
    queue.end("a", 100)
    assert queue.add("a", ("a", 1), 100)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30))), st.integers(1, 5))
def test_each_held_event_starts_once_in_the_order_of_its_lane(
    events: list[tuple[str, int]], places: int
) -> None:
    queue: FairQueue[tuple[str, int, int]] = FairQueue(places, 10, 100)
    held = [
        (lane, size, number)
        for number, (lane, size) in enumerate(events)
        if queue.add(lane, (lane, size, number), size)
    ]

    started = []
    while (found := queue.start_next()) is not None:
        started.append(found)
        assert queue.started.of(found[0]) <= places
        queue.end(found[0], found[1])

    assert sorted(started, key=lambda item: item[2]) == held
    for lane in "abc":
        assert [item for item in started if item[0] == lane] == [
            item for item in held if item[0] == lane
        ]
    assert queue.held.taken == queue.started.taken == queue.bytes.taken == 0
