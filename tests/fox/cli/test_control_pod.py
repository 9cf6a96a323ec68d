from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fox.cli.support.control_client import NoPlatform
from fox.cli.support.control_pod import ControlPod, PodList, choose
from fox.cli.support.kubectl import KubeTarget
from kubefox.errors import InvalidRequest

TARGET = KubeTarget("kind-shop", "kubefox")


def pod(name: str, *, ready: str = "True", release: str = "kubefox", **env: Any) -> dict[str, Any]:
    """Return a pod of control as the API sends it."""
    variables = [{"name": key, "value": value} for key, value in env.items()]
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    main = {"name": "control", "command": ["fox", "serve", "control"], "env": [address, *variables]}
    return {
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/instance": release},
            "creationTimestamp": f"2026-12-01T00:00:0{name[-1]}Z",
        },
        "spec": {"containers": [main]},
        "status": {
            "phase": "Running",
            "podIP": "10.1.0.7",
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def chosen(*pods: dict[str, Any]) -> ControlPod:
    return choose(TARGET, msgspec.convert({"items": [*pods]}, PodList).items)


def test_the_newest_ready_pod_is_chosen() -> None:
    deleted = pod("control-3")
    deleted["metadata"]["deletionTimestamp"] = "2026-12-01T00:01:00Z"

    found = chosen(pod("control-1"), pod("control-2"), deleted, pod("control-4", ready="False"))

    assert found.name == "control-2"


@pytest.mark.parametrize(
    ("env", "address", "url"),
    [
        ({}, "127.0.0.1", "http://127.0.0.1:8081"),
        ({"FOX_CONTROL_PORT": "9"}, "127.0.0.1", "http://127.0.0.1:9"),
        ({"FOX_CONTROL_HOST": "127.0.0.1"}, "127.0.0.1", "http://127.0.0.1:8081"),
        ({"FOX_CONTROL_HOST": "localhost"}, "127.0.0.1", "http://127.0.0.1:8081"),
        ({"FOX_CONTROL_HOST": "::1"}, "::1", "http://[::1]:8081"),
        ({"FOX_CONTROL_HOST": "$(POD_IP)"}, "10.1.0.7", "http://10.1.0.7:8081"),
    ],
)
def test_the_variables_of_the_pod_say_where_its_control_api_listens(
    env: dict[str, str], address: str, url: str
) -> None:
    found = chosen(pod("control-1", **env))

    assert (found.address, found.url) == (address, url)


@pytest.mark.parametrize(
    ("names", "server"),
    [
        ("a-control,a-control.shop,a-control.shop.svc,fox.example.com", "a-control.shop.svc"),
        ("fox.example.com", "fox.example.com"),
        ("", "localhost"),
    ],
)
def test_the_certificate_must_have_the_name_of_the_service(names: str, server: str) -> None:
    env = {"FOX_CONTROL_HOST": "::", "FOX_CONTROL_TLS_CERT": "/etc/tls.crt"}

    found = chosen(pod("control-1", FOX_CONTROL_ALLOWED_HOSTS=names, **env))

    assert found.url == f"https://{server}:8081"
    assert found.address == "127.0.0.1"


def test_a_pod_of_another_program_with_the_same_label_is_not_control() -> None:
    other = pod("control-2")
    other["spec"]["containers"][0]["command"] = ["crossplane"]
    image_alone = pod("control-3")
    del image_alone["spec"]["containers"][0]["command"]

    assert chosen(pod("control-1"), other, image_alone).name == "control-1"
    with pytest.raises(NoPlatform, match="namespace kubefox of context kind-shop has no pod of"):
        chosen(other, image_alone)


def test_pods_that_are_not_ready_are_named() -> None:
    with pytest.raises(NoPlatform, match=r"control-1 \(Running\), control-2 \(Running\); see .*"):
        chosen(pod("control-1", ready="False"), pod("control-2", ready="False"))


def test_two_platforms_in_a_namespace_are_an_error_that_names_their_releases() -> None:
    with pytest.raises(InvalidRequest, match="the Helm releases kubefox, next: reach one"):
        chosen(pod("control-1"), pod("control-2", release="next"))
