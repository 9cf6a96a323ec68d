"""Service accounts with the rights that docs/operations/kubernetes.md names, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pods.kubernetes.cluster import Cluster
from tests.kubernetes.any_cluster import AnyCluster

ACCOUNT = "kubefox"
RULES: list[dict[str, list[str]]] = [
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": ["list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch", "delete"]},
    {
        "apiGroups": ["policy"],
        "resources": ["poddisruptionbudgets"],
        "verbs": ["create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


RESOURCES = ("environments", "virtualenvironments", "httpadapters")
MIRRORS = ("appdeployments", "releasemanifests")
CONTROL_RULES: list[dict[str, list[str]]] = [
    {
        "apiGroups": ["kubefox.xigxog.io"],
        "resources": [*RESOURCES],
        "verbs": ["list", "watch", "patch"],
    },
    {
        "apiGroups": ["kubefox.xigxog.io"],
        "resources": [f"{name}/status" for name in (*RESOURCES, *MIRRORS)],
        "verbs": ["patch"],
    },
    {
        "apiGroups": ["kubefox.xigxog.io"],
        "resources": [*MIRRORS],
        "verbs": ["list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
]


def make_account(
    cluster: AnyCluster,
    namespace: str,
    rules: Sequence[Mapping[str, list[str]]] = RULES,
    name: str = ACCOUNT,
) -> str:
    """Make an account in a namespace, and return a token of it once its rights are in force."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    cluster.apply(
        namespace,
        _object("v1", "ServiceAccount", name),
        _object("rbac.authorization.k8s.io/v1", "Role", name, rules=rules),
        _object(
            "rbac.authorization.k8s.io/v1", "RoleBinding", name, roleRef=role, subjects=[subject]
        ),
    )
    user = f"system:serviceaccount:{namespace}:{name}"
    cluster.wait(lambda: _may(cluster, namespace, user, rules[-1]))
    return cluster.kubectl("create", "token", name, "--namespace", namespace).strip()


def write_kubeconfig(login: Cluster, folder: Path) -> Path:
    """Write a kubeconfig for a login, and return its path. This blocks."""
    authority = folder / "ca.crt"
    authority.write_text(login.ca_pem)
    cluster = {"server": login.server, "certificate-authority": str(authority)}
    context = {"cluster": "lab", "user": "account", "namespace": login.namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "account", "user": {"token": login.token}}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _may(cluster: AnyCluster, namespace: str, user: str, rule: Mapping[str, list[str]]) -> bool:
    resource, _, subresource = rule["resources"][0].partition("/")
    action = {
        "namespace": namespace,
        "group": rule["apiGroups"][0],
        "resource": resource,
        "subresource": subresource,
        "verb": rule["verbs"][-1],
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": action},
    }
    arguments = ("create", "--filename=-", "--output=json")
    answer = json.loads(cluster.kubectl(*arguments, stdin=json.dumps(review)))
    return bool(answer["status"]["allowed"])


def _object(version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}
