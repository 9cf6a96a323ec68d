"""Lanes: one for each target, and what events of all of them may need."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import lane as lanes_module
from broker.lane import TICK_NS, Lanes
from model.context import EventContext
from model.deployment import Deployment
from routing.bindings import Target

V1, V2 = "a" * 32, "b" * 32
NOW_NS = 10**18


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(lambda context: f"sealed {context.deployment}")


def deployment(name: str, digest: str) -> Deployment:
    return Deployment(name=name, app="shop", components={"web": digest})


def target(name: str = "v1", digest: str = V1) -> Target:
    return Target(
        context=EventContext("shop", name, "live"),
        deployment=deployment(name, digest),
        component="web",
        hash=digest,
        subject=f"evt.shop.web.{digest}",
        route=0,
    )


def test_a_target_has_one_lane(lanes: Lanes) -> None:
    web = target()

    lane = lanes.of(web)

    assert lanes.of(web) is lane
    assert (lane.token, lane.subject, lane.route) == ("sealed v1", web.subject, 0)


def test_a_target_and_its_lane_need_no_garbage_collector() -> None:
    lanes = Lanes(lambda context: context.deployment)
    gone = weakref.ref(lanes.of(target()))
    lanes._latest.clear()

    assert gone() is None


def test_versions_are_needed_while_events_are_in_flight_and_for_a_while_after(lanes: Lanes) -> None:
    first, second = target(), target("v2", V2)
    lanes.of(first).in_flight += 1
    lanes.note(lanes.of(second), NOW_NS)

    assert lanes.in_flight == 1
    assert lanes.needed(since_ns=NOW_NS - 1) == {V1, V2}
    assert lanes.needed(since_ns=NOW_NS + TICK_NS) == {V1}
    lanes.of(first).leave()
    assert lanes.needed(since_ns=NOW_NS + TICK_NS) == set()


@given(st.lists(st.integers(-2 * TICK_NS, 2 * TICK_NS), min_size=1), st.integers(0, 3 * TICK_NS))
def test_no_use_is_overlooked_and_none_is_remembered_for_long(steps: list[int], ago: int) -> None:
    lanes, now_ns = Lanes(lambda context: context.deployment), NOW_NS
    used = target()
    for step in steps:
        now_ns += step
        lanes.note(lanes.of(used), now_ns)

    assert lanes.needed(now_ns - ago - 1) == {V1}
    assert lanes.needed(now_ns + TICK_NS) == set()


def test_what_a_lane_was_used_for_is_known_when_its_target_is_gone(lanes: Lanes) -> None:
    lanes.note(lanes.of(target()), NOW_NS)
    gc.collect()

    assert lanes.needed(since_ns=NOW_NS - 1) == {V1}


def test_lanes_without_a_target_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "MAX_KEPT_LANES", 2)
    lanes = Lanes(lambda context: context.deployment)
    kept = lanes.of(target())
    kept.in_flight = 1
    for number in range(4):
        lanes.of(target(f"v{number}", f"{number}" * 32)).used_ns = 100
    gc.collect()

    assert lanes.needed(since_ns=0) == {V1, "2" * 32, "3" * 32}


def test_deliveries_of_one_context_are_counted_together(lanes: Lanes) -> None:
    context = EventContext("shop", "v1", "live")

    traffic = lanes.delivery(context, deployment("v1", V1))
    traffic.in_flight += 1

    assert lanes.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1)) is traffic
    assert (lanes.in_flight, lanes.needed(0)) == (1, frozenset({V1}))


def test_contexts_without_a_delivery_are_forgotten_before_others(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "MAX_IDLE_CONTEXTS", 2)
    busy = lanes.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1))
    busy.in_flight += 1
    for name in ("v2", "v3", "v4"):
        lanes.delivery(EventContext("shop", name, "live"), deployment(name, V2)).used_ns = 100

    gc.collect()

    assert lanes.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1)) is busy
    assert len(lanes._deliveries) <= 3
    assert lanes.needed(since_ns=0) >= {V1}
