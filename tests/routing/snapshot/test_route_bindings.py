"""Route bindings are cached within bounds and share tables."""

from __future__ import annotations

import gc
import tracemalloc
from operator import is_

import pytest

from broker.dispatch.targets import DispatchTargets
from kubefox.sized_cache import ENTRY_BYTES
from routing.request import GenesisRequest
from routing.resolver import resolve
from routing.selectors import NO_SELECTORS, Selectors, extract
from routing.snapshot.route_binding import BINDING_BYTES, TARGET_BYTES, Target
from routing.snapshot.snapshot import Snapshot
from routing.table.parameterized_table import TABLE_BYTES, VALUE_BYTES
from tests.routing.world import RoutingWorld, definition


def test_equal_rules_and_values_share_one_table() -> None:
    world = RoutingWorld()
    world.environment("dev", greeting="hello")
    world.virtual("team-a", subPath="x")
    world.virtual("team-b", subPath="x", greeting="bye")
    world.deploy("v1", definition("ui", "Path(`/{{.Vars.subPath}}`)"))
    world.deploy("v2", definition("ui", "Path(`/{{.Vars.subPath}}`)"), version="2")

    tables = {
        id(world.snapshot.route_bindings.explicit(name, virtual, world.snapshot.records).table)
        for name in ("v1", "v2")
        for virtual in ("team-a", "team-b")
    }

    assert len(tables) == 1


CONTEXTS = 100
TOKEN_LENGTH = 200
PER_BINDING = BINDING_BYTES + TABLE_BYTES + VALUE_BYTES + ENTRY_BYTES


def world_of(contexts: int, cache_bytes: int) -> RoutingWorld:
    """Return a world with one deployment, released in many virtual environments."""
    world = RoutingWorld()
    world.snapshot = Snapshot.empty(cache_bytes)
    world.environment("dev")
    routes = ("Path(`/{{.Vars.subPath}}`)", "Path(`/{{.Vars.subPath}}/more`)")
    world.deploy("v1", definition("ui", *routes))
    for number in range(contexts):
        world.virtual(f"t{number}", subPath=f"s{number}")
        world.release(f"t{number}", "v1")
    return world


def target_of(world: RoutingWorld, kind: str, number: int, path: str = "") -> Target:
    """Return the target of a request to one context, of a client that was never seen before."""
    selectors = Selectors(deployment="v1", virtual_environment=f"t{number}")
    request = GenesisRequest(path=f"/s{number}{path}")
    chosen = selectors if kind == "explicit" else NO_SELECTORS
    target = resolve(request, chosen, world.snapshot).target
    assert target.context.virtual_environment == f"t{number}"
    return target


def cycle(world: RoutingWorld, kind: str, contexts: int = CONTEXTS) -> list[Target]:
    """Send a request to each context, one after another; return their targets."""
    return [target_of(world, kind, number) for number in range(contexts)]


@pytest.fixture(params=["explicit", "plain"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_contexts_requested_in_turn_are_found_if_the_cache_has_room_for_all(kind: str) -> None:
    world = world_of(CONTEXTS, CONTEXTS * PER_BINDING)
    first = cycle(world, kind)

    second = cycle(world, kind)

    assert all(map(is_, first, second))
    assert world.snapshot.route_bindings.cache.evictions == 0


def test_most_contexts_requested_in_turn_are_found_if_almost_all_have_room(kind: str) -> None:
    max_bytes = CONTEXTS * PER_BINDING * 9 // 10
    world = world_of(CONTEXTS, max_bytes)
    cycle(world, kind)
    cache = world.snapshot.route_bindings.cache
    before = cache.evictions

    for _ in range(10):
        cycle(world, kind)

    # A cache that drops the least recently used one would find none: 1,000 evictions.
    assert 0 < cache.evictions - before < 10 * CONTEXTS * 0.3
    assert cache.size_bytes <= max_bytes


def test_further_routes_of_a_context_count_as_bytes_too() -> None:
    world = world_of(1, CONTEXTS * PER_BINDING)
    target_of(world, "plain", 0)
    cache = world.snapshot.route_bindings.cache
    before = cache.size_bytes

    for _ in range(2):
        target_of(world, "plain", 0, "/more")

    assert cache.size_bytes == before + TARGET_BYTES


def test_the_estimated_size_of_a_binding_is_about_that_in_memory(kind: str) -> None:
    contexts, known = 500, 10
    world = world_of(contexts, 2 * contexts * PER_BINDING)
    cycle(world, kind, known)
    targets, cache = (
        DispatchTargets(lambda _: "t" * TOKEN_LENGTH),
        world.snapshot.route_bindings.cache,
    )
    before = cache.size_bytes
    gc.collect()
    tracemalloc.start()

    for number in range(known, contexts):
        targets.of(target_of(world, kind, number))
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.7 < taken / (cache.size_bytes - before) < 1.4


def test_a_binding_used_through_a_memo_is_kept_in_the_cache() -> None:
    world = RoutingWorld()
    world.environment("dev")
    world.virtual("team-a")
    world.snapshot = Snapshot.empty(4 * PER_BINDING).apply(world.changes)
    for number in range(40):
        world.deploy(f"v{number}", definition("ui", "PathPrefix(`/`)"))

    def target(number: int) -> Target:
        selectors, _, _ = extract(f"kf-dep=v{number}&kf-ve=team-a", ())
        return resolve(GenesisRequest(), selectors, world.snapshot).target

    hot = target(0)
    for number in range(1, 40):
        target(number)
        assert target(0) is hot
    world.environment("another")

    assert target(0) is hot
