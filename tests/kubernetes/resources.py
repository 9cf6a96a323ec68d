"""Custom resources of a namespace of the lab, and a control process that applies them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from control.access.audit_log import AuditLog
from fox.custom_resources.controller import Controller, open_controller
from kubefox.audit import AuditRecord
from kubefox.custom_resources import ENVIRONMENT
from kubefox.status import Check, CheckState
from kubefox.yaml_kinds import API_VERSION
from pods.kubernetes.cluster import Cluster
from tests.kubernetes.any_cluster import WAIT_S, AnyCluster
from tests.support.control_plane import Plane

CRDS = Path(__file__).parents[2] / "charts" / "kubefox" / "crds"
Object = dict[str, Any]
_POLL_S = 0.05


def environment(name: str = "dev", **fields: Any) -> Object:
    """Return an Environment."""
    return _resource("Environment", name, fields)


def virtual_environment(name: str = "team-a", *, base: str = "dev", **fields: Any) -> Object:
    """Return a VirtualEnvironment of ``base``."""
    spec = {"environment": base, **fields.pop("spec", {})}
    return _resource("VirtualEnvironment", name, {"spec": spec, **fields})


def http_adapter(name: str = "mail", **spec: Any) -> Object:
    """Return an HTTPAdapter."""
    return _resource("HTTPAdapter", name, {"spec": {"url": "https://mail.example", **spec}})


def secret(name: str, *environments: str, **texts: str) -> Object:
    """Return a Secret that some environments may use."""
    allowing = {ENVIRONMENT.allowing_annotation: ", ".join(environments)}
    meta = {"name": name, "annotations": allowing}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": texts}


def _resource(kind: str, name: str, fields: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, **fields}


class Resources:
    """The resources of one namespace. Its methods do not block.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        login: Cluster with the rights of a control process.
    """

    def __init__(self, cluster: AnyCluster, namespace: str, login: Cluster) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.login = login

    async def apply(self, *manifests: Object) -> None:
        """Apply manifests, as a user does."""
        await asyncio.to_thread(self.cluster.apply, self.namespace, *manifests)

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        scope = ("--namespace", self.namespace)
        return await asyncio.to_thread(self.cluster.kubectl, *arguments, *scope)

    def with_token(self, token: str) -> Resources:
        """Return the same resources for a control process with another token."""
        login = as_user(self.login, self.namespace, token)
        return Resources(self.cluster, self.namespace, login)

    async def get(self, kind: str, name: str) -> Object | None:
        """Return a resource; None if it does not exist."""
        text = await self.kubectl("get", kind, name, "--output=json", "--ignore-not-found")
        found: Object | None = json.loads(text) if text else None
        return found

    async def wait(self, kind: str, name: str, is_so: Callable[[Object | None], bool]) -> Object:
        """Return a resource as soon as ``is_so`` holds; empty if it does not exist then."""
        found: list[Object | None] = []

        def holds() -> bool:
            scope = ("--namespace", self.namespace, "--output=json", "--ignore-not-found")
            text = self.cluster.kubectl("get", kind, name, *scope)
            found[:] = [json.loads(text) if text else None]
            return is_so(found[0])

        await asyncio.to_thread(self.cluster.wait, holds)
        return found[0] or {}

    async def wait_condition(self, kind: str, name: str, condition: str, reason: str) -> Object:
        """Return a condition once it has a reason, for the newest generation of the resource."""

        def is_so(found: Object | None) -> bool:
            if found is None:
                return False
            generation = found["metadata"]["generation"]
            told = conditions(found).get(condition, {})
            return (told.get("reason"), told.get("observedGeneration")) == (reason, generation)

        return conditions(await self.wait(kind, name, is_so))[condition]

    async def wait_gone(self, kind: str, name: str) -> None:
        """Return when a resource is gone."""
        await self.wait(kind, name, lambda found: found is None)

    @contextlib.asynccontextmanager
    async def applied(
        self, plane: Plane, folder: Path, process: str = "control"
    ) -> AsyncIterator[Applying]:
        """Apply the resources in the context, as a control process does."""
        folder.mkdir(parents=True, exist_ok=True)
        audit = AuditLog(folder, max_bytes=1 << 20, max_files=1, process=process)
        controller = Controller(plane.bus, self.login, plane.control, audit, process)
        async with open_controller(controller):
            yield Applying(controller, audit)


class Applying:
    """A control process that applies resources.

    Args:
        controller: Applies them.
        audit: Its audit log.
    """

    def __init__(self, controller: Controller, audit: AuditLog) -> None:
        self.controller = controller
        self._audit = audit

    @property
    def visits(self) -> int:
        """How often it has compared a resource with the platform."""
        term = self.controller._term
        assert term is not None, "it does not lead"
        return term.visits

    async def wait_check(self, detail: str, state: CheckState = CheckState.DEGRADED) -> Check:
        """Return the check of the resources as soon as it has a state, and a text in its detail."""
        async with asyncio.timeout(WAIT_S):
            while True:
                check = await self.controller.check()
                if check.state is state and detail in check.detail:
                    return check
                await asyncio.sleep(_POLL_S)

    async def audited(self) -> list[AuditRecord]:
        """Return the records of its audit log, oldest first."""
        newest = await self._audit.newest("", 1_000, lambda _: True)
        return newest[::-1]


def conditions(resource: Object) -> dict[str, Object]:
    """Return the conditions of a resource by their types."""
    found = resource.get("status", {}).get("conditions", ())
    return {condition["type"]: condition for condition in found}


def as_user(cluster: Cluster, namespace: str, token: str) -> Cluster:
    """Return the login of an account in its namespace."""
    return msgspec.structs.replace(cluster.in_namespace(namespace), token=token)
