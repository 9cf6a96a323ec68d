"""Telemetry of emitted events: spans in their emitter's trace, and counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.events.adapter import EventsAdapter
from broker.telemetry.figures import EventRole
from fox import Context, Kit
from kubefox.telemetry import Span
from tests.adapters.events.world import EMIT
from tests.broker.telemetry.world import TelemetryWorld, named, open_telemetry_world, tree
from tests.support.data_plane import APP
from tests.support.nats import NatsServer


def shop() -> Kit:
    """Return a component that emits."""
    kit = Kit()
    mail = kit.component("mail")

    @kit.route("Path(`/`)")
    async def order(ctx: Context) -> None:
        await mail.emit("/orders", ctx=ctx)

    return kit


def mail() -> Kit:
    """Return a component that fails at an event's first attempt."""
    kit = Kit()

    @kit.default
    async def send(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("no paper")

    return kit


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[TelemetryWorld]:
    async with open_telemetry_world(own_nats_server.url, trace_ratio=0.0) as world:
        await world.plane.deploy("v1", {"shop": shop(), "mail": mail()})
        async with (
            world.plane.serving("shop", shop(), reports_telemetry=True),
            world.plane.serving("mail", mail(), reports_telemetry=True),
            EventsAdapter(world.plane.broker, EMIT),
        ):
            yield world


async def test_an_event_is_traced_from_its_emitter_through_each_attempt(
    world: TelemetryWorld,
) -> None:
    trace_id, _ = await world.get("/", "v1", sample=True)

    trace = await world.trace(trace_id, spans=9)

    assert tree(trace) == {
        "GET": "",
        "resolve": "GET",
        "send shop": "GET",
        "process shop": "send shop",
        "emit mail": "process shop",
        "deliver mail": "emit mail",
        "process mail": "deliver mail",
    }
    emitted, (first, second) = named(trace, "emit mail"), attempts_of(trace.spans)
    assert (emitted.kind, emitted.service) == ("producer", "shop")
    assert emitted.attributes["messaging.operation.type"] == "send"
    assert emitted.attributes["messaging.system"] == "nats"
    assert str(emitted.attributes["messaging.destination.name"]).startswith("emit.shop.mail.")
    assert (first.kind, first.service, first.status) == ("consumer", "adapter/emit", 500)
    assert first.attributes["messaging.operation.type"] == "receive"
    assert (
        first.attributes["messaging.destination.name"]
        == (emitted.attributes["messaging.destination.name"])
    )
    assert (first.attributes["kubefox.attempt"], second.attributes["kubefox.attempt"]) == (1, 2)
    assert second.status == 204


def attempts_of(spans: tuple[Span, ...]) -> tuple[Span, Span]:
    first, second = (span for span in spans if span.name == "deliver mail")
    return first, second


async def test_events_are_counted_where_they_are_emitted_and_delivered(
    world: TelemetryWorld,
) -> None:
    await world.get("/", "v1")

    # The figures of a process that answers too late are missing.
    counted = [("", "kubefox", "events_delivered"), (APP, "shop", "events_emitted")]
    own = (APP, "mail", "events_emitted")
    totals = await world.collector.pull()
    while own not in totals.counters or not all(map(totals.counters.get, counted)):
        totals = await world.collector.pull()

    assert totals.counters[APP, "shop", "events_emitted"] == 1
    assert totals.counters[APP, "mail", "events_emitted"] == 0
    assert totals.counters["", "kubefox", "events_retried"] == 1
    assert totals.counters["", "kubefox", "events_dead_lettered"] == 0
    (series,) = (
        figures
        for labels, figures in totals.series.items()
        if (labels.component, labels.deployment) == ("adapter/emit", "v1")
    )
    assert {digit: counts.count for digit, counts in series.by_class.items()} == {5: 1, 2: 1}
    assert series.labels.role == EventRole.ADAPTER
    # The wait of a second attempt is its delay, so it is not queue time.
    assert series.queue.count == 1


async def test_telemetry_may_be_off(own_nats_server: NatsServer) -> None:
    async with open_telemetry_world(own_nats_server.url, telemetry=False) as world:
        await world.plane.deploy("v1", {"shop": shop(), "mail": mail()})
        await world.plane.start("shop", shop())
        await world.plane.start("mail", mail())
        async with EventsAdapter(world.plane.broker, EMIT) as adapter:
            await world.get("/", "v1")
            while not adapter._delivered:
                await asyncio.sleep(0)
