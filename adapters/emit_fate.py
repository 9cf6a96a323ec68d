"""What becomes of an event after an attempt to deliver it. Pure."""

from __future__ import annotations

from enum import Enum

from model.errors import ComponentMismatch, ErrorDetail, FoxError

MAX_WAIT_S = 7 * 86_400.0
"""What is older is given up: so late it may do harm, and its context is hardly kept any more."""
MAX_DELAY_S = 300.0
_GROWTH = 4
_ERROR = 400
_SERVER_ERROR = 500
# Time ran out, a compare-and-set lost, too early, too many: another time it may go well.
_MAY_PASS = frozenset({408, 409, 425, 429})


class Fate(Enum):
    """What becomes of it."""

    DONE = "done"
    AGAIN = "again"
    DEAD = "dead"


def fate_of(status: int, *, attempt: int, attempts: int) -> Fate:
    """Return what becomes of an event.

    Below 400 the component has handled it. Above, it has refused it: then no other attempt ends
    in another way, but for those statuses that say so and for the failures of 500 and above.

    Args:
        status: HTTP status of the answer, or of the failure; see ``status_of``.
        attempt: Which attempt this was, from 1.
        attempts: How many an event has.
    """
    if status < _ERROR:
        return Fate.DONE
    may_pass = status >= _SERVER_ERROR or status in _MAY_PASS
    return Fate.AGAIN if may_pass and attempt < attempts else Fate.DEAD


def status_of(error: FoxError) -> int:
    """Return the status of a failure; that of one which never passes is below 500."""
    # The event is of a deployment in which its component has another version: 502 to a client,
    # but the event stays what it is.
    return _ERROR if isinstance(error, ComponentMismatch) else error.http_status


def delay_s(attempt: int, retry_s: float) -> float:
    """Return how long to wait after a failed attempt: four times as long after each, to a limit."""
    # A power of a large number would not fit a float.
    return float(min(retry_s * _GROWTH ** min(attempt - 1, 16), MAX_DELAY_S))


def reason_of(status: int, hop: str) -> ErrorDetail:
    """Return why an event is given up that was answered with a status of 400 and above."""
    code = "component_failed" if status >= _SERVER_ERROR else "refused"
    return ErrorDetail(code, f"{hop} answered {status}", hop)
