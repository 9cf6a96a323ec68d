"""Small Deployments and pods for tests of the lab."""

from __future__ import annotations

from typing import Any

READY = {"httpGet": {"port": 8000}, "periodSeconds": 1}
ADDRESS = {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def container(*command: str, **fields: Any) -> dict[str, Any]:
    """Return a container."""
    return {"name": "main", "image": "lab", "command": [*command], **fields}


def script(source: str, **fields: Any) -> dict[str, Any]:
    """Return a container that runs a Python script."""
    return container(
        "python", "-c", source, terminationMessagePolicy="FallbackToLogsOnError", **fields
    )


def pod(name: str, main: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod."""
    meta = {"name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod_spec(main, **spec)}


def pod_spec(main: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return the spec of a pod with one container."""
    return {"containers": [main], "terminationGracePeriodSeconds": 10, **spec}


def deployment(name: str, replicas: int, main: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment whose pods are replaced one after another, each only by a ready one."""
    labels = {"app": name}
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(main)},
        },
    }
