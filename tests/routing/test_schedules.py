"""The schedules that tick are those of active releases."""

from __future__ import annotations

import pytest

from model.component import Schedule
from model.errors import FoxError
from model.event import NO_ROUTE
from model.records import component_key
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
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.deploy("v1", UI, WORKER)
    return world


def test_schedules_are_those_of_active_releases(world: World) -> None:
    world.virtual("team-b", subPath="b")
    assert list(released_schedules(world.snapshot)) == []

    world.release("team-b", "v1")
    world.freeze("team-a", "v1", release_id="r2", variables={"subPath": "f"})

    found = list(released_schedules(world.snapshot))
    assert [(each.target.context.virtual_environment, each.schedule.id) for each in found] == [
        ("team-a", 0),
        ("team-a", 1),
        ("team-b", 0),
        ("team-b", 1),
    ]
    first = found[0].target
    assert (first.component, first.hash) == ("order-worker", digest_of("order-worker"))
    assert first.subject == f"evt.{APP}.order-worker.{first.hash}"
    assert first.deployment.name == "v1"
    assert first.route == NO_ROUTE
    assert first.context is world.ask("/f").target.context


def test_an_incomplete_release_has_no_schedules(world: World) -> None:
    world.release("team-a", "v1")

    world.put(component_key(APP, "order-worker", digest_of("order-worker")), None)

    assert list(released_schedules(world.snapshot)) == []
    with pytest.raises(FoxError):
        world.ask("/a")
