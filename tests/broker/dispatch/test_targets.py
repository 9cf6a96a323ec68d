"""Dispatch targets: one for each routing target, and the versions that are in use."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.dispatch.targets import TICK_NS, DispatchTargets
from kubefox.context import EventContext
from kubefox.deployment import Deployment
from routing.snapshot.route_binding import Target

V1, V2 = "a" * 32, "b" * 32
NOW_NS = 10**18


@pytest.fixture
def targets() -> DispatchTargets:
    return DispatchTargets(lambda context: f"sealed {context.deployment}")


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


def test_a_target_has_one_dispatch_target(targets: DispatchTargets) -> None:
    web = target()

    dispatch_target = targets.of(web)

    assert targets.of(web) is dispatch_target
    assert (dispatch_target.token, dispatch_target.subject, dispatch_target.route) == (
        "sealed v1",
        web.subject,
        0,
    )


def test_a_target_and_its_dispatch_target_need_no_garbage_collector() -> None:
    class Token(str):
        """A token that tells when it is gone."""

    targets, routed = DispatchTargets(lambda context: Token(context.deployment)), target()
    targets.begin(targets.of(routed), NOW_NS)
    targets.end(targets.of(routed))
    gone = weakref.ref(targets.of(routed).token)

    del routed

    assert gone() is None


def test_versions_are_in_use_while_events_are_in_flight_and_for_a_while_after(
    targets: DispatchTargets,
) -> None:
    first, second = targets.of(target()), targets.of(target("v2", V2))
    targets.begin(first, NOW_NS - TICK_NS)
    targets.begin(second, NOW_NS)
    targets.end(second)

    assert targets.in_flight == 1
    assert targets.hashes_in_use(since_ns=NOW_NS - 1) == {V1, V2}
    assert targets.hashes_in_use(since_ns=NOW_NS + TICK_NS) == {V1}
    targets.end(first)
    assert targets.in_flight == 0
    assert targets.hashes_in_use(since_ns=NOW_NS + TICK_NS) == set()


@given(st.lists(st.integers(-2 * TICK_NS, 2 * TICK_NS), min_size=1), st.integers(0, 3 * TICK_NS))
def test_every_use_is_recorded_within_a_tick(steps: list[int], ago: int) -> None:
    targets, now_ns = DispatchTargets(lambda context: context.deployment), NOW_NS
    used = targets.of(target())
    for step in steps:
        now_ns += step
        targets.begin(used, now_ns)
        targets.end(used)

    assert targets.hashes_in_use(now_ns - ago - 1) == {V1}
    assert targets.hashes_in_use(now_ns + TICK_NS) == set()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_the_events_in_flight_are_those_that_have_begun_and_not_ended(
    steps: list[tuple[int, bool]],
) -> None:
    targets = DispatchTargets(lambda context: context.deployment)
    known = [targets.of(target(f"v{number}", f"{number}" * 32)) for number in range(4)]
    expected = [0, 0, 0, 0]
    for number, begins in steps:
        if begins:
            targets.begin(known[number], NOW_NS)
            expected[number] += 1
        elif expected[number]:
            targets.end(known[number])
            expected[number] -= 1

    assert targets.in_flight == sum(expected)
    busy = {f"{number}" * 32 for number, count in enumerate(expected) if count}
    assert targets.hashes_in_use(NOW_NS + TICK_NS) == busy


def test_the_use_of_a_dispatch_target_is_known_when_its_routing_target_is_gone(
    targets: DispatchTargets,
) -> None:
    used = targets.of(target())
    targets.begin(used, NOW_NS)
    targets.end(used)
    del used
    gc.collect()

    assert targets.hashes_in_use(since_ns=NOW_NS - 1) == {V1}


def test_the_earliest_uses_are_forgotten_and_never_those_in_flight() -> None:
    targets = DispatchTargets(lambda context: context.deployment, max_used=3)
    targets.begin(targets.of(target()), NOW_NS)
    for number in range(2, 6):
        used = targets.of(target(f"v{number}", f"{number}" * 32))
        targets.begin(used, NOW_NS + number * TICK_NS)
        targets.end(used)

    found = targets.hashes_in_use(since_ns=0)

    assert found >= {V1, "4" * 32, "5" * 32}
    assert "2" * 32 not in found


def test_a_question_about_the_use_reads_no_idle_contexts() -> None:
    targets = DispatchTargets(lambda context: context.deployment)
    content = deployment("any", V1)
    known = []
    for number in range(1_000):
        used = targets.delivery(EventContext("shop", f"v{number}", "live"), content)
        targets.begin(used, NOW_NS)
        targets.end(used)
        known.append(used)
    targets.begin(known[0], NOW_NS)

    assert targets.hashes_in_use(NOW_NS) == {V1}
    assert (len(targets._busy), len(targets._used)) == (1, 1)


def test_deliveries_of_one_context_are_counted_together(targets: DispatchTargets) -> None:
    context = EventContext("shop", "v1", "live")

    deliveries = targets.delivery(context, deployment("v1", V1))
    targets.begin(deliveries, NOW_NS)

    assert targets.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1)) is deliveries
    assert (targets.in_flight, targets.hashes_in_use(0)) == (1, frozenset({V1}))


def test_contexts_without_a_delivery_are_forgotten_first() -> None:
    targets = DispatchTargets(lambda context: context.deployment, max_idle_contexts=2)
    busy = targets.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1))
    targets.begin(busy, NOW_NS)
    for name in ("v2", "v3", "v4"):
        targets.delivery(EventContext("shop", name, "live"), deployment(name, V2))

    gc.collect()

    assert targets.delivery(EventContext("shop", "v1", "live"), deployment("v1", V1)) is busy
    assert len(targets._deliveries) <= 3
    assert targets.hashes_in_use(since_ns=0) >= {V1}
