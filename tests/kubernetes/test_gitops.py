"""Custom resources on a real API, as Flux and Argo CD use them: health, no drift, pruning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.control.releasing import API, UI
from tests.kubernetes.kstatus import kstatus
from tests.kubernetes.resources import (
    Applying,
    Object,
    Resources,
    environment,
    http_adapter,
    virtual_environment,
)
from tests.support.control_plane import Plane, pods_of

KINDS = ("environment", "ve", "httpadapter")
# As the kustomize-controller of Flux applies, and Argo CD with ServerSideApply=true.
SERVER_SIDE = ("--server-side", "--field-manager=kustomize-controller", "--force-conflicts")


def app() -> list[Object]:
    """Return a resource of each kind, with fields that have defaults and without."""
    return [
        environment(data={"vars": {"list": ["a", 1], "share": 0.5}}),
        virtual_environment(spec={"releasePolicy": {"type": "Testing"}}),
        http_adapter(headers={"x-api": "a"}),
    ]


def written(folder: Path, *manifests: Object) -> str:
    """Write manifests into a file, and return the option of kubectl that names it."""
    file = folder / "manifests.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    return f"--filename={file}"


async def state(resources: Resources) -> list[dict[str, Any]]:
    """Return all resources as they are, without the notes about who has written which field."""
    text = await resources.kubectl("get", ",".join(KINDS), "--output=json")
    return [_bare(item) for item in json.loads(text)["items"]]


def _bare(resource: Object) -> Object:
    meta = {key: value for key, value in resource["metadata"].items() if key != "managedFields"}
    return {**resource, "metadata": meta}


async def health(resources: Resources, kind: str, name: str) -> str:
    found = await resources.get(kind, name)
    assert found is not None
    return kstatus(found)


async def wait_ready(resources: Resources) -> None:
    for kind, name in zip(KINDS, ("dev", "team-a", "mail"), strict=True):
        await resources.wait_condition(kind, name, "Ready", "Applied")


async def test_a_resource_is_current_only_while_the_platform_has_its_generation(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    await resources.apply(environment())
    new = await health(resources, "environment", "dev")
    async with resources.applied(plane, tmp_path / "one"):
        await resources.wait_condition("environment", "dev", "Ready", "Applied")
        applied = await health(resources, "environment", "dev")
    await resources.apply(environment(data={"vars": {"a": 1}}))
    changed = await health(resources, "environment", "dev")
    async with resources.applied(plane, tmp_path / "two"):
        await resources.wait_condition("environment", "dev", "Ready", "Applied")
        again = await health(resources, "environment", "dev")

    assert (new, applied, changed, again) == ("InProgress", "Current", "InProgress", "Current")


async def test_a_resource_has_failed_only_if_nothing_but_its_change_helps(
    applying: Applying, resources: Resources
) -> None:
    await resources.apply(virtual_environment(), environment("bad", data={"vars": {"a": {"b": 1}}}))
    await resources.wait_condition("ve", "team-a", "Ready", "ProblemsFound")
    await resources.wait_condition("environment", "bad", "Stalled", "Invalid")
    waits = await health(resources, "ve", "team-a")
    failed = await health(resources, "environment", "bad")

    await resources.apply(environment(), environment("bad"))
    await resources.wait_condition("ve", "team-a", "Ready", "Applied")
    await resources.wait_condition("environment", "bad", "Ready", "Applied")

    assert (waits, failed) == ("InProgress", "Failed")
    assert await health(resources, "ve", "team-a") == "Current"
    assert await health(resources, "environment", "bad") == "Current"


async def test_a_release_is_current_when_it_is_active(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.deploy("order-app-v1", UI, API, version="v1")
    release = {"apps": {"order-app": {"appDeployment": "order-app-v1", "version": "v1"}}}
    values = {"vars": {"subPath": "a"}}
    await resources.apply(
        environment(), virtual_environment(data=values, spec={"release": release})
    )
    await resources.wait_condition("ve", "team-a", "Ready", "ReleasePending")
    pending = await health(resources, "ve", "team-a")
    await plane.publish(*pods_of(UI, API))
    async with plane.control.activator:
        await resources.wait_condition("ve", "team-a", "Ready", "Released")
        active = await health(resources, "ve", "team-a")
        await plane.control.releases.request_apps("team-a", {})
        await resources.wait_condition("ve", "team-a", "Ready", "ReleaseReplaced")
        replaced = await health(resources, "ve", "team-a")

    assert (pending, active, replaced) == ("InProgress", "Current", "Failed")


@pytest.mark.parametrize("options", [SERVER_SIDE, ()], ids=["server-side", "client-side"])
async def test_applied_resources_do_not_drift(
    applying: Applying, resources: Resources, tmp_path: Path, options: tuple[str, ...]
) -> None:
    manifests = written(tmp_path, *app())
    await resources.kubectl("apply", manifests, *options)
    await wait_ready(resources)
    before = await state(resources)

    # kubectl diff fails if there is a difference.
    await resources.kubectl("diff", manifests, *options)
    dry_run = await resources.kubectl(
        "apply", manifests, *options, "--dry-run=server", "--output=json"
    )
    await resources.kubectl("apply", manifests, *options)

    assert sorted(map(_name, json.loads(dry_run)["items"])) == sorted(map(_name, before))
    # The resource version too: nothing was written, and nothing is applied again.
    assert {_name(item): _bare(item) for item in json.loads(dry_run)["items"]} == {
        _name(item): item for item in before
    }
    assert await state(resources) == before
    assert all(kstatus(item) == "Current" for item in before)


def _name(resource: Object) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


async def test_what_is_no_longer_in_git_is_pruned_in_any_order(
    applying: Applying, resources: Resources, plane: Plane, tmp_path: Path
) -> None:
    label = {"kustomize.toolkit.fluxcd.io/name": "shop"}
    labelled = [{**each, "metadata": {**each["metadata"], "labels": label}} for each in app()]
    await resources.kubectl("apply", written(tmp_path, *labelled))
    await resources.apply(environment("other"))
    await wait_ready(resources)
    group = "kubefox.xigxog.io/v1alpha1"
    allowed = ("Environment", "VirtualEnvironment", "HTTPAdapter")

    # The environment is still in use when its deletion begins.
    await resources.kubectl(
        *("apply", written(tmp_path, labelled[2]), "--prune"),
        "--selector=kustomize.toolkit.fluxcd.io/name=shop",
        *(f"--prune-allowlist={group}/{kind}" for kind in allowed),
    )
    await resources.wait_gone("ve", "team-a")
    await resources.wait_gone("environment", "dev")

    assert [_name(item) for item in await state(resources)] == [
        "Environment/other",
        "HTTPAdapter/mail",
    ]
    assert plane.store.snapshot.environments.keys() == {"other"}
    assert plane.store.snapshot.http_adapters.keys() == {"mail"}


async def test_a_deletion_in_the_foreground_keeps_to_the_finalizers_of_others(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    foreign = "example.com/protection"
    await resources.apply(*app())
    await wait_ready(resources)
    found = await resources.get("ve", "team-a")
    assert found is not None
    finalizers = [*found["metadata"]["finalizers"], foreign]
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    await resources.kubectl("patch", "ve", "team-a", "--type=merge", f"--patch={patch}")

    cascade = ("--cascade=foreground", "--wait=false")
    await resources.kubectl("delete", "environment/dev", "ve/team-a", "httpadapter/mail", *cascade)

    def is_left_to_others(found: Object | None) -> bool:
        return found is not None and found["metadata"]["finalizers"] == [foreign]

    left = await resources.wait("ve", "team-a", is_left_to_others)
    terminating = kstatus(left)
    await resources.wait_gone("environment", "dev")
    await resources.kubectl(
        "patch", "ve", "team-a", "--type=merge", '--patch={"metadata":{"finalizers":null}}'
    )
    for kind, name in (("ve", "team-a"), ("httpadapter", "mail")):
        await resources.wait_gone(kind, name)

    assert terminating == "Terminating"
    assert not plane.store.snapshot.virtual_environments
    assert not plane.store.snapshot.environments
