"""What a sealed context stands for, however much has changed since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import contexts as opened
from broker.contexts import Contexts
from fox import Kit
from model import records
from model.context import EventContext, source_name
from model.environment import EnvironmentData
from model.errors import ComponentMismatch, InvalidContext, InvalidEvent, NatsUnavailable
from model.release import ReleaseManifest
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
    return Contexts(store, await store.platform_key())


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


async def test_an_older_context_shows_the_data_of_its_time(
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


async def test_a_frozen_context_shows_its_manifest(plane: DataPlane, contexts: Contexts) -> None:
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


async def test_a_token_of_somebody_else_is_refused(plane: DataPlane, contexts: Contexts) -> None:
    token = contexts.seal(context_of(plane))
    forged = Contexts(plane.broker.store, b"another key").seal(context_of(plane))

    for bad in (
        "",
        "garbage",
        token[:-4],
        token[:10] + "AAAA" + token[14:],
        token + "AAAA",
        forged,
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
async def test_data_that_is_kept_no_longer_is_told(
    contexts: Contexts, context: EventContext
) -> None:
    with pytest.raises(InvalidContext, match="is gone"):
        await contexts.open(contexts.seal(context))


async def test_a_version_that_is_kept_no_longer_is_told(
    plane: DataPlane, contexts: Contexts
) -> None:
    context = context_of(plane)
    key = records.component_key(APP, "api", digest("v1"))
    await plane.delete(key)

    with pytest.raises(InvalidContext, match=key):
        await contexts.open(contexts.seal(context))


async def test_what_was_opened_once_needs_no_nats(
    plane: DataPlane, contexts: Contexts, own_nats_server: NatsServer
) -> None:
    known = contexts.seal(context_of(plane))
    data = await contexts.open(known)
    await plane.virtual_environment("team-a", colour="blue")
    unknown = Contexts(plane.broker.store, await plane.broker.store.platform_key())
    await asyncio.to_thread(own_nats_server.kill)
    while plane.broker.bus.is_ready:
        await asyncio.sleep(0)

    assert await contexts.open(known) is data
    with pytest.raises(NatsUnavailable):
        await unknown.open(known)


async def test_the_context_met_first_is_forgotten_first(
    plane: DataPlane, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "MAX_OPENED", 1)
    first = contexts.seal(context_of(plane))
    data = await contexts.open(first)
    await plane.virtual_environment("team-b")
    await contexts.open(contexts.seal(plane.target("/", "v1", "team-b").context))

    again = await contexts.open(first)

    assert again is not data
    assert again == data
