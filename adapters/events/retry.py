"""The decisions about an event: done, retry or dead letter, and when to try again. Pure.

Randomness is an argument, from 0 to 1.
"""

from __future__ import annotations

from enum import Enum

from kubefox.delivery import MAX_TIMEOUT_S
from kubefox.errors import ComponentMismatch, ErrorDetail, FoxError

MAX_AGE_S = 7 * 86_400.0
"""Age at which an event is given up: an effect so late may do harm, and the data of the event's
context has probably been removed."""
MAX_PAUSE_S = 300.0
MAX_WAITING_PAUSE_S = 15.0
POSTPONED_S = 2.0
MAX_POSTPONED_S = 80.0
JITTER = 0.25
"""Share by which a pause is longer or shorter, so that events do not come again all at once."""
MAX_UNKNOWN = 20
"""Deliveries with an unknown end after which an event is given up."""
_GROWTH = 4
_WAITING_GROWTH = 2
_MAX_EXPONENT = 16
_ERROR = 400
_SERVER_ERROR = 500
# Timeout, lost compare-and-set, too early, too many requests: another attempt may succeed.
_TEMPORARY = frozenset({408, 409, 425, 429})


class RetryDecision(Enum):
    """The result of the decision: done, retry or dead letter."""

    DONE = "done"
    RETRY = "retry"
    DEAD_LETTER = "dead letter"


def decide_retry(status: int, *, attempt: int, attempts: int) -> RetryDecision:
    """Return what happens to an event after an attempt.

    Below 400 the component has handled the event. A status from 400 to 499 is final, except for
    the temporary ones; from 500 the event is tried again while it has attempts left.

    Args:
        status: HTTP status of the response, or of the failure; see ``status_of``.
        attempt: Number of the attempts that have begun, with this one if it has.
        attempts: Number of attempts of an event.
    """
    if status < _ERROR:
        return RetryDecision.DONE
    may_succeed = status >= _SERVER_ERROR or status in _TEMPORARY
    return RetryDecision.RETRY if may_succeed and attempt < attempts else RetryDecision.DEAD_LETTER


def status_of(error: FoxError) -> int:
    """Return the status of a failure; that of a permanent failure is below 500."""
    # The component has another version in the event's deployment. For an HTTP client that is 502,
    # but for a stored event it is permanent, since the event does not change.
    return _ERROR if isinstance(error, ComponentMismatch) else error.http_status


def retry_pause_s(attempt: int, retry_s: float, randomness: float) -> float:
    """Return the pause after a failed attempt: ``retry_s``, times 4 after each, up to a limit.

    Args:
        attempt: Number of the failed attempt, from 1.
        retry_s: Pause after the first one.
        randomness: Varies the pause by ``JITTER``.
    """
    # The exponent is limited because a larger power would not fit a float.
    pause_s = retry_s * _GROWTH ** min(attempt - 1, _MAX_EXPONENT)
    return _varied(min(pause_s, MAX_PAUSE_S), randomness)


def waiting_pause_s(
    waited: int, retry_s: float, randomness: float, *, most_s: float = MAX_WAITING_PAUSE_S
) -> float:
    """Return the pause after a delivery that did not begin: twice as long each time, to a limit.

    Args:
        waited: Number of deliveries before this one that did not begin.
        retry_s: Pause after the first one.
        randomness: Varies the pause by ``JITTER``.
        most_s: The limit.
    """
    pause_s = retry_s * _WAITING_GROWTH ** min(waited, _MAX_EXPONENT)
    return _varied(min(pause_s, most_s), randomness)


def postponed_pause_s(waited: int, randomness: float) -> float:
    """Return how long an event waits for which its lane had no room: longer each time, to a limit.

    So it waits at most about twice as long as the events before it need.

    Args:
        waited: Number of deliveries before this one that did not begin.
        randomness: Varies the pause by ``JITTER``.
    """
    return waiting_pause_s(waited, POSTPONED_S, randomness, most_s=MAX_POSTPONED_S)


def attempt_limit_s(emitted_s: float, handler_s: float | None, default_s: float) -> float:
    """Return the time limit of one attempt.

    Args:
        emitted_s: Limit that the emitter set, or 0.
        handler_s: Limit of the handler; it applies in any case.
        default_s: Limit if there is neither.
    """
    limit_s = min(emitted_s, MAX_TIMEOUT_S) or handler_s or default_s
    return limit_s if handler_s is None else min(limit_s, handler_s)


def _varied(pause_s: float, randomness: float) -> float:
    return pause_s * (1 + JITTER * (2 * randomness - 1))


def reason_of(status: int, hop: str) -> ErrorDetail:
    """Return the reason why an event failed whose response has a status of 400 or above."""
    code = "component_failed" if status >= _SERVER_ERROR else "refused"
    return ErrorDetail(code, f"{hop} responded with status {status}", hop)
