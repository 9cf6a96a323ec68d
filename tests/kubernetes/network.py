"""The rules of NetworkPolicies: whether they allow a pod to reach a port of another pod.

Those of ``networking.k8s.io/v1`` for pods of one namespace. What a network does with policies is up
to its plugin, and cannot be seen here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]


class Pod(NamedTuple):
    """A pod, or a client outside the cluster.

    Attributes:
        labels: Of the pod; empty outside the cluster.
        ports: Numbers of its ports by their names.
        is_outside: Whether it is outside the cluster.
    """

    labels: Mapping[str, str]
    ports: Mapping[str, int] = {}
    is_outside: bool = False


def is_allowed(policies: Iterable[Object], source: Pod, target: Pod, port: int) -> bool:
    """Return whether a source may open a connection (TCP) to a port of a target."""
    specs = [policy["spec"] for policy in policies]
    return _passes(specs, "Ingress", target, source, target, port) and _passes(
        specs, "Egress", source, target, target, port
    )


def _passes(
    specs: Iterable[Object], way: str, limited: Pod, peer: Pod, target: Pod, port: int
) -> bool:
    if limited.is_outside:
        return True
    limits = [
        spec
        for spec in specs
        if way in spec["policyTypes"] and _selects(spec["podSelector"], limited.labels)
    ]
    # What no policy selects is not limited; else one rule of any of them must fit.
    rules = [rule for spec in limits for rule in spec.get(way.lower(), ())]
    peers = "from" if way == "Ingress" else "to"
    return not limits or any(
        _has_port(rule.get("ports"), target, port) and _has_peer(rule.get(peers), peer)
        for rule in rules
    )


def _has_port(ports: list[Object] | None, target: Pod, port: int) -> bool:
    return not ports or any(
        each.get("protocol", "TCP") == "TCP"
        and port == (each["port"] if isinstance(each["port"], int) else target.ports[each["port"]])
        for each in ports
    )


def _has_peer(peers: list[Object] | None, peer: Pod) -> bool:
    return not peers or any(
        # A selector of pods alone is one for the namespace of the policy.
        not peer.is_outside
        and "podSelector" in each
        and "namespaceSelector" not in each
        and _selects(each["podSelector"], peer.labels)
        for each in peers
    )


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        _fits(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def _fits(expression: Object, labels: Mapping[str, str]) -> bool:
    assert expression["operator"] == "In", "the chart uses no other operator"
    return labels.get(expression["key"]) in expression["values"]
