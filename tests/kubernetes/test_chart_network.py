"""The NetworkPolicies of the chart allow what the platform needs between its pods, and no more."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kubefox.distill import Version
from pods.kubernetes.manifests import labels
from tests.kubernetes.chart import Objects, Values, of_kind, rendered
from tests.kubernetes.network import Pod, is_allowed

SERVERS: Values = {"nats": {"server": {"enabled": True}}}
STRICT: Values = {**SERVERS, "networkPolicy": {"componentEgress": []}}
TLS: Values = {**SERVERS, "control": {"tls": {"secret": "control-tls"}}}
PARTS = ("control", "http", "adapters", "pods")
OUTSIDE = Pod({}, is_outside=True)
# A pod of another chart in the namespace.
FOREIGN = Pod({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "other"})
COMPONENT = Pod(labels(Version("shop", "api", "a" * 32)))


def pods_of(objects: Objects) -> dict[str, Pod]:
    """Return the pods of the platform and others, by their names."""
    found = {"component": COMPONENT, "foreign": FOREIGN, "outside": OUTSIDE}
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        template = each["spec"]["template"]
        (container,) = template["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        found[container["name"]] = Pod(template["metadata"]["labels"], ports)
    return found


def flows(objects: Objects) -> set[tuple[str, str, str]]:
    """Return what is allowed: the source, the target, and the name of its port."""
    policies, pods = of_kind(objects, "NetworkPolicy"), pods_of(objects)
    return {
        (source, target, name)
        for source, target in itertools.permutations(pods, 2)
        for name, port in pods[target].ports.items()
        if is_allowed(policies, pods[source], pods[target], port)
    }


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("values", [SERVERS, STRICT, TLS], ids=["default", "strict", "tls"])
def test_pods_reach_what_they_need_and_nothing_else(tmp_path: Path, values: Values) -> None:
    clients = {*PARTS, "component", "foreign", "outside", "nats"}
    if values is STRICT:
        # It reaches NATS and DNS alone.
        clients -= {"component"}
    needed = {(source, "nats", "nats") for source in (*PARTS, "component")}
    needed |= {(source, "http", "http") for source in clients - {"http"}}
    if values is TLS:
        needed |= {(source, "control", "control") for source in clients - {"control"}}

    assert flows(rendered(tmp_path, values)) == needed


@pytest.mark.usefixtures("cluster")
def test_the_servers_of_nats_reach_each_other(tmp_path: Path) -> None:
    objects = rendered(tmp_path, SERVERS)
    policies, server = of_kind(objects, "NetworkPolicy"), pods_of(objects)["nats"]

    reached = [
        name for name, port in server.ports.items() if is_allowed(policies, server, server, port)
    ]

    assert "routes" in reached
    assert "monitor" not in reached


@pytest.mark.usefixtures("cluster")
def test_only_named_clients_reach_http_if_some_are_named(tmp_path: Path) -> None:
    ingress = Pod({"app": "ingress"})
    peers = [{"podSelector": {"matchLabels": {"app": "ingress"}}}]

    objects = rendered(tmp_path, {**SERVERS, "networkPolicy": {"httpFrom": peers}})

    policies, http = of_kind(objects, "NetworkPolicy"), pods_of(objects)["http"]
    assert is_allowed(policies, ingress, http, http.ports["http"])
    assert not is_allowed(policies, OUTSIDE, http, http.ports["http"])
    assert not is_allowed(policies, COMPONENT, http, http.ports["http"])
