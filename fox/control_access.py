"""Access to the control API of this process: the callers that it knows, and the audit log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

from broker.runtime.settings import Settings
from broker.storage.token_store import TokenStore
from broker.telemetry.metrics import Metrics
from control.access.access import Access, RefusalCounts
from control.access.audit_log import AuditLog
from control.access.authentication import Authenticator
from control.access.failure_limit import FailureLimit
from control.access.oidc import OidcSettings, oidc_settings, open_oidc
from fox import owner_token
from kubefox.access_token import parse_token
from pods import private_files

AUDIT_FOLDER = "audit"


@contextlib.asynccontextmanager
async def open_access(
    settings: Settings, tokens: TokenStore, metrics: Metrics, process_id: str
) -> AsyncIterator[Access]:
    """Open the access of a control process, whose refusals are counted in its metrics.

    Raises:
        InvalidRequest: The owner's token in the data folder cannot be used, or a setting is not
            valid.
        OSError: The folder of the audit log cannot be created.
    """
    owner = parse_token(owner_token.provide(settings.data_dir))
    assert owner is not None  # noqa: S101 - ``provide`` has checked it
    folder = settings.data_dir / AUDIT_FOLDER
    private_files.own_folder(folder)
    audit = AuditLog(
        folder,
        max_bytes=settings.audit_file_bytes,
        max_files=settings.audit_files,
        process=process_id,
        copies=sys.stdout.fileno() if settings.audit_stdout else None,
    )
    counts = RefusalCounts()
    metrics.watch_counter("control_unauthenticated", lambda: counts.unauthenticated)
    metrics.watch_counter("control_forbidden", lambda: counts.forbidden)
    metrics.watch_counter("control_throttled", lambda: counts.throttled)
    metrics.watch_counter("audit_lost", lambda: audit.lost)
    async with contextlib.AsyncExitStack() as stack:
        oidc = None
        if settings.oidc_issuer:
            oidc = await stack.enter_async_context(open_oidc(_oidc_of(settings)))
        yield Access(
            authenticator=Authenticator(owner, tokens.find, oidc),
            audit=audit,
            failures=FailureLimit(),
            counts=counts,
        )


def _oidc_of(settings: Settings) -> OidcSettings:
    return oidc_settings(
        settings.oidc_issuer, settings.oidc_audience, settings.oidc_claim, settings.oidc_roles
    )
