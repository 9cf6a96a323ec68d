"""A change updates the objects that depend on it and no others."""

from __future__ import annotations

import gc
import weakref

from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.records import Change, environment_key, virtual_environment_key
from routing.snapshot.snapshot import SnapshotBuilder
from tests.routing.world import UI, RoutingWorld, ask, definition


def test_bindings_do_not_keep_old_records_alive() -> None:
    world = RoutingWorld()
    world.environment("dev")
    world.virtual("team-a")
    world.deploy("v1", definition("ui", "All()"))
    world.ask("/?kf-dep=v1&kf-ve=team-a")
    old = weakref.ref(world.snapshot.records)

    world.environment("other")
    gc.collect()

    assert old() is None


def test_a_changed_release_does_not_move_others_in_the_index() -> None:
    world = RoutingWorld()
    world.environment("dev")
    for name in ("team-a", "team-b"):
        world.virtual(name, subPath=name)
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")
    target = world.ask("/team-a/orders/1").target

    world.release("team-b", "v1", release_id="r3")

    assert world.ask("/team-a/orders/1").target is target


def test_a_variable_that_no_rule_uses_does_not_move_releases() -> None:
    world = RoutingWorld()
    world.environment("dev", subPath="dev", greeting="hello")
    world.virtual("team-a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot
    context = world.ask("/dev/orders/1").target.context

    world.environment("dev", subPath="dev", greeting="bye")

    assert (
        world.snapshot.release_index.active_releases["team-a"]
        is before.release_index.active_releases["team-a"]
    )
    after = world.ask("/dev/orders/1").target.context
    assert after.environment_revision == world.snapshot.revision_of(environment_key("dev"))
    assert after != context
    # The new index object shows followers that contexts changed.
    assert world.snapshot.release_index is not before.release_index
    assert ask(before, "/dev/orders/1").target.context == context


def test_an_overridden_variable_does_not_move_the_release() -> None:
    world = RoutingWorld()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")
    before = world.snapshot.release_index.active_releases

    world.environment("dev", subPath="moved")

    assert world.snapshot.release_index.active_releases["team-a"] is before["team-a"]
    assert world.ask("/moved/orders/1").target.context.virtual_environment == "team-b"
    world.virtual("team-a")
    assert world.ask("/moved/orders/1?kf-ve=team-a").params == {"id": "1"}


def test_a_record_that_no_release_depends_on_does_not_change_the_index() -> None:
    world = RoutingWorld()
    world.environment("dev", subPath="dev")
    world.virtual("team-a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot.release_index

    world.environment("other", subPath="x")
    world.deploy("v2", UI)

    assert world.snapshot.release_index is before


def test_the_old_snapshot_is_unchanged_while_a_builder_works() -> None:
    world = RoutingWorld()
    world.environment("dev")
    world.virtual("team-a", subPath="a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot
    builder = SnapshotBuilder(before)

    builder.add(moved("team-a", "b", revision=99))
    steps = [ask(before, "/a/orders/1").params for _ in builder.steps()]

    assert steps == [{"id": "1"}] * 2
    assert ask(builder.finish(), "/b/orders/1").params == {"id": "1"}


def moved(name: str, sub_path: str, revision: int) -> Change:
    data = EnvironmentData(vars={"subPath": sub_path})
    record = VirtualEnvironment(name=name, environment="dev", data=data)
    return Change(key=virtual_environment_key(name), revision=revision, record=record)
