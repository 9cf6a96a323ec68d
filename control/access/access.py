"""Access to one control API: who gets in, what is written down, what is counted."""

from __future__ import annotations

import msgspec

from control.access.audit_log import AuditLog
from control.access.authentication import Authenticator
from control.access.failure_limit import FailureLimit


class RefusalCounts(msgspec.Struct, kw_only=True):
    """How many requests were refused since the start.

    Attributes:
        unauthenticated: Without a valid token.
        forbidden: With a token that has not the role.
        throttled: Those of ``unauthenticated`` over the limit of their address.
    """

    unauthenticated: int = 0
    forbidden: int = 0
    throttled: int = 0


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that authenticate callers of the control API, and log and limit their requests.

    Attributes:
        authenticator: Finds the callers of requests.
        audit: The audit log.
        failures: Limits failed authentications of each address.
        counts: Numbers of refusals, for the metrics.
    """

    authenticator: Authenticator
    audit: AuditLog
    failures: FailureLimit
    counts: RefusalCounts
