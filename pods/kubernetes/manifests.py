"""The objects of one component version: its Deployment, and the Secret with its first login."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping

import msgspec

from kubefox.component import short
from kubefox.digest import encode_runtime
from kubefox.distill import Version
from pods.base import PodSpec
from pods.kubernetes.api import Object
from pods.kubernetes.pod_template import PodTemplate

MANAGED_BY = {"app.kubernetes.io/managed-by": "kubefox"}
"""Labels of all objects of the driver."""

APP_LABEL = "kubefox.io/app"
COMPONENT_LABEL = "kubefox.io/component"
HASH_LABEL = "kubefox.io/hash"
WORKLOAD_LABEL = "kubefox.io/workload"
CONTAINER = "component"
LOGIN_KEY = "login.json"

# A pod's name has up to 17 characters more than its Deployment's, and is a host name: 63.
_MAX_NAME = 46
_USER = 10_001
_LOGIN_FOLDER = "/etc/kubefox"
_RUN_FOLDER = "/run/kubefox"
_WORK_FOLDER = "/tmp"  # noqa: S108 - a volume of the pod alone
_READY_FILE = f"{_RUN_FOLDER}/ready"
_BEAT_FILE = f"{_RUN_FOLDER}/beat"
_FOLDERS = {"run": _RUN_FOLDER, "work": _WORK_FOLDER}

START_COMMAND = ("python", "-P", "-m", "pods.kubernetes.begin")
POD_COMMAND = ("python", "-P", "-m", "fox.kit.pod")


class PodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all pods of the driver share.

    Attributes:
        image: The platform's image, for components that name no other one.
        image_repositories: Where the images that components name may be.
        template: Where the pods run, and how their image is pulled.
        environ: Further environment variables.
        command: Program that serves a pod, as ``python -m fox.kit.pod`` does.
        grace_s: How long a pod may drain before it is killed.
        alive_s: How long a pod's event loop may stand still; infinite if that is not watched.
        busy_beat_s: Time between the heartbeats of a busy pod.
        idle_beat_s: Time between those of an idle pod.
        memory_bytes: Limit of a pod's memory; 0 for none.
        memory_request_bytes: Memory for which the scheduler makes room.
        cpu_request: CPUs for which it makes room.
    """

    image: str
    image_repositories: tuple[str, ...] = ()
    template: PodTemplate = PodTemplate()
    environ: Mapping[str, str] = {}
    command: tuple[str, ...] = POD_COMMAND
    grace_s: float = 30.0
    alive_s: float = math.inf
    busy_beat_s: float = 1.0
    idle_beat_s: float = 60.0
    memory_bytes: int = 0
    memory_request_bytes: int = 96 << 20
    cpu_request: str = "20m"


def workload_name(version: Version) -> str:
    """Return the name of a version's Deployment and Secret: for people, and unique."""
    app, component, digest = version
    unique = hashlib.sha256(f"{app}/{component}/{digest}".encode()).hexdigest()[:8]
    tail = f"-{short(digest)}-{unique}"
    return component[: _MAX_NAME - len(tail)].rstrip("-") + tail


def labels(version: Version) -> dict[str, str]:
    """Return the labels of all objects of a version."""
    return {
        **MANAGED_BY,
        WORKLOAD_LABEL: workload_name(version),
        APP_LABEL: version.app,
        COMPONENT_LABEL: version.component,
        HASH_LABEL: version.hash,
    }


def version_of(labels: Mapping[str, str]) -> Version:
    """Return the version whose objects have these labels."""
    return Version(
        labels.get(APP_LABEL, ""), labels.get(COMPONENT_LABEL, ""), labels.get(HASH_LABEL, "")
    )


