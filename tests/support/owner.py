"""The owner of a control API in tests: its token, and the header that carries it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from broker.storage.token_store import TokenStore
from control.access.access import Access, RefusalCounts
from control.access.audit_log import AuditLog
from control.access.authentication import Authenticator
from control.access.failure_limit import FailureLimit
from kubefox.access_token import ID_BYTES, SECRET_BYTES, format_token, parse_token

OWNERS_TOKEN = format_token(b"\1" * ID_BYTES, b"\2" * SECRET_BYTES)
CREDENTIALS = {"authorization": f"Bearer {OWNERS_TOKEN}"}


def open_access(tokens: TokenStore, folder: Path, now: Callable[[], float] = time.time) -> Access:
    """Return the access of a control API that knows the owner's token, and stored ones.

    Args:
        tokens: The stored tokens.
        folder: Gets the audit log.
        now: Clock that tokens expire by, Unix time in seconds.
    """
    owner = parse_token(OWNERS_TOKEN)
    assert owner is not None
    return Access(
        authenticator=Authenticator(owner, tokens.find, now=now),
        audit=AuditLog(folder, max_bytes=1 << 20, max_files=3, process="control-1"),
        failures=FailureLimit(),
        counts=RefusalCounts(),
    )
