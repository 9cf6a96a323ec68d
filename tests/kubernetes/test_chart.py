"""The chart without the platform: helm accepts it, and the API accepts what it renders."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from pods.kubernetes.pod_template import parse_template
from tests.kubernetes import chart
from tests.kubernetes.account import CONTROL_RULES, RULES
from tests.kubernetes.any_cluster import AnyCluster
from tests.kubernetes.chart import CHART, Values, environment, of_kind, rendered
from tests.kubernetes.platform import COMPONENTS, RESTRICTED

NATS: Values = {"nats": {"url": "nats://nats.example.com:4222"}}
TLS: Values = {"control": {"tls": {"secret": "control-tls", "allowedHosts": ["fox.example.com"]}}}
PLACEMENT: Values = {
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    ],
}
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
        **PLACEMENT,
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


@pytest.mark.usefixtures("cluster")
def test_helm_finds_no_fault(tmp_path: Path) -> None:
    values = ("--set", "nats.url=nats://nats.example.com:4222")

    said = chart.helm(tmp_path, "lint", "--strict", str(CHART), *values)

    assert "0 chart(s) failed" in said


@pytest.mark.parametrize("name", VALUES)
def test_the_api_accepts_what_the_chart_makes(
    cluster: AnyCluster, namespace: str, tmp_path: Path, name: str
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
def test_a_monitor_asks_each_replica_for_metrics_that_one_of_them_returns(tmp_path: Path) -> None:
    (monitor,) = of_kind(rendered(tmp_path, CUSTOM["monitor"]), "ServiceMonitor")

    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["path"], endpoint["params"]) == ("/metrics", {"leader_only": ["true"]})


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
        ({**NATS, "http": {"route": {"enabled": True}}}, "http.route.parentRefs is required"),
    ],
)
def test_values_that_cannot_work_are_refused(tmp_path: Path, values: Values, message: str) -> None:
    said = chart.template(tmp_path, values, succeeds=False)

    assert message in said


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "name",
    [
        *("kubefox-keys", "kubefox-nats", "kubefox-nats-servers"),
        *("control-tls", "kubefox-metrics", "registry"),
    ],
)
def test_resources_get_no_secret_of_the_platform_itself(tmp_path: Path, name: str) -> None:
    values = {
        **NATS,
        **TLS,
        "image": {"pullSecrets": [{"name": "registry"}]},
        "customResources": {"enabled": True, "secrets": ["shop", name]},
    }

    said = chart.template(tmp_path, values, succeeds=False)

    assert f"customResources.secrets has {name}, a Secret of the platform itself" in said


@pytest.mark.usefixtures("cluster")
def test_settings_of_a_part_win_whatever_their_values_are(tmp_path: Path) -> None:
    common = {"FOX_TELEMETRY": True, "FOX_BODY_LIMIT_BYTES": 15_242_880, "FOX_TRACE_RATIO": 0.5}
    own = {"FOX_TELEMETRY": False, "FOX_HOLD_S": 0, "FOX_LOG_FORMAT": ""}

    objects = rendered(tmp_path, {**NATS, "settings": common, "http": {"settings": own}})

    http, control = environment(objects, "http"), environment(objects, "control")
    assert {name: http[name] for name in own} == {
        "FOX_TELEMETRY": "false",
        "FOX_HOLD_S": "0",
        "FOX_LOG_FORMAT": "",
    }
    assert {name: control[name] for name in common} == {
        "FOX_TELEMETRY": "true",
        "FOX_BODY_LIMIT_BYTES": "15242880",
        "FOX_TRACE_RATIO": "0.5",
    }


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("is_on", [True, False])
def test_the_audit_log_goes_to_the_log_collector_unless_it_is_turned_off(
    tmp_path: Path, is_on: bool
) -> None:
    values = NATS if is_on else {**NATS, "control": {"audit": {"stdout": False}}}

    control = environment(rendered(tmp_path, values), "control")

    assert control["FOX_AUDIT_STDOUT"] == str(is_on).lower()


@pytest.mark.usefixtures("cluster")
def test_pods_of_components_run_where_the_parts_run(tmp_path: Path) -> None:
    image = {"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}

    objects = rendered(tmp_path, {**NATS, **PLACEMENT, "image": image})

    template = parse_template(environment(objects, "pods")["FOX_POD_TEMPLATE"])
    expected = {**PLACEMENT, "imagePullSecrets": image["pullSecrets"]}
    assert template.pod_fields() == expected
    assert template.container_fields() == {"imagePullPolicy": "Always"}
    for part in of_kind(objects, "Deployment"):
        spec = part["spec"]["template"]["spec"]
        assert {name: spec[name] for name in expected} == expected


@pytest.mark.usefixtures("cluster")
def test_components_name_images_of_the_listed_repositories_alone(tmp_path: Path) -> None:
    image = {"componentRepositories": ["registry.example/team", "localhost:5000"]}

    without = environment(rendered(tmp_path, NATS), "pods")
    listed = environment(rendered(tmp_path, {**NATS, "image": image}), "pods")

    assert "FOX_POD_IMAGE_REPOSITORIES" not in without
    assert listed["FOX_POD_IMAGE_REPOSITORIES"] == "registry.example/team,localhost:5000"


@pytest.mark.usefixtures("cluster")
def test_the_template_of_component_pods_can_be_another_one(tmp_path: Path) -> None:
    own = '{"nodeSelector": {"pool": "components"}}'
    values = {**NATS, **PLACEMENT, "pods": {"settings": {"FOX_POD_TEMPLATE": own}}}

    template = environment(rendered(tmp_path, values), "pods")["FOX_POD_TEMPLATE"]

    assert msgspec.json.decode(template) == msgspec.json.decode(own)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("nats", "ports"),
    [
        ({"url": "nats://a.example.com:4222"}, [4222]),
        ({"url": "tls://a.example.com:14222,tls://b.example.com:24222"}, [14222, 24222]),
        ({"url": "nats://a:4333/,nats://b:4333"}, [4333]),
        ({"url": "nats://a.example.com,nats://[2001:db8::4223]"}, [4222]),
        ({"url": "nats://[2001:db8::1]:4333"}, [4333]),
        ({"server": {"enabled": True, "port": 5222}}, [5222]),
    ],
)
def test_components_with_limited_egress_reach_every_port_of_nats(
    tmp_path: Path, nats: Values, ports: list[int]
) -> None:
    values = {"nats": nats, "networkPolicy": {"componentEgress": []}}

    objects = rendered(tmp_path, values)

    (policy,) = (
        each
        for each in of_kind(objects, "NetworkPolicy")
        if each["metadata"]["name"] == "kubefox-components"
    )
    _dns, to_nats = policy["spec"]["egress"]
    assert to_nats == {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}


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