def secret(version: Version, login: bytes) -> Object:
    """Return the Secret with the first login of a version's pods."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": workload_name(version), "labels": labels(version)},
        "data": {LOGIN_KEY: base64.b64encode(login).decode()},
    }


def disruption_budget(version: Version) -> Object:
    """Return the budget of a version with several pods: one at a time may be evicted."""
    own = labels(version)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": own[WORKLOAD_LABEL], "labels": own},
        "spec": {
            "maxUnavailable": 1,
            # A pod that never gets ready must not keep its node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {WORKLOAD_LABEL: own[WORKLOAD_LABEL]}},
        },
    }


def deployment(spec: PodSpec, replicas: int, settings: PodSettings) -> Object:
    """Return the Deployment of a version with a number of pods.

    Pods are replaced one after another, each only when another one is ready.
    """
    own = labels(spec.version)
    selector = {"matchLabels": {WORKLOAD_LABEL: own[WORKLOAD_LABEL]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": own[WORKLOAD_LABEL], "labels": own},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": selector,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": own},
                "spec": _pod(spec, selector, settings),
            },
        },
    }


def _pod(spec: PodSpec, selector: Object, settings: PodSettings) -> Object:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
    }
    login = {"name": "login", "secret": {"secretName": workload_name(spec.version)}}
    return {
        **settings.template.pod_fields(),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": max(1, math.ceil(settings.grace_s)),
        "topologySpreadConstraints": [spread],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, settings)],
        "volumes": [login, *({"name": name, "emptyDir": {}} for name in _FOLDERS)],
    }


def _container(spec: PodSpec, settings: PodSettings) -> Object:
    mounts = [{"name": name, "mountPath": path} for name, path in _FOLDERS.items()]
    login = {"name": "login", "mountPath": _LOGIN_FOLDER, "readOnly": True}
    container = {
        "name": CONTAINER,
        "image": spec.runtime.image or settings.image,
        **settings.template.container_fields(),
        "command": [*START_COMMAND],
        "args": [_literal(part) for part in settings.command],
        "env": _environment(spec, settings),
        "volumeMounts": [login, *mounts],
        "resources": _resources(settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The reason of a pod's end is its last output.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "startupProbe": _startup_probe(),
    }
    if settings.alive_s < math.inf:
        container["livenessProbe"] = _liveness_probe(settings.alive_s)
    return container


def _environment(spec: PodSpec, settings: PodSettings) -> list[Object]:
    values = {
        **settings.environ,
        "FOX_APP": spec.app,
        "FOX_COMPONENT": spec.component,
        "FOX_HASH": spec.hash,
        "FOX_ENTRY": spec.runtime.entry,
        "FOX_RUNTIME": encode_runtime(spec.runtime).decode(),
        "FOX_START_LOGIN": f"{_LOGIN_FOLDER}/{LOGIN_KEY}",
        "FOX_RUN_FOLDER": _RUN_FOLDER,
        **_beats(settings),
        "HOME": _WORK_FOLDER,
        "TMPDIR": _WORK_FOLDER,
        "PYTHONUNBUFFERED": "1",
    }
    pod = {"name": "FOX_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [pod, *({"name": name, "value": _literal(values[name])} for name in sorted(values))]


def _beats(settings: PodSettings) -> dict[str, str]:
    if settings.alive_s == math.inf:
        return {}
    return {
        "FOX_BEAT_S": str(settings.busy_beat_s),
        "FOX_IDLE_BEAT_S": str(settings.idle_beat_s),
    }


def _literal(text: str) -> str:
    """Return a text that Kubernetes leaves as it is: it replaces ``$(NAME)`` otherwise."""
    return text.replace("$", "$$")


def _resources(settings: PodSettings) -> Object:
    limit, request = settings.memory_bytes, settings.memory_request_bytes
    requests = {"cpu": settings.cpu_request, "memory": _quantity(min(request, limit or request))}
    return {"requests": requests, "limits": {"memory": _quantity(limit)} if limit else {}}


def _quantity(size: int) -> str:
    """Return a number of bytes as the API writes it, so that it can be compared with the API's."""
    for unit, unit_bytes in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if not size % unit_bytes:
            return f"{size // unit_bytes}{unit}"
    return str(size)


def _startup_probe() -> Object:
    # The driver ends a pod that does not start. The delay is for the removal of an earlier file.
    return {
        "exec": {"command": ["test", "-s", _READY_FILE]},
        "initialDelaySeconds": 1,
        "periodSeconds": 1,
        "timeoutSeconds": 10,
        "failureThreshold": 3600,
    }


def _liveness_probe(alive_s: float) -> Object:
    # Each heartbeat writes the file. A pod that has sent none is not watched. One probe may fail
    # because the node is busy, so two in a row count.
    age = f"$(( $(date +%s) - $(stat -c %Y {_BEAT_FILE}) ))"
    script = f"! test -s {_BEAT_FILE} || test {age} -lt {math.ceil(alive_s)}"
    return {
        "exec": {"command": ["sh", "-c", script.replace("$(", "$$(")]},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
        "failureThreshold": 2,
    }
