"""FOX_POD_TEMPLATE: what it may set, and how it reaches the pods."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubefox.errors import InvalidRequest
from pods.base import PodSpec
from pods.kubernetes import manifests
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.pod_template import parse_template

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
FIELDS: dict[str, Any] = {
    "nodeSelector": {"pool": "components"},
    "tolerations": [
        {"key": "pool", "operator": "Equal", "value": "components", "effect": "NoSchedule"},
        {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
    ],
    "affinity": {"podAffinity": {}},
    "priorityClassName": "low",
    "runtimeClassName": "gvisor",
    "schedulerName": "own",
    "imagePullSecrets": [{"name": "registry"}],
}


def pod(text: str) -> dict[str, Any]:
    settings = PodSettings(image="kubefox:1", template=parse_template(text))
    found: dict[str, Any] = manifests.deployment(SPEC, 2, settings)["spec"]["template"]["spec"]
    return found


def test_the_fields_of_the_template_are_added_to_those_of_the_platform() -> None:
    without = pod("")

    found = pod(msgspec.json.encode(FIELDS).decode())

    assert found == {**without, **FIELDS}


def test_the_pull_policy_is_that_of_the_container() -> None:
    (container,) = pod('{"imagePullPolicy": "Always"}')["containers"]
    (plain,) = pod("")["containers"]

    assert container == {**plain, "imagePullPolicy": "Always"}


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_without_a_field_pods_are_those_of_the_platform(text: str) -> None:
    assert pod(text) == pod("")
    assert "imagePullPolicy" not in pod(text)["containers"][0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("pool=a", "expected a JSON object: "),
        ('{"nodeSelector": {"a": "\udcff"}}', "expected a JSON object: "),
        ("[]", "Expected `object`, got `array`"),
        ('{"hostNetwork": true}', "unknown field `hostNetwork`"),
        ('{"containers": []}', "unknown field `containers`"),
        ('{"serviceAccountName": "admin"}', "unknown field `serviceAccountName`"),
        ('{"nodeSelector": {"gpu": true}}', "nodeSelector"),
        ('{"tolerations": [{"keys": "a"}]}', "tolerations[0]: "),
        ('{"imagePullSecrets": ["registry"]}', "imagePullSecrets[0]: "),
        ('{"imagePullPolicy": "always"}', "imagePullPolicy: "),
    ],
)
def test_a_template_that_is_not_valid_is_refused_with_its_fault(text: str, fault: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_template(text)

    assert str(caught.value).startswith(f"FOX_POD_TEMPLATE={text!r}: ")
    assert fault in str(caught.value)
