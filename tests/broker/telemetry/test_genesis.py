"""What a genesis event tells of itself: where it was sent, and that only if it was."""

from __future__ import annotations

import pytest

from broker.ids import new_id, span_of
from broker.lane import Lane
from broker.telemetry.genesis import Genesis, MeasuredGenesis
from broker.telemetry.telemetry import Telemetry
from broker.telemetry.trace_context import TraceContext, parse
from model.context import EventContext
from model.deployment import Deployment
from model.errors import BodyTooLarge
from routing.bindings import Target

SOURCE = "adapter/http"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def lane() -> Lane:
    target = Target(
        context=EventContext("shop", "v1", "live"),
        deployment=Deployment(name="v1", app="shop", components={"ui": "a" * 32}),
        component="ui",
        hash="a" * 32,
        subject="evt.shop.ui.a",
        route=2,
    )
    return Lane(target, "token")


def measured(event_id: str, ratio: float = 0) -> Genesis:
    return Telemetry(ratio=ratio).genesis_of(SOURCE)(event_id)


def names(genesis: Genesis) -> list[str]:
    assert isinstance(genesis, MeasuredGenesis)
    return [span.name for span in genesis.record().spans()]


async def test_an_event_that_was_never_sent_has_no_span_of_sending(lane: Lane) -> None:
    genesis = measured(new_id())
    genesis.method = "POST"
    genesis.lead_to(lane)
    genesis.fail(BodyTooLarge("too large"))
    genesis.end(413)

    assert names(genesis) == ["POST", "resolve"]


async def test_an_event_that_was_sent_tells_where(lane: Lane) -> None:
    genesis = measured(new_id())
    genesis.lead_to(lane)
    genesis.sent_ns = genesis.routed_ns
    genesis.end(200)

    assert names(genesis) == [SOURCE, "resolve", "send ui"]


async def test_what_is_not_sampled_carries_nothing() -> None:
    event_id = new_id()

    assert (measured(event_id).trace_id, measured(event_id).traceparent) == (event_id, "")


@pytest.mark.parametrize(("ratio", "low", "high"), [(0, 0, 0), (0.5, 400, 600), (1, 1_000, 1_000)])
def test_a_ratio_of_all_traces_is_sampled(ratio: float, low: int, high: int) -> None:
    sampled = [bool(measured(new_id(), ratio).traceparent) for _ in range(1_000)]

    assert low <= sampled.count(True) <= high


def test_whoever_asks_samples_the_same_traces() -> None:
    ids = [new_id() for _ in range(500)]

    few = {each for each in ids if measured(each, 0.1).traceparent}
    assert few <= {each for each in ids if measured(each, 0.2).traceparent}


async def test_what_is_sampled_carries_its_trace_and_span() -> None:
    event_id = new_id()

    carried = parse(measured(event_id, ratio=1).traceparent)

    assert carried == TraceContext(event_id, span_of(event_id), True)


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_trace_of_the_client_is_carried_on(flags: str) -> None:
    event_id = new_id()
    genesis = measured(event_id)

    genesis.go_on(f"00-{TRACE}-{SPAN}-{flags}", sample=False)

    assert parse(genesis.traceparent) == TraceContext(TRACE, span_of(event_id), flags == "01")


async def test_without_telemetry_only_what_is_understood_is_passed_on() -> None:
    genesis = Telemetry(is_on=False).genesis_of(SOURCE)(new_id())

    genesis.go_on(f"cc-{TRACE}-{SPAN}-01-what-else-it-says", sample=False)

    assert genesis.traceparent == f"00-{TRACE}-{SPAN}-01"


async def test_what_a_lane_has_in_flight_is_in_the_figures(lane: Lane) -> None:
    telemetry = Telemetry(ratio=0)
    genesis = telemetry.genesis_of(SOURCE)(new_id())
    genesis.lead_to(lane)
    lane.in_flight += 2

    def in_flight() -> dict[str, int]:
        series = telemetry.metrics.figures("p", "http").series
        return {each.labels.deployment: each.in_flight for each in series}

    assert in_flight() == {"": 0, "v1": 2}
    lane.in_flight -= 2
    genesis.end(200)
    assert in_flight() == {"": 0, "v1": 0}


async def test_in_flight_is_counted_where_deployments_beyond_the_bound_are(lane: Lane) -> None:
    telemetry = Telemetry(ratio=0)
    telemetry.metrics._max_series = 0
    telemetry.genesis_of(SOURCE)(new_id()).lead_to(lane)
    lane.in_flight += 1

    series = telemetry.metrics.figures("p", "http").series

    assert sum(each.in_flight for each in series) == 1
