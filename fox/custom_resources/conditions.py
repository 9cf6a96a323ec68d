"""The status of a resource: its conditions, and when they changed.

A resource that is not ready has one of two more conditions, which tools that follow the rules of
kstatus (Flux) read: ``Reconciling`` if it may get ready by itself, ``Stalled`` if it must be
changed first. Neither exists on a resource that is ready.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from kubefox.custom_resources import Condition, ResourceStatus
from kubefox.errors import FoxError, ProblemsFound

SYNCED, READY = "Synced", "Ready"
RECONCILING, STALLED = "Reconciling", "Stalled"
MAX_MESSAGE = 4_096
_MAX_PROBLEMS = 10
# Nothing but a change of the resource ends these reasons, and problems of these types. A record or
# a Secret that appears ends others.
_FINAL = frozenset({"Invalid", "InvalidRequest", "ReleaseReplaced"})
_FINAL_PROBLEMS = frozenset({"InvalidName", "InvalidPolicy", "InvalidURL"})


class Verdict(NamedTuple):
    """The content of a condition.

    Attributes:
        is_true: Whether it holds.
        reason: Why, in one word.
        message: Why, for people.
        has_own_fault: Whether a problem of the resource itself is the cause.
    """

    is_true: bool
    reason: str
    message: str = ""
    has_own_fault: bool = False


APPLIED = Verdict(True, "Applied")


def verdict_of(error: FoxError) -> Verdict:
    """Return what a failure of the control plane says; the reason is the name of its class."""
    message, has_own_fault = error.detail, False
    if isinstance(error, ProblemsFound):
        has_own_fault = any(problem.type in _FINAL_PROBLEMS for problem in error.problems)
        shown = error.problems[:_MAX_PROBLEMS]
        message += "".join(f"; {problem.path}: {problem.message}" for problem in shown)
        if len(error.problems) > len(shown):
            message += f"; and {len(error.problems) - len(shown)} more"
    return Verdict(False, type(error).__name__, message, has_own_fault)


def verdicts(*, synced: Verdict, ready: Verdict) -> dict[str, Verdict]:
    """Return the content of each condition of a resource that users write."""
    told = {SYNCED: synced, READY: ready}
    if not ready.is_true:
        is_final = ready.has_own_fault or ready.reason in _FINAL
        abnormal = STALLED if is_final else RECONCILING
        told[abnormal] = ready._replace(is_true=True)
    return told


def with_conditions(
    status: ResourceStatus,
    generation: int,
    told: Mapping[str, Verdict],
    now: datetime.datetime,
    **changes: Any,
) -> ResourceStatus:
    """Return the status with other conditions; their times change with their truth alone.

    Args:
        status: The status before.
        generation: Generation of the resource that it is about.
        told: Content of each condition, by its type; others are removed.
        now: Time of the change.
        changes: Other fields of the status.
    """
    before = {condition.type: condition for condition in status.conditions}
    conditions = tuple(
        _condition(name, verdict, generation, before.get(name), now)
        for name, verdict in told.items()
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
