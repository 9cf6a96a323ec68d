"""The objects of a component version in a cluster."""

from __future__ import annotations

import base64
import math
from typing import Any

import pytest

from kubefox.distill import Version
from pods.base import PodSpec
from pods.kubernetes import manifests
from pods.kubernetes.manifests import PodSettings

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
SETTINGS = PodSettings(image="kubefox:1", grace_s=20)


def pod(settings: PodSettings = SETTINGS) -> dict[str, Any]:
    found: dict[str, Any] = manifests.deployment(SPEC, 2, settings)["spec"]["template"]["spec"]
    return found


def container(settings: PodSettings = SETTINGS) -> dict[str, Any]:
    (found,) = pod(settings)["containers"]
    assert isinstance(found, dict)
    return found


def environment(settings: PodSettings = SETTINGS) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container(settings)["env"]}


def test_a_deployment_is_named_and_labelled_by_its_version() -> None:
    found = manifests.deployment(SPEC, 2, SETTINGS)

    name = found["metadata"]["name"]
    assert name.startswith("api-aaaaaaaaaaaa-")
    assert found["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "kubefox",
        "kubefox.io/workload": name,
        "kubefox.io/app": "shop",
        "kubefox.io/component": "api",
        "kubefox.io/hash": "a" * 32,
    }
    assert found["spec"]["selector"]["matchLabels"] == {"kubefox.io/workload": name}
    assert found["spec"]["replicas"] == 2


def test_equal_code_of_two_apps_has_two_names() -> None:
    names = {
        manifests.workload_name(Version(app, component, "a" * 32))
        for app in ("shop", "mail")
        for component in ("api", "web")
    }

    assert len(names) == 4


@pytest.mark.parametrize("component", ["a" * 63, "a" * 29 + "-" + "b" * 30])
def test_the_name_of_a_pod_is_a_valid_host_name_however_long_the_component_is(
    component: str,
) -> None:
    name = manifests.workload_name(Version("shop", component, "a" * 32))

    assert len(f"{name}-0123456789-01234") <= 63
    assert "--" not in name


def test_a_pod_may_do_what_the_restricted_standard_allows() -> None:
    found = pod()

    assert found["automountServiceAccountToken"] is False
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize(("grace_s", "seconds"), [(0.1, 1), (20, 20), (20.5, 21)])
def test_the_grace_time_is_that_of_the_platform_in_whole_seconds(
    grace_s: float, seconds: int
) -> None:
    found = pod(PodSettings(image="i", grace_s=grace_s))

    assert found["terminationGracePeriodSeconds"] == seconds


def test_the_login_is_in_a_secret_and_not_in_the_deployment() -> None:
    secret = manifests.secret(SPEC.version, b"s3cret")

    assert base64.b64decode(secret["data"]["login.json"]) == b"s3cret"
    (volume,) = [each for each in pod()["volumes"] if "secret" in each]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]


def test_text_that_kubernetes_would_replace_stays_as_it_is() -> None:
    settings = PodSettings(image="i", environ={"PRICE": "$(FOX_POD)$"}, command=("run", "$(A)"))

    assert environment(settings)["PRICE"] == "$$(FOX_POD)$$"
    assert container(settings)["args"] == ["run", "$$(A)"]


@pytest.mark.parametrize(
    ("limit", "requested", "limits"),
    [
        (0, "96Mi", {}),
        (64 << 20, "64Mi", {"memory": "64Mi"}),
        (2 << 30, "96Mi", {"memory": "2Gi"}),
        ((64 << 20) + 1, "67108865", {"memory": "67108865"}),
    ],
)
def test_a_pod_requests_no_more_memory_than_it_may_use(
    limit: int, requested: str, limits: dict[str, str]
) -> None:
    found = container(PodSettings(image="i", memory_bytes=limit))["resources"]

    assert found["requests"]["memory"] == requested
    assert found["limits"] == limits


def test_a_pod_is_watched_only_if_the_platform_watches_pods() -> None:
    watched = PodSettings(image="i", alive_s=9.5)

    assert SETTINGS.alive_s == math.inf
    assert "livenessProbe" not in container()
    assert "FOX_BEAT_S" not in environment()
    assert container(watched)["livenessProbe"]["exec"]["command"][-1].endswith("-lt 10")
    assert {"FOX_BEAT_S", "FOX_IDLE_BEAT_S"} <= environment(watched).keys()


def test_one_probe_that_fails_on_a_busy_node_restarts_no_container() -> None:
    probe = container(PodSettings(image="i", alive_s=9.5))["livenessProbe"]

    assert probe["failureThreshold"] == 2
