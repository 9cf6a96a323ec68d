"""Writes the audit log of requests: each change with what became of it, and each refusal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from control.access.audit_log import AuditLog, run_noted
from control.access.caller import Caller
from control.api.audit_details import details_of, revision_of
from control.api.operation import ApiRequest, Operation
from kubefox.audit import AuditRecord, Decision
from kubefox.errors import FoxError, NotAuthorized, Unauthenticated
from kubefox.printable import shortened
from routing.snapshot.snapshot import Snapshot

# The texts of other errors may quote the body of the request.
_QUOTED = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.SERVICE_UNAVAILABLE,
}
_MAX_PATH = 512


class Auditor:
    """Records the requests of one control API.

    Args:
        log: Where the records go.
        snapshot: Returns the control plane's current data.
    """

    def __init__(self, log: AuditLog, snapshot: Callable[[], Snapshot]) -> None:
        self._log = log
        self._snapshot = snapshot

    async def change(
        self,
        request: web.Request,
        operation: Operation,
        api_request: ApiRequest,
        run: Callable[[], Awaitable[object]],
    ) -> object:
        """Run a change and record it; its record is written before its answer is sent.

        Raises:
            AuditUnavailable: Earlier changes cannot be recorded, so this one is not run.
            Exception: Any error of the change.
        """
        await self._log.check_writable()
        name = api_request.path.get("name", "")
        before = revision_of(operation.path, name, self._snapshot())

        async def note(error: FoxError | None) -> None:
            after = revision_of(operation.path, name, self._snapshot())
            await self._add(
                request,
                api_request.caller,
                operation=operation.key,
                details=details_of(api_request),
                error=error,
                revisions=(before, after),
            )

        return await run_noted(run, note)

    async def refusal(
        self, request: web.Request, operation: str, caller: Caller, error: FoxError
    ) -> None:
        """Record a request that was refused before it was run."""
        await self._add(request, caller, operation=operation, details={}, error=error)

    async def _add(
        self,
        request: web.Request,
        caller: Caller,
        *,
        operation: str,
        details: dict[str, str],
        error: FoxError | None,
        revisions: tuple[int, int] = (0, 0),
    ) -> None:
        status = error.http_status if error else HTTPStatus.OK
        await self._log.add(
            AuditRecord(
                id=self._log.next_id(),
                at_s=time.time(),
                caller=caller.name,
                kind=caller.kind.value,
                token_id=caller.token_id,
                address=request.remote or "",
                operation=operation,
                target=shortened(request.path)[:_MAX_PATH],
                details=details,
                decision=_decision(error),
                status=int(status),
                code=error.code if error else "",
                reason=error.detail if error and status in _QUOTED else "",
                revision_before=revisions[0],
                revision_after=revisions[1],
                process=self._log.process,
            )
        )


def _decision(error: FoxError | None) -> Decision:
    if error is None:
        return Decision.ALLOWED
    is_refused = isinstance(error, NotAuthorized | Unauthenticated)
    return Decision.REFUSED if is_refused else Decision.FAILED
