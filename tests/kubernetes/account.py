"""A service account with the rights that docs/operations/kubernetes.md names, and no others."""

from __future__ import annotations

import json
from typing import Any

from tests.kubernetes.lab_cluster import LabCluster

ACCOUNT = "kubefox"
RULES = [
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": ["list", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch", "delete"]},
]


def make_account(cluster: LabCluster, namespace: str) -> str:
    """Make the account in a namespace, and return a token of it once its rights are in force."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    cluster.apply(
        namespace,
        _object("v1", "ServiceAccount"),
        _object("rbac.authorization.k8s.io/v1", "Role", rules=RULES),
        _object("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=[subject]),
    )
    cluster.wait(lambda: _may_delete_pods(cluster, namespace))
    return cluster.kubectl("create", "token", ACCOUNT, "--namespace", namespace).strip()


def _may_delete_pods(cluster: LabCluster, namespace: str) -> bool:
    action = {"namespace": namespace, "verb": "delete", "resource": "pods"}
    user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": action},
    }
    arguments = ("create", "--filename=-", "--output=json")
    answer = json.loads(cluster.kubectl(*arguments, stdin=json.dumps(review)))
    return bool(answer["status"]["allowed"])


def _object(version: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": ACCOUNT}, **fields}
