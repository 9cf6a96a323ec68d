"""The places and queues of lanes: fair, bounded, and without a trace of lanes that are idle."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from broker.dispatch.admission import TURN_COST_S, WaitingEvents
from broker.dispatch.estimates import LEAST_SAMPLES
from broker.runtime.fair_share import FairShare
from kubefox.refusal import Refusal

LIMIT = 4
FOREVER_S = 1e9
TURN_S = 0.002
lanes = st.sampled_from("abcdef")


def queues(limit: int = 1_000, max_waiting: int = 10_000) -> WaitingEvents[str]:
    return WaitingEvents([FairShare(limit), FairShare(limit)], max_waiting)


def add(waiting: WaitingEvents[str], lane: str, number: int, depth: int = 0) -> Refusal | None:
    key = f"{lane}{number}"
    return waiting.add(lane, key, key, limit_s=FOREVER_S, depth=depth)


def take_all(waiting: WaitingEvents[str]) -> list[str]:
    taken: list[str] = []
    while turns := waiting.take_turns(0, TURN_S):
        taken += turns
    return taken


@given(st.lists(lanes, max_size=60))
def test_lanes_are_served_in_turn_and_each_in_its_order(wanted: list[str]) -> None:
    waiting = queues()
    for number, lane in enumerate(wanted):
        assert add(waiting, lane, number) is None

    started = take_all(waiting)

    for lane in set(wanted):
        numbers = [int(key[1:]) for key in started if key[0] == lane]
        assert numbers == sorted(numbers)
    served = Counter[str]()
    left = Counter(wanted)
    for key in started:
        served[key[0]] += 1
        # No lane is more than one event ahead of another one that still waits.
        assert all(
            served[key[0]] <= served[other] + 1 for other in left if left[other] > served[other]
        )
    assert len(started) == len(wanted)
    assert (waiting.count, waiting.lanes, waiting._lanes) == (0, 0, {})


@given(st.dictionaries(lanes, st.floats(0.0001, 0.05), min_size=2), st.integers(1, 60))
def test_lanes_share_the_loop_whatever_their_handlers_take(
    slices_s: dict[str, float], rounds: int
) -> None:
    waiting, used_s = queues(), dict(slices_s)
    for lane, slice_s in slices_s.items():
        waiting.charge(lane, slice_s)
        for number in range(rounds * 40):
            add(waiting, lane, number)

    for _ in range(rounds):
        for key in waiting.take_turns(0, TURN_S):
            waiting.charge(key[0], slices_s[key[0]])
            used_s[key[0]] += slices_s[key[0]] + TURN_COST_S

    most, least = (choose(used_s.values()) for choose in (max, min))
    assert most - least <= 2 * (max(slices_s.values()) + TURN_S)


@given(st.integers(1, 200), st.floats(0.001, 1))
def test_a_lane_that_comes_is_served_before_one_that_has_held_the_loop(
    rounds: int, slice_s: float
) -> None:
    waiting = queues()
    for number in range(rounds + 50):
        add(waiting, "a", number)
    for _ in range(rounds):
        for _ in waiting.take_turns(0, TURN_S):
            waiting.charge("a", slice_s)

    add(waiting, "b", 0)

    assert not waiting.count or waiting.take_turns(0, TURN_S)[0] == "b0"


@given(st.lists(lanes, min_size=1, max_size=200), st.floats(0, 1))
def test_a_turn_is_given_as_long_as_any_event_waits(wanted: list[str], slice_s: float) -> None:
    waiting = queues()
    for number, lane in enumerate(wanted):
        add(waiting, lane, number)

    taken = []
    while waiting.count:
        turns = waiting.take_turns(0, TURN_S)
        assert turns
        taken += turns
        for key in turns:
            waiting.charge(key[0], slice_s)

    assert sorted(taken) == sorted(f"{lane}{number}" for number, lane in enumerate(wanted))


def test_events_that_are_expected_to_hold_the_loop_get_a_turn_each() -> None:
    waiting = queues()
    waiting.charge("a", TURN_S)
    for number in range(3):
        add(waiting, "a", number)

    assert waiting.take_turns(0, TURN_S) == ["a0"]
    assert waiting.take_turns(0, TURN_S) == ["a1"]


def test_an_event_that_has_begun_goes_on_before_others_begin_and_the_earliest_deadline_first() -> (
    None
):
    waiting = queues()
    add(waiting, "a", 0)
    waiting.add_begun("a", "late", "late", deadline_ms=2)
    waiting.add_begun("a", "early", "early", deadline_ms=1)

    assert take_all(waiting) == ["early", "late", "a0"]


def test_a_call_is_not_held_up_by_events_that_wait_for_it() -> None:
    waiting = queues(limit=1)
    add(waiting, "a", 0)
    assert take_all(waiting) == ["a0"]

    add(waiting, "a", 1)
    add(waiting, "a", 2, depth=1)

    assert take_all(waiting) == ["a2"]


@given(st.lists(st.tuples(lanes, st.booleans(), st.booleans()), max_size=60))
def test_an_event_that_is_discarded_never_starts(wanted: list[tuple[str, bool, bool]]) -> None:
    waiting = queues()
    for number, (lane, _, has_begun) in enumerate(wanted):
        if has_begun:
            waiting.add_begun(lane, f"{lane}{number}", f"{lane}{number}", deadline_ms=0)
        else:
            add(waiting, lane, number)
    for number, (lane, is_discarded, _) in enumerate(wanted):
        if is_discarded:
            assert waiting.discard(lane, f"{lane}{number}")
            assert not waiting.discard(lane, f"{lane}{number}")

    started = set(take_all(waiting))

    assert started == {f"{lane}{n}" for n, (lane, gone, _) in enumerate(wanted) if not gone}
    assert (waiting.count, waiting.lanes, waiting._lanes) == (0, 0, {})


@given(st.lists(lanes, max_size=200))
def test_a_flood_leaves_room_for_other_lanes(wanted: list[str]) -> None:
    waiting = queues(limit=1, max_waiting=10)
    for number, lane in enumerate(wanted):
        add(waiting, lane, number)

    assert add(waiting, "victim", 0) is None


@given(st.integers(1, 50), st.floats(0.001, 1))
def test_an_event_that_would_wait_for_too_long_is_refused(ahead: int, interval_s: float) -> None:
    waiting = queues()
    now_s = 0.0
    for number in range(200):
        add(waiting, "a", number)
    for _ in range(200 - ahead):
        now_s += interval_s
        waiting.charge("a", interval_s)
        assert len(waiting.take_turns(now_s, TURN_S)) == 1

    expected_s = waiting.wait_s("a")

    assert 0.9 * (ahead + 1) * interval_s <= expected_s <= 1.1 * (ahead + 1) * interval_s
    assert waiting.add("a", "late", "", limit_s=expected_s * 0.9) is Refusal.TOO_LATE
    assert waiting.add("a", "in time", "", limit_s=expected_s * 1.1) is None


def test_one_pause_of_the_process_makes_no_event_late() -> None:
    waiting = queues()
    now_s = 0.0
    for number in range(100):
        add(waiting, "a", number)
    for _ in range(60):
        now_s += 0.001
        waiting.charge("a", 0.001)
        waiting.take_turns(now_s, TURN_S)
    now_s += 5

    waiting.take_turns(now_s, TURN_S)

    assert waiting.wait_s("a") < 1
    assert waiting.wait_s("b") < 1


def test_the_first_event_after_a_pause_does_not_make_the_next_ones_late() -> None:
    waiting = queues()
    for number in range(40):
        add(waiting, "a", number)
    waiting.charge("a", 1)
    waiting.take_turns(0, TURN_S)

    waiting.take_turns(0.5, TURN_S)

    assert waiting.add("a", "next", "", limit_s=10) is None


def test_long_requests_do_not_shorten_the_wait_of_others_in_their_lane_and_beside_it() -> None:
    waiting = queues()
    for number in range(3):
        add(waiting, "a", number)
    for _ in range(LEAST_SAMPLES):
        waiting.measure_service("a", 1, 100)
        waiting.measure_service("a", 2, 0.001)

    assert waiting.service_s("a", 1) > 10
    assert waiting.service_s("a", 2) < 0.01
    assert waiting.service_s("a", 3) == 0
    assert waiting.service_s("b", 1) == 0


def test_a_lane_without_a_free_place_holds_up_no_other() -> None:
    places = FairShare(2)
    while places.try_take("a"):
        pass
    waiting: WaitingEvents[str] = WaitingEvents([places], 100)
    for number in range(5):
        add(waiting, "a", number)
    add(waiting, "b", 0)

    assert take_all(waiting) == ["b0"]
    places.release("a")
    waiting.on_release("a")
    places.release("b")
    waiting.on_release("b")
    assert take_all(waiting) == ["a0"]


def test_a_lane_with_a_free_place_is_not_expected_to_wait_for_places_of_another() -> None:
    places = FairShare(2)
    waiting: WaitingEvents[str] = WaitingEvents([places], 1000)
    for number in range(100):
        add(waiting, "a", number)
    for second in range(60):
        # Until a place is given back, there is nothing to start.
        while waiting.take_turns(second, TURN_S):
            pass
        places.release("a")
        waiting.on_release("a")

    assert waiting.add("b", "b", "b", limit_s=0.5) is None
    assert waiting.wait_s("a") > 1


@given(st.lists(lanes, min_size=1, max_size=80), st.integers(1, 3))
def test_every_event_gets_a_place_that_is_given_back(wanted: list[str], limit: int) -> None:
    places = FairShare(limit)
    waiting: WaitingEvents[str] = WaitingEvents([places], 10_000)
    for number, lane in enumerate(wanted):
        add(waiting, lane, number)

    started, at_work = 0, deque[str]()
    while waiting.count:
        at_work += waiting.take_turns(0, TURN_S)
        assert at_work
        lane = at_work.popleft()[0]
        started += 1
        places.release(lane)
        waiting.on_release(lane)

    assert started + len(at_work) == len(wanted)
