"""Contexts lead back to exactly the data they were made from, or to nothing."""

from __future__ import annotations

import msgspec
import pytest

from model.component import Schedule
from model.context import EventContext
from model.errors import FoxError
from model.records import component_key, deployment_key, environment_key, virtual_environment_key
from routing.contexts import context_data
from routing.schedules import released_schedules
from tests.routing.world import APP, World, definition, digest_of

UI = definition("order-ui", "PathPrefix(`/{{.Vars.subPath}}`)")
WORKER = definition(
    "order-worker",
    schedules=[Schedule(id=0, cron="@every 1s"), Schedule(id=1, cron="0 * * * *")],
)


@pytest.fixture
def world() -> World:
    world = World()
    world.environment("dev", subPath="dev", greeting="hello")
    world.virtual("team-a", subPath="a")
    world.deploy("v1", UI, WORKER)
    return world


def explicit(world: World) -> EventContext:
    return world.ask("/a?kf-dep=v1&kf-ve=team-a").target.context


def test_an_explicit_context_gives_the_live_data(world: World) -> None:
    found = context_data(explicit(world), world.snapshot)

    assert found is not None
    deployment, definitions, values = found
    assert deployment.name == "v1"
    assert definitions == {"order-ui": UI, "order-worker": WORKER}
    assert values == {"subPath": "a", "greeting": "hello"}


@pytest.mark.parametrize(
    "key",
    [
        deployment_key("v1"),
        environment_key("dev"),
        virtual_environment_key("team-a"),
        component_key(APP, "order-worker", digest_of("order-worker")),
    ],
)
def test_changed_or_missing_data_gives_nothing(world: World, key: str) -> None:
    context = explicit(world)
    record = next(each.record for each in world.changes if each.key == key)

    world.put(key, None)
    assert context_data(context, world.snapshot) is None

    world.put(key, record)
    is_content = key.startswith("component.")
    assert (context_data(context, world.snapshot) is not None) == is_content


def test_a_manifest_gives_the_frozen_data(world: World) -> None:
    world.freeze("team-a", "v1", variables={"subPath": "f"})
    context = world.ask("/f").target.context
    world.environment("dev")
    world.put(deployment_key("v1"), None)

    found = context_data(context, world.snapshot)

    assert found is not None
    assert found[0].name == "v1"
    assert found[2] == {"subPath": "f"}


def test_a_context_that_claims_something_else_gives_nothing(world: World) -> None:
    world.freeze("team-a", "v1", variables={"subPath": "f"})
    frozen = world.ask("/f").target.context
    live = explicit(world)

    for context in (
        msgspec.structs.replace(frozen, deployment="v2"),
        msgspec.structs.replace(frozen, manifest="r9"),
        msgspec.structs.replace(frozen, app="other"),
        msgspec.structs.replace(live, app="other"),
    ):
        assert context_data(context, world.snapshot) is None


def test_schedules_are_those_of_active_releases(world: World) -> None:
    world.virtual("team-b", subPath="b")
    assert list(released_schedules(world.snapshot)) == []

    world.release("team-b", "v1")
    world.freeze("team-a", "v1", release_id="r2", variables={"subPath": "f"})

    found = list(released_schedules(world.snapshot))
    assert [(each.context.virtual_environment, each.schedule.id) for each in found] == [
        ("team-a", 0),
        ("team-a", 1),
        ("team-b", 0),
        ("team-b", 1),
    ]
    first = found[0]
    assert (first.component, first.hash) == ("order-worker", digest_of("order-worker"))
    assert first.subject == f"evt.{APP}.order-worker.{first.hash}"
    assert first.deployment.name == "v1"
    assert first.context is world.ask("/f").target.context


def test_an_incomplete_release_has_no_schedules(world: World) -> None:
    world.release("team-a", "v1")

    world.put(component_key(APP, "order-worker", digest_of("order-worker")), None)

    assert list(released_schedules(world.snapshot)) == []
    with pytest.raises(FoxError):
        world.ask("/a")
