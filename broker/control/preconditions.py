"""What a writer may ask of the record that it writes: a revision, or that it is there."""

from __future__ import annotations

from broker.control.writes import R, Stored, check_match
from model.errors import RevisionConflict

ANY_REVISION = -1
"""In place of a revision: whichever it has, but there must be one."""


def check_seen(key: str, found: Stored[R] | None, if_match: int | None) -> None:
    """Return if a record is as its writer has seen it.

    Args:
        key: For the message.
        found: What is stored, or None.
        if_match: Revision, ``ANY_REVISION``, 0 for nothing, or None for anything and nothing.

    Raises:
        RevisionConflict: It is not.
    """
    if if_match != ANY_REVISION:
        check_match(key, found, if_match)
    elif found is None:
        raise RevisionConflict(f"{key} does not exist")
