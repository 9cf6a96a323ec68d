"""What is told of emitted events: spans in their emitter's trace, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.emit import EmitAdapter
from broker.telemetry.figures import Role
from fox import Context, Kit
from model.telemetry import Span
from tests.adapters.emit.world import EMIT
from tests.broker.telemetry.world import Watched, named, open_watched, tree
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
async def watched(own_nats_server: NatsServer) -> AsyncIterator[Watched]:
    async with open_watched(own_nats_server.url, trace_ratio=0.0) as watched:
        await watched.plane.virtual_environment("live")
        await watched.plane.deploy("v1", {"shop": shop(), "mail": mail()})
        async with (
            watched.serving("shop", shop()),
            watched.serving("mail", mail()),
            EmitAdapter(watched.plane.broker, EMIT),
        ):
            yield watched


async def test_an_event_is_traced_from_its_emitter_through_each_attempt(watched: Watched) -> None:
    trace_id, _ = await watched.get("/", "v1", sample=True)

    trace = await watched.trace(trace_id, spans=9)

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
    first, second = (each for each in spans if each.name == "deliver mail")
    return first, second


async def test_events_are_counted_where_they_are_emitted_and_delivered(watched: Watched) -> None:
    await watched.get("/", "v1")

    async def delivered() -> float:
        return (await watched.collector.pull()).counters["kubefox", "events_delivered"]

    while not await delivered():
        await asyncio.sleep(0)
    totals = await watched.collector.pull()

    assert totals.counters["shop", "events_emitted"] == 1
    assert totals.counters["mail", "events_emitted"] == 0
    assert totals.counters["kubefox", "events_retried"] == 1
    assert totals.counters["kubefox", "events_dead_lettered"] == 0
    (series,) = (
        each
        for labels, each in totals.series.items()
        if (labels.component, labels.deployment) == ("adapter/emit", "v1")
    )
    assert {digit: each.count for digit, each in series.by_class.items()} == {5: 1, 2: 1}
    assert series.labels.role == Role.ADAPTER
    # A second attempt has waited for its pause, which says nothing of the stream.
    assert series.queue.count == 1


async def test_telemetry_may_be_off(own_nats_server: NatsServer) -> None:
    async with open_watched(own_nats_server.url, telemetry=False) as watched:
        await watched.plane.virtual_environment("live")
        await watched.plane.deploy("v1", {"shop": shop(), "mail": mail()})
        await watched.plane.start("shop", shop())
        await watched.plane.start("mail", mail())
        async with EmitAdapter(watched.plane.broker, EMIT) as adapter:
            await watched.get("/", "v1")
            while not adapter._delivered:
                await asyncio.sleep(0)
