"""A sealed context opens to the data at its revisions, whatever has changed since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.dispatch.contexts import Contexts
from fox import Kit
from kubefox import records
from kubefox.context import EventContext, seal, sealing_key_of, source_name
from kubefox.environment import EnvironmentData
from kubefox.errors import ComponentMismatch, InvalidContext, InvalidEvent, NatsUnavailable
from kubefox.release import ReleaseManifest
from tests.support.data_plane import APP, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a", colour="red")
        await plane.deploy("v1", {"web": web(), "api": Kit()})
        yield plane


@pytest.fixture
async def contexts(plane: DataPlane) -> Contexts:
    store = plane.broker.store
    return Contexts(store)


def web() -> Kit:
    kit = Kit()
    kit.component("api")
    kit.env("colour", default="none")
    kit.env("size", default=1)

    @kit.route("Path(`/`)")
    async def serve(ctx: object) -> None: ...

    return kit


def context_of(plane: DataPlane) -> EventContext:
    return plane.target("/", "v1", "team-a").context


async def test_a_view_holds_what_the_component_declared(
    plane: DataPlane, contexts: Contexts
) -> None:
    data = await contexts.open(contexts.seal(context_of(plane)))

    view = data.view("web", digest("v1"))
    assert view.vars == {"colour": "red", "size": 1}
    assert view.targets == {"api": f"evt.{APP}.api.{digest('v1')}"}
    assert view.callers == frozenset()
    assert data.view("api", digest("v1")).callers == {source_name("web", digest("v1"))}


async def test_an_older_context_opens_to_the_data_at_its_revisions(
    plane: DataPlane, contexts: Contexts
) -> None:
    token = contexts.seal(context_of(plane))
    await plane.virtual_environment("team-a", colour="blue")
    await plane.deploy("v1", {"web": web()}, "v2")
    newer = contexts.seal(context_of(plane))

    then, now = await contexts.open(token), await contexts.open(newer)

    assert token != newer
    assert then.view("web", digest("v1")).vars["colour"] == "red"
    assert then.view("web", digest("v1")).targets
    assert now.view("web", digest("v2")).vars["colour"] == "blue"
    assert now.view("web", digest("v2")).targets == {}


async def test_a_context_outlives_the_deletion_of_its_data(
    plane: DataPlane, contexts: Contexts
) -> None:
    context = context_of(plane)
    for key in (records.deployment_key("v1"), records.virtual_environment_key("team-a")):
        await plane.delete(key)

    data = await contexts.open(contexts.seal(context))

    assert data.view("web", digest("v1")).vars["colour"] == "red"


async def test_a_component_outside_the_deployment_gets_no_view(
    plane: DataPlane, contexts: Contexts
) -> None:
    data = await contexts.open(contexts.seal(context_of(plane)))

    for component, version in (("web", "v2"), ("other", "v1")):
        with pytest.raises(ComponentMismatch, match=f"{component}@"):
            data.view(component, digest(version))


async def test_a_frozen_context_opens_to_its_manifest(plane: DataPlane, contexts: Contexts) -> None:
    deployment = plane.broker.snapshot.deployments["v1"]
    frozen = EnvironmentData(vars={"colour": "frozen"}, secrets={"token": "s"})
    manifest = ReleaseManifest(
        id="m1", virtual_environment="team-a", deployments={APP: deployment}, data=frozen
    )
    await plane.write(records.manifest_key("team-a", "m1"), manifest)
    await plane.virtual_environment("team-a", colour="blue")
    await plane.deploy("v1", {"web": web()}, "v2")

    data = await contexts.open(contexts.seal(EventContext(APP, "v1", "team-a", "r1", "m1")))

    assert data.deployment == deployment
    assert data.data == frozen
    assert data.view("web", digest("v1")).vars["colour"] == "frozen"


async def test_a_token_of_another_platform_is_refused(plane: DataPlane, contexts: Contexts) -> None:
    token = contexts.seal(context_of(plane))
    forged = seal(context_of(plane), sealing_key_of(token), b"another key")
    unknown = seal(context_of(plane), "unknown", b"another key")

    for bad in (
        "",
        "garbage",
        token[:-4],
        token[:10] + "AAAA" + token[14:],
        token + "AAAA",
        forged,
        unknown,
    ):
        with pytest.raises(InvalidEvent):
            await contexts.open(bad)


@pytest.mark.parametrize(
    "context",
    [
        EventContext(APP, "v1", "team-a", deployment_revision=999),
        EventContext(APP, "none", "team-a", deployment_revision=1),
        EventContext(APP, "v1", "team-a", "r1", "no-such-manifest"),
    ],
)
async def test_a_context_of_deleted_data_is_too_old(
    contexts: Contexts, context: EventContext
) -> None:
    with pytest.raises(InvalidContext, match="is gone"):
        await contexts.open(contexts.seal(context))


async def test_a_context_of_a_deleted_version_is_too_old(
    plane: DataPlane, contexts: Contexts
) -> None:
    context = context_of(plane)
    key = records.component_key(APP, "api", digest("v1"))
    await plane.delete(key)

    with pytest.raises(InvalidContext, match=key):
        await contexts.open(contexts.seal(context))


async def test_an_opened_context_is_cached(
    plane: DataPlane, contexts: Contexts, own_nats_server: NatsServer
) -> None:
    known = contexts.seal(context_of(plane))
    data = await contexts.open(known)
    await plane.virtual_environment("team-a", colour="blue")
    unknown = Contexts(plane.broker.store)
    await asyncio.to_thread(own_nats_server.kill)
    while plane.broker.bus.is_ready:
        await asyncio.sleep(0)

    assert await contexts.open(known) is data
    with pytest.raises(NatsUnavailable):
        await unknown.open(known)


async def test_a_context_that_makes_room_is_read_again(plane: DataPlane) -> None:
    store = plane.broker.store
    contexts = Contexts(store, max_bytes=1)
    first = contexts.seal(context_of(plane))
    data = await contexts.open(first)
    await plane.virtual_environment("team-b")
    await contexts.open(contexts.seal(plane.target("/", "v1", "team-b").context))

    again = await contexts.open(first)

    assert again is not data
    assert again == data


async def test_a_current_context_is_opened_from_memory_and_an_old_one_is_not(
    plane: DataPlane, contexts: Contexts
) -> None:
    token = contexts.seal(context_of(plane))
    fresh = Contexts(plane.broker.store)

    current = contexts.open_from_memory(token)
    await plane.virtual_environment("team-a", colour="blue")
    await plane.deploy("v1", {"web": web(), "api": Kit()}, "v2")

    assert current is not None
    assert current.vars == {"colour": "red"}
    assert contexts.open_from_memory(token) is current
    assert fresh.open_from_memory(token) is None
    assert await fresh.open(token) == current


async def test_the_caches_of_contexts_are_shown_in_the_metrics(
    plane: DataPlane, contexts: Contexts
) -> None:
    broker = plane.broker
    token = broker.contexts.seal(context_of(plane))
    for _ in range(3):
        await broker.contexts.open(token)

    figures = broker.telemetry.metrics.figures("p", "http")

    assert figures.counters["context_cache_misses"] == 1
    assert figures.counters["context_cache_hits"] == 2
    assert figures.counters["route_cache_misses"] == 1
    assert figures.gauges["context_cache_bytes"] > 1_000
    assert figures.gauges["route_cache_bytes"] > 1_000


async def test_requests_that_find_their_routes_in_memory_are_counted_as_hits(
    plane: DataPlane,
) -> None:
    broker = plane.broker
    begin = broker.telemetry.request_telemetry("adapter/test")
    for _ in range(3):
        request = begin(broker.telemetry.new_id())
        request.set_target(broker.dispatch_target(plane.target("/", "v1", "team-a")))
        request.end(200)
    begin(broker.telemetry.new_id()).end(404)
    broker.telemetry.defer(None, None)

    counters = broker.telemetry.metrics.figures("p", "http").counters

    assert counters["route_cache_misses"] == 1
    assert counters["route_cache_hits"] == 2
