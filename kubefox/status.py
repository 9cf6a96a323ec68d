"""The status of a platform: what is well and what is not, one check after another."""

from __future__ import annotations

from enum import Enum

import msgspec


class CheckState(Enum):
    """The state of one check."""

    OK = "ok"
    OFF = "off"
    """A protection or a feature that the settings do not turn on."""
    DEGRADED = "degraded"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        name: Such as ``nats``; that of a detail names one of several things, such as a stream.
        state: Whether it is well; one with degraded details is degraded.
        detail: What was found, in one line; if it is degraded, what to do.
        items: Details.
        facts: What was found, for programs: ``replicas`` and ``leader`` of a stream or bucket.
    """

    name: str
    state: CheckState
    detail: str = ""
    items: tuple[Check, ...] = ()
    facts: dict[str, int | str] = {}


class PlatformStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a platform.

    Attributes:
        state: ``degraded`` if one check is, otherwise ``ok``.
        version: Version of the platform.
        checks: In the order in which people read them.
    """

    state: CheckState
    version: str
    checks: tuple[Check, ...]


def checked(name: str, detail: str, items: tuple[Check, ...] = ()) -> Check:
    """Return a check that is as well as its details are."""
    return Check(name=name, state=worst(items), detail=detail, items=items)


def worst(checks: tuple[Check, ...]) -> CheckState:
    """Return ``DEGRADED`` if one of the checks is, otherwise ``OK``."""
    is_degraded = any(check.state is CheckState.DEGRADED for check in checks)
    return CheckState.DEGRADED if is_degraded else CheckState.OK
