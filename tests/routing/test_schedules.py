"""Schedules of active releases."""

from __future__ import annotations

import pytest

from kubefox.component import Schedule
from kubefox.errors import FoxError
from kubefox.event import NO_ROUTE
from kubefox.records import component_key
from routing.schedules import released_schedules
from tests.routing.world import APP, RoutingWorld, definition, digest_of

UI = definition("order-ui", "PathPrefix(`/{{.Vars.subPath}}`)")
WORKER = definition(
    "order-worker",
    schedules=[Schedule(id=0, cron="@every 1s"), Schedule(id=1, cron="0 * * * *")],
)


@pytest.fixture
def world() -> RoutingWorld:
    world = RoutingWorld()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.deploy("v1", UI, WORKER)
    return world


def test_schedules_come_from_active_releases(world: RoutingWorld) -> None:
    world.virtual("team-b", subPath="b")
    assert list(released_schedules(world.snapshot)) == []

    world.release("team-b", "v1")
    world.freeze("team-a", "v1", release_id="r2", variables={"subPath": "f"})

    found = list(released_schedules(world.snapshot))
    assert [(item.target.context.virtual_environment, item.schedule.id) for item in found] == [
        ("team-a", 0),
        ("team-a", 1),
        ("team-b", 0),
        ("team-b", 1),
    ]
    first = found[0].target
    assert (first.component, first.hash) == ("order-worker", digest_of("order-worker"))
    assert first.subject == f"evt.{APP}.order-worker.{first.hash}"
    assert first.context.deployment == "v1"
    assert first.route == NO_ROUTE
    assert first.context is world.ask("/f").target.context


def test_an_incomplete_release_has_no_schedules(world: RoutingWorld) -> None:
    world.release("team-a", "v1")

    world.put(component_key(APP, "order-worker", digest_of("order-worker")), None)

    assert list(released_schedules(world.snapshot)) == []
    with pytest.raises(FoxError):
        world.ask("/a")
