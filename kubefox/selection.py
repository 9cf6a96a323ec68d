"""The policy of selection: what requests may select besides what is released.

A request meets two policies: that of the listener that has received it, and that of the virtual
environment that it selects. The stricter one counts.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Selection(Enum):
    """A policy of selection, of a virtual environment or of a listener."""

    OPEN = "open"
    SIGNED = "signed"
    RELEASED = "released"


class ListenerPolicy(IntEnum):
    """The policy of a listener, as its metric shows it.

    Attributes:
        RELEASED: ``released`` for all requests.
        OPEN_IF_DIRECT: ``open`` for direct requests and ``released`` for others, by default.
        SIGNED: ``signed`` for all requests.
        OPEN: ``open`` for all requests.
    """

    RELEASED = 0
    OPEN_IF_DIRECT = 1
    SIGNED = 2
    OPEN = 3


class Access(IntEnum):
    """The right of a request to select, or the right that selecting something needs.

    Attributes:
        RELEASED: What is released, and nothing else.
        OPEN: Also what is not released, where the policy is ``open``.
        SIGNED: The same, and where the policy is ``signed``: the request has a share.
        NOBODY: More than any request has.
    """

    RELEASED = 0
    OPEN = 1
    SIGNED = 2
    NOBODY = 3


_NEEDED = {
    Selection.OPEN: Access.OPEN,
    Selection.SIGNED: Access.SIGNED,
    Selection.RELEASED: Access.NOBODY,
}


def needed_access(policy: Selection) -> Access:
    """Return the least access by which a request may select what is not released."""
    return _NEEDED[policy]


def strictest(first: Selection, *others: Selection) -> Selection:
    """Return the strictest of some policies."""
    return max((first, *others), key=needed_access)


def granted_access(listener: Selection, *, has_share: bool) -> Access:
    """Return the access of a request.

    Args:
        listener: Policy of the listener for this request.
        has_share: Whether the request has a valid share of the deployment that it selects.
    """
    if listener is Selection.RELEASED:
        return Access.RELEASED
    if has_share:
        return Access.SIGNED
    return Access.OPEN if listener is Selection.OPEN else Access.RELEASED
