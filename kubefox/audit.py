"""Records of the audit log: who changed what, and what was refused."""

from __future__ import annotations

from enum import Enum

import msgspec


class Decision(Enum):
    """The outcome of a request."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "failed"


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request that has changed something, or was to, or was refused.

    It holds no token, no secret and no value of a variable.

    Attributes:
        id: Its name; sorts by time.
        at_s: Unix time.
        caller: Name of the caller; empty if it has not proven who it is.
        kind: How the caller has proven who it is: ``owner``, ``token``, ``oidc``,
            ``kubernetes`` (a custom resource) or ``none``.
        token_id: Public id of its token, or empty.
        address: Address of the client, or of the proxy in front.
        operation: Method and path of the operation, as in the table of rights.
        target: Path of the request.
        details: What was asked for, such as the selector of a release.
        decision: Whether it was allowed, refused, or has failed.
        status: HTTP status of the answer; 200 for every success.
        code: Code of the error, or empty.
        reason: Text of the error, or empty.
        revision_before: Revision of the object before, 0 for none.
        revision_after: Revision of the object after, 0 for none.
        process: Id of the control process.
    """

    id: str
    at_s: float
    caller: str
    kind: str
    token_id: str = ""
    address: str = ""
    operation: str = ""
    target: str = ""
    details: dict[str, str] = {}
    decision: Decision
    status: int
    code: str = ""
    reason: str = ""
    revision_before: int = 0
    revision_after: int = 0
    process: str = ""
