"""A snapshot is what its records say, whatever order they came in."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.app import Module
from model.deployment import Deployment, SourceRef
from model.environment import EnvironmentData, HTTPAdapter, VirtualEnvironment
from model.errors import FoxError
from model.records import (
    Change,
    component_key,
    deployment_key,
    environment_key,
    http_adapter_key,
    manifest_key,
    release_key,
    virtual_environment_key,
)
from routing import records
from routing.snapshot import Snapshot, Transition
from tests.routing.world import APP, World, ask, definition, digest_of

UI = definition("order-ui", "Path(`/{{.Vars.subPath}}/orders/{id}`)", "PathPrefix(`/static`)")
API = definition("api-server", "PathPrefix(`/{{.Vars.subPath}}/api`)", default=True)
URLS = [
    f"/{sub}/{rest}{selectors}"
    for sub in ("a", "b", "c", "dev", "static")
    for rest in ("orders/1", "api/x")
    for selectors in (
        "",
        "?kf-ve=team-a",
        "?kf-ve=team-b",
        "?kf-dep=v1&kf-ve=team-a",
        "?kf-dep=v2&kf-ve=team-b",
    )
]


def answers(snapshot: Snapshot) -> list[object]:
    """Return what the snapshot says to every URL."""
    found: list[object] = [snapshot.versions, sorted(snapshot.plain.ticking)]
    for url in URLS:
        try:
            decision = ask(snapshot, url)
        except FoxError as error:
            found.append(error.code)
        else:
            target = decision.target
            found.append((target.context, target.component, target.route, decision.params))
    return found


def test_the_empty_snapshot_knows_nothing() -> None:
    snapshot = Snapshot.empty()

    assert snapshot.revision == 0
    assert not snapshot.deployments
    assert snapshot.revision_of("deployment.x") == 0
    assert snapshot.revision_of("unknown.x") == 0
    assert snapshot.manifest("team-a", "r1") is None
    assert snapshot.component(APP, "order-ui", "x") is None


def test_records_are_found_by_name() -> None:
    world = World()
    world.environment("dev")
    world.virtual("team-a")
    world.deploy("v1", UI)
    world.freeze("team-a", "v1")
    world.put(http_adapter_key("mail"), HTTPAdapter(name="mail", url="https://example.com"))

    snapshot = world.snapshot

    assert snapshot.deployments["v1"].components == {"order-ui": digest_of("order-ui")}
    assert dict(snapshot.deployments) == {"v1": snapshot.deployments["v1"]}
    assert list(snapshot.environments) == ["dev"]
    assert len(snapshot.virtual_environments) == 1
    assert snapshot.http_adapters["mail"].url == "https://example.com"
    assert snapshot.releases["team-a"].active is not None
    assert snapshot.manifest("team-a", "r1") is not None
    found = snapshot.component(APP, "order-ui", digest_of("order-ui"))
    assert found is not None
    assert found.definition is UI


def test_revisions_are_those_of_the_bucket() -> None:
    world = World()
    world.environment("dev")
    world.virtual("team-a")
    world.virtual("team-a", subPath="x")

    assert world.snapshot.revision == 3
    assert world.snapshot.revision_of(environment_key("dev")) == 1
    assert world.snapshot.revision_of(virtual_environment_key("team-a")) == 3


def test_a_kind_nobody_knows_only_moves_the_revision() -> None:
    snapshot = Snapshot.empty().apply([Change(key="platform.x", revision=7, record=None)])

    assert snapshot.revision == 7


def test_a_replayed_older_change_is_ignored() -> None:
    world = World()
    world.environment("dev", subPath="a")
    world.environment("dev", subPath="b")
    world.put(environment_key("dev"), None)
    before = world.snapshot

    after = before.apply(world.changes)

    assert after.revision == before.revision
    assert "dev" not in after.environments


def test_tombstones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_TOMBSTONES", 10)
    snapshot = Snapshot.empty()
    gone = [Change(key=f"deployment.d{at}", revision=at, record=None) for at in range(1, 100)]

    for change in gone:
        snapshot = snapshot.apply([change])

    assert len(snapshot.records._tombstones) <= 10
    late = Change(key="deployment.d99", revision=98, record=World().deploy("d99", UI))
    assert "d99" not in snapshot.apply([late]).deployments


def test_what_deployments_have_in_common_is_kept_once() -> None:
    world = World()
    first = world.deploy("v1", UI)
    second = world.deploy("v2", UI)

    kept = [world.snapshot.deployments[name] for name in ("v1", "v2")]

    assert kept == [first, second]
    hashes = [each.components["order-ui"] for each in kept]
    assert hashes[0] is hashes[1]


def test_equal_modules_are_kept_once() -> None:
    snapshot = Snapshot.empty()

    for revision, name in enumerate(("v1", "v2"), start=1):
        modules = {"fulfillment": Module(title="Fulfillment", components=("order-worker",))}
        record = Deployment(name=name, app=APP, components={}, modules=modules)
        snapshot = snapshot.apply(
            [Change(key=deployment_key(name), revision=revision, record=record)]
        )

    first, second = (snapshot.deployments[name].modules for name in ("v1", "v2"))
    assert first == {"fulfillment": Module(title="Fulfillment", components=("order-worker",))}
    assert first is second


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


KEYS = [
    component_key(APP, "order-ui", digest_of("order-ui")),
    component_key(APP, "order-ui", digest_of("order-ui", "2")),
    component_key(APP, "api-server", digest_of("api-server")),
    component_key(APP, "api-server", digest_of("api-server", "2")),
    deployment_key("v1"),
    deployment_key("v2"),
    environment_key("dev"),
    virtual_environment_key("team-a"),
    virtual_environment_key("team-b"),
    release_key("team-a"),
    release_key("team-b"),
    manifest_key("team-a", "r1"),
    manifest_key("team-a", "r9"),
]


def history(choose: random.Random) -> list[Change]:
    """Return changes of a control plane, each key with growing revisions, some of them deletes."""
    world = World()
    world.environment("dev", subPath="dev")
    world.virtual("team-a", subPath="a")
    world.virtual("team-b")
    world.deploy("v1", UI, API)
    world.deploy("v2", UI, API, version="2")
    steps: list[Callable[[], object]] = [
        lambda: world.environment("dev", subPath=choose.choice(["dev", "b"])),
        lambda: world.environment("dev", greeting=choose.choice(["hello", "bye"])),
        lambda: world.virtual("team-a", subPath=choose.choice(["a", "b", "c"])),
        lambda: world.virtual("team-b"),
        lambda: world.virtual("team-b", subPath="b"),
        lambda: world.deploy("v1", UI, API, version=choose.choice(["1", "2"])),
        lambda: world.deploy("v2", *choose.choice([[UI], [API], [UI, API]])),
        lambda: release(world, "team-a", choose),
        lambda: release(world, "team-b", choose),
        lambda: freeze(world, choose),
        lambda: world.put(choose.choice(KEYS), None),
    ]
    for _ in range(choose.randrange(4, 25)):
        choose.choice(steps)()
    return world.changes


def release(world: World, virtual: str, choose: random.Random) -> None:
    name = choose.choice(["v1", "v2"])
    if name in world.snapshot.deployments:
        world.release(virtual, name, release_id=f"r{len(world.changes)}")


def freeze(world: World, choose: random.Random) -> None:
    if "v1" in world.snapshot.deployments:
        sub = choose.choice(["a", "c"])
        world.freeze("team-a", "v1", variables={"subPath": sub}, release_id=choose.choice("19"))


def interleaved(changes: Sequence[Change], choose: random.Random) -> list[Change]:
    """Return an order that a watcher with restarts may see: each key's own order, with replays."""
    by_key: dict[str, list[Change]] = {}
    for change in changes:
        by_key.setdefault(change.key, []).append(change)
    order = [each.key for each in changes]
    choose.shuffle(order)
    waiting = {key: iter(found) for key, found in by_key.items()}
    seen = [next(waiting[key]) for key in order]
    for _ in range(choose.randrange(4)):
        at = choose.randrange(len(seen))
        seen[at:at] = choose.sample(seen[:at], choose.randrange(at + 1))
    return seen


