"""Whoever may send events may write whatever for an id: telemetry is in nobody's way for that."""

from __future__ import annotations

import pytest

from broker.receiver import Reply
from broker.telemetry.telemetry import Telemetry
from model.context import EventContext
from model.errors import ComponentFailed
from model.event import Event
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
async def test_events_with_odd_ids_are_handled_and_counted(event_id: str, traceparent: str) -> None:
    telemetry = Telemetry("api")
    scope = telemetry.scope("api", "h" * 32, VIEW)

    fine = telemetry.handling(event(event_id, traceparent), scope)
    with fine.span("part", {}), fine.call("1" * 32, "db", "evt.shop.db.h") as call:
        call.answer(200)
    fine.answer(Reply(200))
    telemetry.handling(event(event_id, traceparent), scope).fail(ComponentFailed("why"))
    odd = event(event_id, traceparent)
    delivering = telemetry.delivering(odd, "evt.shop.api.h", "adapter/emit", CONTEXT)
    delivering.send()
    delivering.answer(Reply(200))

    figures = telemetry.metrics.figures("p", "api").series
    assert {digit: each.count for digit, each in figures[0].by_class.items()} == {2: 1, 5: 1}
    assert {each.in_flight for each in figures} == {0}
    await telemetry.end()
