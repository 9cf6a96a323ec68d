"""Records in the audit log of what resources have changed, as requests to the control API have."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

from control.access.audit_log import AuditLog, run_noted
from control.api.audit_details import revision_of
from fox.custom_resources.cluster_objects import ClusterObject, ResourceKey
from kubefox.audit import AuditRecord, Decision
from kubefox.custom_resources import ENVIRONMENT, HTTP_ADAPTER, VIRTUAL_ENVIRONMENT, ResourceKind
from kubefox.errors import FoxError
from routing.snapshot.snapshot import Snapshot

_PATHS: Mapping[ResourceKind, str] = {
    ENVIRONMENT: "/v1/environments",
    VIRTUAL_ENVIRONMENT: "/v1/virtual-environments",
    HTTP_ADAPTER: "/v1/http-adapters",
}
_RELEASES = "/v1/releases"
CALLER_KIND = "kubernetes"

Result = TypeVar("Result")


class ResourceAudit:
    """Writes the records of one process. The cluster does not tell who has changed a resource.

    Args:
        log: Where the records go.
        snapshot: Returns the control plane's current data.
        namespace: Namespace of the resources.
    """

    def __init__(self, log: AuditLog, snapshot: Callable[[], Snapshot], namespace: str) -> None:
        self._log = log
        self._snapshot = snapshot
        self._namespace = namespace
        self._failed: dict[tuple[ResourceKey, str], tuple[str, int, str]] = {}

    async def change(
        self,
        method: str,
        key: ResourceKey,
        found: ClusterObject,
        run: Callable[[], Awaitable[Result]],
    ) -> Result:
        """Run a change and record it. A failure that repeats is recorded once.

        Args:
            method: ``PUT`` or ``DELETE`` of the object, or ``POST`` of its release.
            key: The resource.
            found: Its state.
            run: The change.

        Raises:
            AuditUnavailable: Earlier changes cannot be recorded, so this one is not run.
            Exception: Any error of the change.
        """
        await self._log.check_writable()
        path = _RELEASES if method == "POST" else _PATHS[key.kind]
        before = revision_of(path, key.name, self._snapshot())

        async def note(error: FoxError | None) -> None:
            if self._is_new(key, method, found, error):
                after = revision_of(path, key.name, self._snapshot())
                await self._add(f"{method} {path}", key, found, error, (before, after))

        return await run_noted(run, note)

    def forget(self, key: ResourceKey) -> None:
        """Forget the failures of a resource that is gone."""
        for method in ("PUT", "DELETE", "POST"):
            self._failed.pop((key, method), None)

    def _is_new(
        self, key: ResourceKey, method: str, found: ClusterObject, error: FoxError | None
    ) -> bool:
        if error is None:
            self._failed.pop((key, method), None)
            return True
        failure = (found.metadata.uid, found.metadata.generation, error.code)
        if self._failed.get((key, method)) == failure:
            return False
        self._failed[key, method] = failure
        return True

    async def _add(
        self,
        operation: str,
        key: ResourceKey,
        found: ClusterObject,
        error: FoxError | None,
        revisions: tuple[int, int],
    ) -> None:
        method, path = operation.split()
        details = {
            "resource": str(key),
            "uid": found.metadata.uid,
            "generation": str(found.metadata.generation),
        }
        await self._log.add(
            AuditRecord(
                id=self._log.next_id(),
                at_s=time.time(),
                caller=f"namespace {self._namespace}",
                kind=CALLER_KIND,
                operation=f"{method} {path}/{{name}}",
                target=f"{path}/{key.name}",
                details={**details, "force": "true"} if found.is_forced else details,
                decision=Decision.FAILED if error else Decision.ALLOWED,
                status=int(error.http_status if error else HTTPStatus.OK),
                code=error.code if error else "",
                revision_before=revisions[0],
                revision_after=revisions[1],
                process=self._log.process,
            )
        )
