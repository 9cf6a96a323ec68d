"""The status of a resource: its two conditions, and when they changed."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import msgspec

from kubefox.custom_resources import Condition, ResourceStatus
from kubefox.errors import FoxError, ProblemsFound

SYNCED, READY = "Synced", "Ready"
MAX_MESSAGE = 4_096
_MAX_PROBLEMS = 10


class Verdict(NamedTuple):
    """The content of a condition.

    Attributes:
        is_true: Whether it holds.
        reason: Why, in one word.
        message: Why, for people.
    """

    is_true: bool
    reason: str
    message: str = ""


APPLIED = Verdict(True, "Applied")


def verdict_of(error: FoxError) -> Verdict:
    """Return what a failure of the control plane says; the reason is the name of its class."""
    message = error.detail
    if isinstance(error, ProblemsFound):
        shown = error.problems[:_MAX_PROBLEMS]
        message += "".join(f"; {problem.path}: {problem.message}" for problem in shown)
        if len(error.problems) > len(shown):
            message += f"; and {len(error.problems) - len(shown)} more"
    return Verdict(False, type(error).__name__, message)


def with_conditions(
    status: ResourceStatus,
    generation: int,
    *,
    synced: Verdict,
    ready: Verdict,
    now: datetime.datetime,
    **changes: Any,
) -> ResourceStatus:
    """Return the status with other conditions; their times change with their truth alone."""
    before = {condition.type: condition for condition in status.conditions}
    conditions = tuple(
        _condition(name, verdict, generation, before.get(name), now)
        for name, verdict in ((SYNCED, synced), (READY, ready))
    )
    return msgspec.structs.replace(
        status, observed_generation=generation, conditions=conditions, **changes
    )


def _condition(
    name: str, verdict: Verdict, generation: int, before: Condition | None, now: datetime.datetime
) -> Condition:
    text = str(verdict.is_true)
    is_kept = before is not None and before.status == text and before.last_transition_time
    return Condition(
        type=name,
        status=text,
        reason=verdict.reason,
        message=verdict.message[:MAX_MESSAGE],
        observed_generation=generation,
        last_transition_time=before.last_transition_time
        if before is not None and is_kept
        else f"{now:%Y-%m-%dT%H:%M:%SZ}",
    )
