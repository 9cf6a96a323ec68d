"""Releases that a change of their environment leaves behind follow its earlier record, whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubefox.environment import Environment, EnvironmentData
from kubefox.errors import RouteNotFound
from kubefox.records import Change, environment_key
from kubefox.steps import finish
from routing.snapshot.snapshot import Snapshot, SnapshotBuilder
from tests.routing.world import RoutingWorld, ask, definition

TEAMS = ("team-a", "team-b", "team-c")
KEY = environment_key("dev")


@pytest.fixture
def before() -> Snapshot:
    world = RoutingWorld()
    world.environment("dev", base="one")
    world.deploy("v1", definition("ui", "Path(`/{{.Vars.base}}/{{.Vars.own}}`)"))
    for name in TEAMS:
        world.virtual(name, own=name)
        world.release(name, "v1", release_id=f"r-{name}")
    return world.snapshot


def changed(snapshot: Snapshot, base: str, at_once: int | None) -> Snapshot:
    """Return the snapshot after a change of the environment, with releases perhaps left behind."""
    builder = SnapshotBuilder(snapshot, at_once)
    data = EnvironmentData(vars={"base": base})
    record = Environment(name="dev", data=data)
    builder.add(Change(key=KEY, revision=snapshot.revision + 1, record=record))
    finish(builder.steps())
    return builder.finish()


def caught_up(snapshot: Snapshot, limit: int) -> Iterator[Snapshot]:
    """Yield the snapshot after each turn in which so many releases are made anew."""
    while snapshot.release_index.behind:
        builder = SnapshotBuilder(snapshot)
        finish(builder.refresh_behind(limit))
        snapshot = builder.finish()
        yield snapshot


def environment_of(snapshot: Snapshot, path: str) -> int:
    return ask(snapshot, path).target.context.environment_revision


def test_a_change_of_few_releases_leaves_none_behind(before: Snapshot) -> None:
    after = changed(before, "two", at_once=len(TEAMS))

    assert not after.release_index.behind
    assert ask(after, "/two/team-a").target is not None


def test_a_release_that_is_behind_has_the_routes_and_the_context_of_the_earlier_record(
    before: Snapshot,
) -> None:
    after = changed(before, "two", at_once=2)

    assert set(after.release_index.behind) == set(TEAMS)
    assert environment_of(after, "/one/team-a") == before.revision_of(KEY)
    with pytest.raises(RouteNotFound):
        ask(after, "/two/team-a")


def test_explicit_urls_follow_the_latest_record_at_once(before: Snapshot) -> None:
    after = changed(before, "two", at_once=2)

    found = environment_of(after, "/two/team-a?kf-dep=v1&kf-ve=team-a")

    assert found == after.revision_of(KEY)


def test_turns_bring_releases_to_the_latest_record(before: Snapshot) -> None:
    after = changed(before, "two", at_once=2)
    assert environment_of(after, "/one/team-c") == before.revision_of(KEY)

    turns = list(caught_up(after, limit=1))

    assert [len(turn.release_index.behind) for turn in turns] == [2, 1, 0]
    for name in TEAMS:
        assert environment_of(turns[-1], f"/two/{name}") == after.revision_of(KEY)
    with pytest.raises(RouteNotFound):
        ask(turns[-1], "/one/team-c")


def test_a_change_meanwhile_brings_its_own_release_to_the_latest_record(before: Snapshot) -> None:
    world = RoutingWorld()
    world.snapshot = changed(before, "two", at_once=2)
    world.changes = [Change(key=KEY, revision=0, record=None)] * world.snapshot.revision

    world.virtual("team-b", own="moved")

    assert set(world.snapshot.release_index.behind) == {"team-a", "team-c"}
    revision = world.snapshot.revision_of(KEY)
    assert environment_of(world.snapshot, "/two/moved") == revision
    assert environment_of(world.snapshot, "/one/team-a") < revision


def test_a_second_change_keeps_the_record_that_a_release_follows(before: Snapshot) -> None:
    after = changed(changed(before, "two", at_once=2), "three", at_once=2)

    assert environment_of(after, "/one/team-a") == before.revision_of(KEY)
    *_, last = caught_up(after, limit=2)
    assert environment_of(last, "/three/team-a") == after.revision_of(KEY)
