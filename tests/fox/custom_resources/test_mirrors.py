"""Which mirrors show a record, and what they show; test_mirrors of tests/kubernetes writes them."""

from __future__ import annotations

from fox.custom_resources.mirrors import _mirror_of, all_mirrors, mirrors_of
from kubefox.custom_resources import APP_DEPLOYMENT, RELEASE_MANIFEST
from kubefox.records import deployment_key, manifest_key, release_key, rollout_key
from tests.control.releasing import deploy_apps, deploy_v3
from tests.support.control_plane import Plane


async def test_each_record_is_shown_by_the_mirrors_of_its_object(plane: Plane) -> None:
    await deploy_apps(plane, "team-a", "team-b")
    await deploy_v3(plane)
    request = plane.control.releases.request
    active = (await request("team-a", "order-app-v1")).object.active
    pending = (await request("team-a", "order-app-v3")).object.pending
    await request("team-b", "order-app-v1")
    assert active is not None
    assert pending is not None
    snapshot = plane.store.snapshot

    def names(record: str) -> set[str]:
        return {key.name for key in mirrors_of(record, snapshot)}

    assert names(deployment_key("order-app-v1")) == {"order-app-v1"}
    assert names(rollout_key("order-app-v1")) == {"order-app-v1"}
    assert names(manifest_key("team-a", active.id)) == {f"team-a-{active.id}"}
    assert names(release_key("team-a")) == {f"team-a-{active.id}", f"team-a-{pending.id}"}
    assert names(release_key("gone")) == set()
    assert names("environment.dev") == set()
    shown = {key for key in all_mirrors(snapshot) if key.kind is APP_DEPLOYMENT}
    assert {key.name for key in shown} == set(snapshot.deployments)
    manifests = [key for key in all_mirrors(snapshot) if key.kind is RELEASE_MANIFEST]
    assert len(manifests) == 3
    assert all(_mirror_of(key, snapshot) for key in manifests)


async def test_a_manifest_shows_its_apps_and_none_of_its_values(plane: Plane) -> None:
    await deploy_apps(plane)
    await plane.control.releases.request("team-a", "order-app-v1")
    [key] = [key for key in all_mirrors(plane.store.snapshot) if key.kind is RELEASE_MANIFEST]

    mirror = _mirror_of(key, plane.store.snapshot)

    assert mirror is not None
    assert mirror.ready.reason == "Active"
    assert mirror.spec["apps"] == {"order-app": {"appDeployment": "order-app-v1", "version": "v1"}}
    assert set(mirror.spec) == {"virtualEnvironment", "release", "apps"}


async def test_a_mirror_of_nothing_shows_nothing(plane: Plane) -> None:
    await deploy_apps(plane)
    [first, *_] = all_mirrors(plane.store.snapshot)

    for name in ("gone", "team-a", "team-a-20260101-120000-000-4f2a"):
        for kind in (APP_DEPLOYMENT, RELEASE_MANIFEST):
            key = first._replace(kind=kind, name=name)
            assert _mirror_of(key, plane.store.snapshot) is None
