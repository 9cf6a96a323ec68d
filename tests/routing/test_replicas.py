"""The limits of replicas that apply to each component version."""

from __future__ import annotations

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.environment import EnvironmentData
from kubefox.records import Change, Record
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from kubefox.rollout import RolloutState, begin
from kubefox.scaling import Replicas, Scale, ScaleOverride
from routing.replicas import replicas_of_versions
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import usage_of

API = Version("shop", "api", "a" * 32)
API2 = Version("shop", "api", "b" * 32)
DEFAULT = Replicas(min=0, max=1, target_in_flight=20)


def deployment(name: str, version: Version = API) -> Deployment:
    return Deployment(name=name, app="shop", components={version.component: version.hash})


def override(scale: Scale, name: str = "", app: str = "shop") -> ScaleOverride:
    return ScaleOverride(app=app, component="api", deployment=name, scale=scale)


def declared(scale: Scale | None) -> ComponentVersion:
    definition = ComponentDefinition(name="api", scale=scale)
    return ComponentVersion(app="shop", hash=API.hash, definition=definition)


def key_of(record: Record) -> str:
    match record:
        case Deployment():
            return records.deployment_key(record.name)
        case ComponentVersion():
            return records.component_key(record.app, record.name, record.hash)
        case ScaleOverride():
            return records.scale_key(record.app, record.component, record.deployment)
        case RolloutState():
            return records.rollout_key(record.deployment)
        case ReleaseState():
            return records.release_key(record.virtual_environment)
        case ReleaseManifest():
            return records.manifest_key(record.virtual_environment, record.id)
    raise AssertionError(record)


def snapshot_of(*contents: Record) -> Snapshot:
    return Snapshot.empty().apply(
        Change(key=key_of(record), revision=at, record=record)
        for at, record in enumerate(contents, 1)
    )


def limits(snapshot: Snapshot, version: Version = API) -> tuple[int, int]:
    found = replicas_of_versions([version], usage_of(snapshot), DEFAULT)[version]
    return found.min, found.max


def test_without_a_declaration_the_default_applies() -> None:
    snapshot = snapshot_of(deployment("v1"))

    assert replicas_of_versions([API], usage_of(snapshot), DEFAULT) == {API: DEFAULT}


def test_the_declaration_in_the_code_applies() -> None:
    snapshot = snapshot_of(deployment("v1"), declared(Scale(min=2, max=3)))

    assert limits(snapshot) == (2, 3)


def test_an_override_of_a_component_applies_to_all_its_versions() -> None:
    snapshot = snapshot_of(deployment("v1"), deployment("v2", API2), override(Scale(min=2)))

    assert limits(snapshot, API) == limits(snapshot, API2) == (2, 2)


def test_an_override_of_another_app_does_not_apply() -> None:
    snapshot = snapshot_of(deployment("v1"), override(Scale(min=2), app="other"))

    assert limits(snapshot) == (0, 1)


def test_an_override_of_a_deployment_wins_over_that_of_the_component() -> None:
    snapshot = snapshot_of(
        deployment("v1"), override(Scale(min=4, max=4)), override(Scale(max=2), "v1")
    )

    assert limits(snapshot) == (2, 2)


def test_an_override_of_a_deployment_applies_to_its_version_only() -> None:
    snapshot = snapshot_of(deployment("v1"), deployment("v2", API2), override(Scale(min=3), "v1"))

    assert limits(snapshot, API) == (3, 3)
    assert limits(snapshot, API2) == (0, 1)


def test_shared_pods_are_enough_for_each_deployment() -> None:
    shared = (deployment("v1"), deployment("v2"), declared(Scale(min=2, max=2)))

    assert limits(snapshot_of(*shared, override(Scale(max=1), "v1"))) == (2, 2)
    assert limits(snapshot_of(*shared, override(Scale(max=5), "v1"))) == (2, 5)
    both = (override(Scale(max=1), "v1"), override(Scale(max=1), "v2"))
    assert limits(snapshot_of(*shared, *both)) == (1, 1)


def test_an_override_of_a_deployment_applies_to_its_rollout() -> None:
    old, new = deployment("v1"), deployment("v1", API2)
    rollout = begin(RolloutState(deployment="v1"), old, new, now_s=0, deadline_s=60)
    snapshot = snapshot_of(old, rollout, override(Scale(min=3), "v1"))

    assert limits(snapshot, API) == limits(snapshot, API2) == (3, 3)


def test_an_override_of_a_deployment_applies_to_what_a_release_froze_of_it() -> None:
    manifest = ReleaseManifest(
        id="r1",
        virtual_environment="here",
        deployments={"shop": deployment("v1", API2)},
        data=EnvironmentData(),
    )
    apps = {"shop": ReleasedApp(deployment="v1")}
    active = Release(id="r1", apps=apps, manifest="r1", requested_at_s=0)
    state = ReleaseState(virtual_environment="here", active=active)
    snapshot = snapshot_of(deployment("v1"), manifest, state, override(Scale(min=3), "v1"))

    assert limits(snapshot, API) == limits(snapshot, API2) == (3, 3)
