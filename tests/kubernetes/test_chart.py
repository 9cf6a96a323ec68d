"""The chart without the platform: helm accepts it, and the API accepts what it renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes import chart
from tests.kubernetes.account import CONTROL_RULES, RULES
from tests.kubernetes.chart import CHART, Values
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.platform import COMPONENTS, RESTRICTED

NATS: Values = {"nats": {"url": "nats://nats.example.com:4222"}}
TLS: Values = {"control": {"tls": {"secret": "control-tls", "allowedHosts": ["fox.example.com"]}}}
VALUES: dict[str, Values] = {
    "nats of your own": NATS,
    "servers of the chart": {"nats": {"server": {"enabled": True}}},
    "one server without a volume": {
        "nats": {"server": {"enabled": True, "replicas": 1, "storage": {"enabled": False}}}
    },
    "control with a certificate": {**NATS, **TLS},
    "much traffic": {
        **NATS,
        "http": {
            "autoscaling": {"enabled": True, "maxReplicas": 20},
            "service": {"type": "LoadBalancer", "annotations": {"example.com/zone": "a"}},
            "trustedProxies": ["10.0.0.0/8"],
        },
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "platform", "operator": "Exists"}],
    },
    "ingress": {
        **NATS,
        "http": {
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["shop.example.com"],
                "tls": [{"hosts": ["shop.example.com"], "secretName": "shop-tls"}],
            }
        },
    },
    "strict network": {
        **NATS,
        "networkPolicy": {
            "httpFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
            "componentEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
        },
    },
    "custom resources": {**NATS, "customResources": {"enabled": True, "secrets": ["shop"]}},
    "own account, image and settings": {
        **NATS,
        "image": {
            "repository": "registry.example.com/kubefox",
            "digest": f"sha256:{'0' * 64}",
            "pullSecrets": [{"name": "registry"}],
        },
        "serviceAccount": {"create": False, "name": "kubefox"},
        "settings": {"FOX_EVENT_TTL_S": 60},
        "podAnnotations": {"example.com/team": "shop"},
        "podDisruptionBudget": {"enabled": False},
    },
}
# Their kinds are not built in.
CUSTOM: dict[str, Values] = {
    "gateway": {**NATS, "http": {"route": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}},
    "monitor": {**NATS, **TLS, "metrics": {"serviceMonitor": {"enabled": True}}},
}
Objects = list[dict[str, Any]]


def rendered(folder: Path, values: Values, namespace: str = "default") -> Objects:
    documents = yaml.safe_load_all(chart.template(folder, values, namespace))
    return [document for document in documents if document]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [each for each in objects if each["kind"] in kinds]


@pytest.mark.usefixtures("cluster")
def test_helm_finds_no_fault(tmp_path: Path) -> None:
    values = ("--set", "nats.url=nats://nats.example.com:4222")

    said = chart.helm(tmp_path, "lint", "--strict", str(CHART), *values)

    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("name", VALUES)
def test_the_api_accepts_what_the_chart_makes(
    cluster: LabCluster, namespace: str, tmp_path: Path, name: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, RESTRICTED)
    text = chart.template(tmp_path, VALUES[name], namespace)

    # An unknown field is an error by --validate=strict, and a warning is one of Pod Security.
    done = cluster.kubectl_with_warnings(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"),
        *("--namespace", namespace),
        stdin=text,
    )

    assert "Warning" not in done.warnings
    assert len(done.output.splitlines()) == len([each for each in yaml.safe_load_all(text) if each])


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", CUSTOM)
def test_objects_of_other_projects_are_made_on_request(tmp_path: Path, name: str) -> None:
    with_them = rendered(tmp_path, CUSTOM[name])

    kinds = {each["kind"] for each in with_them}
    assert kinds & {"HTTPRoute", "ServiceMonitor"}


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nats.url is required"),
        ({**NATS, "nat": {}}, "nat"),
        ({"nats": {"url": "http://nats"}}, "url"),
        ({**NATS, "http": {"replicas": 0}}, "replicas"),
        ({**NATS, "http": {"selection": "all"}}, "selection"),
        ({**NATS, "metrics": {"serviceMonitor": {"enabled": True}}}, "control.tls.secret"),
        ({**NATS, "serviceAccount": {"create": False}}, "serviceAccount.name is required"),
    ],
)
def test_values_that_cannot_work_are_refused(tmp_path: Path, values: Values, message: str) -> None:
    said = chart.template(tmp_path, values, succeeds=False)

    assert message in said


@pytest.mark.usefixtures("cluster")
def test_only_the_pod_runner_has_rights_and_they_are_the_documented_ones(tmp_path: Path) -> None:
    objects = rendered(tmp_path, NATS)

    (role,) = of_kind(objects, "Role")
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] == "Deployment"
    }
    assert role["rules"] == RULES
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    with_token = [name for name, spec in pods.items() if spec["automountServiceAccountToken"]]
    assert with_token == ["kubefox-pods"]


@pytest.mark.usefixtures("cluster")
def test_control_reads_only_the_named_secrets_for_custom_resources(tmp_path: Path) -> None:
    objects = rendered(tmp_path, VALUES["custom resources"])

    roles = {each["metadata"]["name"]: each["rules"] for each in of_kind(objects, "Role")}
    *others, secrets = CONTROL_RULES
    assert roles["kubefox-control"] == [*others, {**secrets, "resourceNames": ["shop"]}]
    assert roles["kubefox-pods"] == RULES


@pytest.mark.usefixtures("cluster")
def test_no_object_of_the_chart_is_taken_for_one_of_a_component(tmp_path: Path) -> None:
    name, _, value = COMPONENTS.partition("=")

    for values in VALUES.values():
        for each in rendered(tmp_path, values):
            assert each["metadata"]["labels"][name] != value


@pytest.mark.usefixtures("cluster")
def test_each_part_has_a_budget_and_a_policy(tmp_path: Path) -> None:
    objects = rendered(tmp_path, VALUES["servers of the chart"])

    parts = of_kind(objects, "Deployment", "StatefulSet")
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        limited = {each["metadata"]["name"] for each in of_kind(objects, kind)}
        assert {part["metadata"]["name"] for part in parts} <= limited


def test_the_chart_has_the_version_of_the_platform() -> None:
    project = (CHART.parent.parent / "pyproject.toml").read_text()
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert f'version = "{about["appVersion"]}"' in project
