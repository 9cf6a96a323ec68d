"""The telemetry of request events: spans, trace context, and events in flight."""

from __future__ import annotations

import pytest

from broker.dispatch.targets import DispatchTarget, DispatchTargets
from broker.runtime.ids import new_id, span_of
from broker.runtime.trace_context import TraceContext, parse
from broker.telemetry.metrics import BoundedSeries
from broker.telemetry.request_telemetry import MeasuredRequestTelemetry, RequestTelemetry
from broker.telemetry.telemetry import Telemetry
from kubefox.context import EventContext
from kubefox.deployment import Deployment
from kubefox.errors import BodyTooLarge
from routing.snapshot.route_binding import Target

SOURCE = "adapter/http"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NOW_NS = 1_700_000_000_000_000_000


@pytest.fixture
def dispatch_target() -> DispatchTarget:
    target = Target(
        context=EventContext("shop", "v1", "live"),
        deployment=Deployment(name="v1", app="shop", components={"ui": "a" * 32}),
        component="ui",
        hash="a" * 32,
        subject="evt.shop.ui.a",
        route=2,
    )
    return DispatchTarget(target, "token", None)


def measured(event_id: str, ratio: float = 0) -> RequestTelemetry:
    return Telemetry(ratio=ratio).request_telemetry(SOURCE)(event_id)


def names(request: RequestTelemetry) -> list[str]:
    assert isinstance(request, MeasuredRequestTelemetry)
    return [span.name for span in request.record().spans()]


async def test_a_request_that_was_not_sent_has_no_send_span(
    dispatch_target: DispatchTarget,
) -> None:
    request = measured(new_id())
    request.method = "POST"
    request.set_target(dispatch_target)
    request.fail(BodyTooLarge("too large"))
    request.end(413)

    assert names(request) == ["POST", "resolve"]


async def test_a_request_that_was_sent_has_a_send_span(dispatch_target: DispatchTarget) -> None:
    request = measured(new_id())
    request.set_target(dispatch_target)
    request.sent_ns = request.routed_ns
    request.end(200)

    assert names(request) == [SOURCE, "resolve", "send ui"]


async def test_an_unsampled_request_has_no_traceparent() -> None:
    event_id = new_id()

    assert (measured(event_id).trace_id, measured(event_id).traceparent) == (event_id, "")


@pytest.mark.parametrize(("ratio", "low", "high"), [(0, 0, 0), (0.5, 400, 600), (1, 1_000, 1_000)])
def test_a_ratio_of_all_traces_is_sampled(ratio: float, low: int, high: int) -> None:
    sampled = [bool(measured(new_id(), ratio).traceparent) for _ in range(1_000)]

    assert low <= sampled.count(True) <= high


def test_a_higher_ratio_samples_a_superset_of_traces() -> None:
    ids = [new_id() for _ in range(500)]

    few = {event_id for event_id in ids if measured(event_id, 0.1).traceparent}
    assert few <= {event_id for event_id in ids if measured(event_id, 0.2).traceparent}


async def test_a_sampled_request_has_a_traceparent_of_its_trace_and_span() -> None:
    event_id = new_id()

    carried = parse(measured(event_id, ratio=1).traceparent)

    assert carried == TraceContext(event_id, span_of(event_id), True)


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_request_continues_the_client_trace(flags: str) -> None:
    event_id = new_id()
    request = measured(event_id)

    request.continue_trace(f"00-{TRACE}-{SPAN}-{flags}", sample=False)

    assert parse(request.traceparent) == TraceContext(TRACE, span_of(event_id), flags == "01")


async def test_without_telemetry_the_client_traceparent_is_normalized() -> None:
    request = Telemetry(is_on=False).request_telemetry(SOURCE)(new_id())

    request.continue_trace(f"cc-{TRACE}-{SPAN}-01-what-else-it-says", sample=False)

    assert request.traceparent == f"00-{TRACE}-{SPAN}-01"


def in_flight(telemetry: Telemetry) -> dict[str, int]:
    series = telemetry.metrics.figures("p", "http").series
    return {part.labels.deployment: part.in_flight for part in series}


async def test_events_in_flight_of_a_dispatch_target_are_in_the_figures(
    dispatch_target: DispatchTarget,
) -> None:
    telemetry, targets = Telemetry(ratio=0), DispatchTargets(lambda context: context.deployment)
    telemetry.metrics.watch_in_flight(targets.in_flight_by_labels)
    request = telemetry.request_telemetry(SOURCE)(new_id())
    request.set_target(dispatch_target)
    for _ in range(2):
        targets.begin(dispatch_target, NOW_NS)

    assert in_flight(telemetry) == {"": 0, "v1": 2}
    for _ in range(2):
        targets.end(dispatch_target)
    request.end(200)
    assert in_flight(telemetry) == {"": 0, "v1": 0}


async def test_events_in_flight_beyond_the_series_limit_are_counted_as_other(
    dispatch_target: DispatchTarget,
) -> None:
    telemetry, targets = Telemetry(ratio=0), DispatchTargets(lambda context: context.deployment)
    telemetry.metrics.watch_in_flight(targets.in_flight_by_labels)
    telemetry.metrics._series = BoundedSeries(0)
    telemetry.request_telemetry(SOURCE)(new_id()).set_target(dispatch_target)
    targets.begin(dispatch_target, NOW_NS)

    assert sum(in_flight(telemetry).values()) == 1
