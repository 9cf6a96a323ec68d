"""A Deployment is up to date only if it is as its manifest says, and nobody has changed it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
import pytest

from pods.base import PodSpec
from pods.kubernetes.foreign_changes import ClusterDeployment
from pods.kubernetes.left_deployments import LeftDeployment, annotated
from pods.kubernetes.manifests import PodSettings, deployment
from pods.kubernetes.pod_template import PodTemplate

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
SETTINGS = PodSettings(image="i", environ={"A": "1"})
Object = dict[str, Any]


def manifest(
    replicas: int = 2, settings: PodSettings = SETTINGS, issuer: str = "server", salt: str = "s"
) -> Object:
    return annotated(deployment(SPEC, replicas, settings), issuer, salt)


def stored(written: Object) -> Object:
    """Return a Deployment as the API has it: with its defaults, and without empty fields."""
    found = deepcopy(written)
    found["metadata"]["generation"] = 4
    found["spec"]["progressDeadlineSeconds"] = 600
    pod = found["spec"]["template"]["spec"]
    pod["schedulerName"] = "default-scheduler"
    del pod["containers"][0]["resources"]["limits"]
    pod["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    return found


def left(found: Object) -> LeftDeployment:
    return LeftDeployment(msgspec.json.decode(msgspec.json.encode(found), type=ClusterDeployment))


def test_a_deployment_with_the_defaults_of_the_api_is_up_to_date() -> None:
    found = left(stored(manifest()))

    assert found.is_up_to_date(manifest())
    assert (found.replicas, found.generation, found.salt) == (2, 4, "s")


@pytest.mark.parametrize(
    "wanted",
    [
        manifest(settings=PodSettings(image="next", environ={"A": "1"})),
        manifest(settings=PodSettings(image="i")),
        manifest(issuer="another account"),
    ],
    ids=["image", "fewer variables", "issuer"],
)
def test_a_deployment_of_another_manifest_is_out_of_date(wanted: Object) -> None:
    assert not left(stored(manifest())).is_up_to_date(wanted)


def test_a_field_that_the_manifest_has_no_more_makes_it_out_of_date() -> None:
    template = PodTemplate(node_selector={"pool": "a"})
    before = manifest(settings=PodSettings(image="i", environ={"A": "1"}, template=template))

    assert not left(stored(before)).is_up_to_date(manifest())


@pytest.mark.parametrize("replicas", [0, 7])
def test_the_number_of_pods_and_the_salt_do_not_matter(replicas: int) -> None:
    found = left(stored(manifest(replicas)))

    assert found.is_up_to_date(manifest(1, salt="another"))
    assert found.replicas == replicas


def set_image(spec: Object) -> None:
    spec["template"]["spec"]["containers"][0]["image"] = "theirs"


def remove_security(spec: Object) -> None:
    del spec["template"]["spec"]["securityContext"]


def add_container(spec: Object) -> None:
    spec["template"]["spec"]["containers"].append({"name": "theirs"})


def set_strategy(spec: Object) -> None:
    spec["strategy"] = {"type": "Recreate"}


def mount_token(spec: Object) -> None:
    spec["template"]["spec"]["automountServiceAccountToken"] = True


@pytest.mark.parametrize(
    "change", [set_image, remove_security, add_container, set_strategy, mount_token]
)
def test_a_deployment_that_others_have_changed_is_out_of_date(
    change: Callable[[Object], None],
) -> None:
    found = stored(manifest())
    change(found["spec"])

    assert not left(found).is_up_to_date(manifest())


def test_a_deployment_without_annotations_is_out_of_date() -> None:
    found = stored(manifest())
    del found["metadata"]["annotations"]

    assert not left(found).is_up_to_date(manifest())
    assert left(found).salt == ""