@given(st.integers(0, 2**32))
def test_every_interleaving_leads_to_the_same_answers(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - the seed is Hypothesis's
    changes = history(choose)
    latest = {change.key: change for change in changes}
    expected = answers(Snapshot.empty().apply(latest.values()))

    one_by_one = Snapshot.empty()
    for change in interleaved(changes, choose):
        one_by_one = one_by_one.apply([change])
        if choose.random() < 0.2:
            answers(one_by_one)

    assert answers(one_by_one) == expected
    assert one_by_one.revision == changes[-1].revision


@given(st.integers(0, 2**32))
def test_a_restarted_watcher_catches_up(seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - the seed is Hypothesis's
    changes = history(choose)
    seen = changes[: choose.randrange(len(changes))]
    snapshot = Snapshot.empty().apply(seen)
    answers(snapshot)

    latest = {change.key: change for change in changes}
    snapshot = snapshot.apply(latest.values())

    assert answers(snapshot) == answers(Snapshot.empty().apply(latest.values()))


def test_versions_in_use_are_counted_with_every_change() -> None:
    world = World()
    first = world.deploy("v1", UI, version="1")
    world.deploy("v2", UI, version="1")
    ours = {(APP, name, digest) for name, digest in first.components.items()}
    assert ours <= world.snapshot.versions

    world.put(deployment_key("v1"), None)
    assert ours <= world.snapshot.versions

    moved = world.deploy("v2", UI, version="2")
    theirs = {(APP, name, digest) for name, digest in moved.components.items()}
    assert world.snapshot.versions == theirs

    world.put(deployment_key("v2"), None)
    assert world.snapshot.versions == frozenset()
    assert list(world.snapshot.deployments.values()) == []


COMMITS = ["abcdef1" + "0" * 33, "abcdef1" + "1" * 33, "abcdef2" + "0" * 33, ""]
LABELS = ["v1", "v2", "main", ""]
SELECTORS = ["d0", "v1", "main", "abcdef", "abcdef1", "abcdef10", COMMITS[1], "", "abcdef2x"]
sources = st.builds(
    SourceRef,
    commit=st.sampled_from(COMMITS),
    branch=st.sampled_from(LABELS),
    tag=st.sampled_from([*LABELS, "abcdef1"]),
)
deployed = st.builds(
    Deployment,
    name=st.sampled_from(["d0", "d1", "v1"]),
    app=st.just(APP),
    components=st.just({}),
    version=st.sampled_from([None, *LABELS]),
    source=sources,
)


@given(st.lists(st.tuples(deployed, st.booleans()), max_size=8))
def test_deployments_are_found_by_all_that_they_answer_to(
    written: list[tuple[Deployment, bool]],
) -> None:
    world = World()

    for record, stays in written:
        world.put(deployment_key(record.name), record if stays else None)

    for selector in SELECTORS:
        found = sorted(each.name for each in world.snapshot.answering(selector))
        assert found == sorted(
            each.name for each in world.snapshot.deployments.values() if each.answers_to(selector)
        )
