"""A change renews what depends on it, at once, and leaves all else in place."""

from __future__ import annotations

import gc
import weakref

from model.environment import EnvironmentData, VirtualEnvironment
from model.records import Change, environment_key, virtual_environment_key
from routing.snapshot import Transition
from tests.routing.world import UI, World, ask, definition


def test_old_records_are_not_kept_alive_by_bindings() -> None:
    world = World()
    world.environment("dev")
    world.virtual("team-a")
    world.deploy("v1", definition("ui", "All()"))
    world.ask("/?kf-dep=v1&kf-ve=team-a")
    old = weakref.ref(world.snapshot.records)

    world.environment("other")
    gc.collect()

    assert old() is None


def test_a_changed_release_leaves_others_in_place() -> None:
    world = World()
    world.environment("dev")
    for name in ("team-a", "team-b"):
        world.virtual(name, subPath=name)
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")
    target = world.ask("/team-a/orders/1").target

    world.release("team-b", "v1", release_id="r3")

    assert world.ask("/team-a/orders/1").target is target


def test_a_value_that_no_rule_uses_leaves_releases_in_place() -> None:
    world = World()
    world.environment("dev", subPath="dev", greeting="hello")
    world.virtual("team-a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot
    context = world.ask("/dev/orders/1").target.context

    world.environment("dev", subPath="dev", greeting="bye")

    assert world.snapshot.plain.active["team-a"] is before.plain.active["team-a"]
    after = world.ask("/dev/orders/1").target.context
    assert after.environment_revision == world.snapshot.revision_of(environment_key("dev"))
    assert after != context
    # Whoever follows what is released learns that contexts are new.
    assert world.snapshot.plain is not before.plain
    assert ask(before, "/dev/orders/1").target.context == context


def test_a_value_that_a_virtual_environment_sets_itself_leaves_its_release_in_place() -> None:
    world = World()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    world.release("team-b", "v1", release_id="r2")
    before = world.snapshot.plain.active

    world.environment("dev", subPath="moved")

    assert world.snapshot.plain.active["team-a"] is before["team-a"]
    assert world.ask("/moved/orders/1").target.context.virtual_environment == "team-b"
    world.virtual("team-a")
    assert world.ask("/moved/orders/1?kf-ve=team-a").params == {"id": "1"}


def test_what_no_release_depends_on_leaves_the_index_in_place() -> None:
    world = World()
    world.environment("dev", subPath="dev")
    world.virtual("team-a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot.plain

    world.environment("other", subPath="x")
    world.deploy("v2", UI)

    assert world.snapshot.plain is before


def test_a_transition_is_not_seen_before_it_is_finished() -> None:
    world = World()
    world.environment("dev")
    world.virtual("team-a", subPath="a")
    world.deploy("v1", UI)
    world.release("team-a", "v1")
    before = world.snapshot
    transition = Transition(before)

    transition.take(moved("team-a", "b", revision=99))
    steps = [ask(before, "/a/orders/1").params for _ in transition.steps()]

    assert steps == [{"id": "1"}] * 2
    assert ask(transition.finish(), "/b/orders/1").params == {"id": "1"}


def moved(name: str, sub_path: str, revision: int) -> Change:
    data = EnvironmentData(vars={"subPath": sub_path})
    record = VirtualEnvironment(name=name, environment="dev", data=data)
    return Change(key=virtual_environment_key(name), revision=revision, record=record)
