"""Invalid ids of events: a component may send any text as an id."""

from __future__ import annotations

import pytest

from broker.dispatch.handling import Reply
from broker.telemetry.telemetry import Telemetry
from kubefox.context import EventContext
from kubefox.errors import ComponentFailed
from kubefox.event import Event, ResponseHead
from tests.broker.telemetry.world import VIEW

CONTEXT = EventContext("shop", "v1", "live")


def event(event_id: str, traceparent: str) -> Event:
    return Event(
        id=event_id,
        genesis_id=event_id,
        type="component",
        context="token",
        source="ui@1",
        deadline_ms=0,
        traceparent=traceparent,
        sent_us=1,
    )


@pytest.mark.parametrize("event_id", ["", "abc", "x" * 32, "é" * 32, "-" * 40])
@pytest.mark.parametrize(
    "traceparent", ["", "zz-01", "-01", "00-" + "é" * 49 + "-01", "00-" + "g" * 60 + "-01"]
)
async def test_events_with_invalid_ids_are_handled_and_counted(
    event_id: str, traceparent: str
) -> None:
    telemetry = Telemetry("api")
    scope = telemetry.labels_of("api", "h" * 32, VIEW)

    fine = telemetry.handler_telemetry(event(event_id, traceparent), scope)
    with fine.span("part", {}), fine.call("1" * 32, "db", "evt.shop.db.h") as call:
        call.record_answer(ResponseHead(status=200))
    fine.complete(Reply(200))
    telemetry.handler_telemetry(event(event_id, traceparent), scope).fail(ComponentFailed("why"))
    odd = event(event_id, traceparent)
    delivering = telemetry.delivery_telemetry(odd, "evt.shop.api.h", "adapter/emit", CONTEXT)
    delivering.sent_traceparent()
    delivering.complete(Reply(200))

    figures = telemetry.metrics.figures("p", "api").series
    assert {digit: durations.count for digit, durations in figures[0].by_class.items()} == {
        2: 1,
        5: 1,
    }
    assert {item.in_flight for item in figures} == {0}
    await telemetry.end()
