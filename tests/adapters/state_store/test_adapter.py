"""The state store on NATS and in memory, by one contract; and the adapter's own behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.state_store.adapter import StateStoreAdapter
from broker.dispatch.broker import Broker
from fox.kit.state_store import InMemoryStateStore, StateStore
from kubefox.component import ComponentDefinition, Dependency, DependencyKind
from kubefox.context import EventContext, seal
from kubefox.errors import ComponentMismatch, InvalidEvent, NotDeclared
from kubefox.state_store import PAGE_ENTRIES, decode_page
from tests.adapters.state_store.component import ComponentInContext
from tests.adapters.state_store.contract import KEYS, SHARED, VALUES, StateStoreContract
from tests.support.data_plane import SETTINGS
from tests.support.nats import NatsServer
from tests.support.world import World

STORE = Dependency(name="state-store", kind=DependencyKind.ADAPTER)
API = ComponentDefinition(name="api", dependencies=(STORE,))
UI = ComponentDefinition(name="ui", dependencies=(Dependency(name="api"),))

ORDERS = StateStore("orders")


class Callers:
    """Components in the contexts of two apps and two virtual environments."""

    def __init__(self, world: World) -> None:
        self._world = world

    def of(self, app: str, virtual_environment: str, component: str = "api") -> ComponentInContext:
        context = self._world.plane.context(app, f"{app}-v1", virtual_environment)
        return self.in_context(context, component)

    def in_context(self, context: EventContext, component: str = "api") -> ComponentInContext:
        broker = self._world.broker
        token = broker.store.keys.seal(context)
        return ComponentInContext(broker, token, component=component)


@pytest.fixture
async def callers(world: World) -> AsyncIterator[Callers]:
    for name in ("team-a", "team-b"):
        await world.plane.virtual_environment(name)
    for app in ("shop", "blog"):
        await world.plane.deploy(f"{app}-v1", {"api": API, "ui": UI}, app=app)
    async with StateStoreAdapter(world.broker, SETTINGS):
        yield Callers(world)


class TestOnNats(StateStoreContract):
    @pytest.fixture
    def caller(self, callers: Callers) -> ComponentInContext:
        return callers.of("shop", "team-a")


class TestInMemory(StateStoreContract):
    @pytest.fixture(params=[1, 7, PAGE_ENTRIES])
    def caller(self, request: pytest.FixtureRequest) -> InMemoryStateStore:
        return InMemoryStateStore(page_entries=request.param)


OWNERS = st.tuples(st.sampled_from(["shop", "blog"]), st.sampled_from(["team-a", "team-b"]))
STEPS = st.lists(st.tuples(OWNERS, KEYS, st.none() | VALUES), max_size=12)


@SHARED
@given(steps=STEPS)
async def test_apps_and_virtual_environments_have_separate_data(
    callers: Callers, steps: list[tuple[tuple[str, str], str, bytes | None]]
) -> None:
    expected: dict[tuple[str, str], dict[str, bytes]] = {
        (app, team): {} for app in ("shop", "blog") for team in ("team-a", "team-b")
    }

    for owner, key, value in steps:
        if value is None:
            await ORDERS.delete(key, ctx=callers.of(*owner))
            expected[owner].pop(key, None)
        else:
            await ORDERS.put(key, value, ctx=callers.of(*owner))
            expected[owner][key] = value

    for owner, entries in expected.items():
        found = await ORDERS.list(ctx=callers.of(*owner))
        assert {entry.key: entry.value for entry in found} == entries
        for entry in found:
            await ORDERS.delete(entry.key, ctx=callers.of(*owner))


async def test_entries_survive_a_restart_of_nats(
    callers: Callers, broker: Broker, own_nats_server: NatsServer
) -> None:
    caller = callers.of("shop", "team-a")
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    broker.bus.on_reconnect(note)
    revision = await ORDERS.put("1", "placed", ctx=caller)

    await asyncio.to_thread(own_nats_server.restart)
    await reconnected.wait()

    entry = await ORDERS.get("1", ctx=caller)
    assert entry is not None
    assert (entry.text, entry.revision) == ("placed", revision)
    assert await ORDERS.put("1", "packed", ctx=caller, revision=revision) > revision


async def test_every_release_of_an_environment_has_the_same_data(
    callers: Callers, world: World
) -> None:
    await ORDERS.put("1", "placed", ctx=callers.of("shop", "team-a"))

    await world.plane.deploy("shop-v2", {"api": API})

    context = world.plane.context("shop", "shop-v2", "team-a")
    assert len(await ORDERS.list(ctx=callers.in_context(context))) == 1


async def test_a_component_that_does_not_declare_the_store_is_refused(callers: Callers) -> None:
    with pytest.raises(NotDeclared):
        await ORDERS.get("1", ctx=callers.of("shop", "team-a", component="ui"))


async def test_a_component_outside_the_deployment_is_refused(callers: Callers) -> None:
    with pytest.raises(ComponentMismatch):
        await ORDERS.get("1", ctx=callers.of("shop", "team-a", component="review"))


async def test_a_context_that_the_platform_did_not_seal_is_refused(
    callers: Callers, world: World
) -> None:
    context = world.plane.context("shop", "shop-v1", "team-a")
    forger = ComponentInContext(
        world.broker, seal(context, world.broker.store.keys.ring.sealing_key, b"another key")
    )

    with pytest.raises(InvalidEvent):
        await ORDERS.get("1", ctx=forger)


async def test_a_page_contains_entries_of_one_store_only(callers: Callers) -> None:
    caller = callers.of("shop", "team-a")
    for number in range(PAGE_ENTRIES):
        await StateStore("reviews").put(str(number), "x", ctx=caller)
    await ORDERS.put("1", "x", ctx=caller)

    answer = await caller.request("state-store", "GET", "/orders", query="prefix=&after=0")

    page = decode_page(answer.body)
    assert [entry.key for entry in page.entries] == ["1"]
    assert page.after is None
