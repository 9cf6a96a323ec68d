"""Records of a snapshot: look-ups, counts and shared parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubefox.app import Module
from kubefox.deployment import Deployment, SourceRef
from kubefox.environment import HTTPAdapter
from kubefox.records import (
    Change,
    deployment_key,
    environment_key,
    http_adapter_key,
    rollout_key,
    virtual_environment_key,
)
from kubefox.rollout import RolloutState, begin, complete, fail
from routing.snapshot.snapshot import Snapshot
from tests.routing.world import APP, UI, RoutingWorld, digest_of


def test_the_empty_snapshot_has_no_records() -> None:
    snapshot = Snapshot.empty()

    assert snapshot.revision == 0
    assert not snapshot.deployments
    assert snapshot.revision_of("deployment.x") == 0
    assert snapshot.revision_of("unknown.x") == 0
    assert snapshot.manifest("team-a", "r1") is None
    assert snapshot.component(APP, "order-ui", "x") is None


def test_records_are_found_by_name() -> None:
    world = RoutingWorld()
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
    world = RoutingWorld()
    world.environment("dev")
    world.virtual("team-a")
    world.virtual("team-a", subPath="x")

    assert world.snapshot.revision == 3
    assert world.snapshot.revision_of(environment_key("dev")) == 1
    assert world.snapshot.revision_of(virtual_environment_key("team-a")) == 3


def test_deployments_share_equal_strings() -> None:
    world = RoutingWorld()
    first = world.deploy("v1", UI)
    second = world.deploy("v2", UI)

    kept = [world.snapshot.deployments[name] for name in ("v1", "v2")]

    assert kept == [first, second]
    hashes = [deployment.components["order-ui"] for deployment in kept]
    assert hashes[0] is hashes[1]


def test_deployments_share_equal_modules() -> None:
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


def test_versions_in_use_are_counted_with_every_change() -> None:
    world = RoutingWorld()
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
def test_deployments_are_found_by_every_matching_selector(
    written: list[tuple[Deployment, bool]],
) -> None:
    world = RoutingWorld()

    for record, stays in written:
        world.put(deployment_key(record.name), record if stays else None)

    for selector in SELECTORS:
        found = sorted(
            deployment.name for deployment in world.snapshot.deployments_matching(selector)
        )
        assert found == sorted(
            deployment.name
            for deployment in world.snapshot.deployments.values()
            if deployment.matches(selector)
        )


def test_the_rollouts_that_are_rolling_are_known_without_reading_the_others() -> None:
    v1 = Deployment(name="main", app=APP, components={"order-ui": "1"})
    v2 = Deployment(name="main", app=APP, components={"order-ui": "2"})
    rolling = begin(RolloutState(deployment="main"), v1, v2, now_s=0, deadline_s=1)
    snapshot = Snapshot.empty()

    for revision, state in enumerate(
        (complete(rolling), rolling, fail(rolling, (), now_s=1), rolling, None), start=1
    ):
        change = Change(key=rollout_key("main"), revision=revision, record=state)
        snapshot = snapshot.apply([change])

        assert list(snapshot.rolling) == ([rolling] if state is rolling else [])
        assert dict(snapshot.rollouts) == ({} if state is None else {"main": state})
