"""Records with their revisions, and the revision that a writer expects."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from broker.storage.store import Store
from kubefox.errors import RevisionConflict
from kubefox.records import Record

ANY_REVISION = -1
"""In place of a revision: the record must exist, with any revision."""

R = TypeVar("R", bound=Record)


class StoredRecord(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """An object of the control plane with its revision.

    Attributes:
        revision: Revision of the object, for ``If-Match``. It grows with every change.
        object: Content of the object.
    """

    revision: int
    object: R


async def load(store: Store, key: str, kind: type[R]) -> StoredRecord[R] | None:
    """Return the record under ``key``, read from NATS instead of from the snapshot."""
    found = await store.get(key)
    if found is None or not isinstance(found[0], kind):
        return None
    return StoredRecord(revision=found[1], object=found[0])


def check_match(key: str, found: StoredRecord[R] | None, if_match: int | None) -> None:
    """Return if a record has the revision that its writer expects.

    Args:
        key: Key of the record, for the message.
        found: The stored record, or None.
        if_match: The expected revision, or ``ANY_REVISION``. 0 expects no record; None accepts a
            record as well as none.

    Raises:
        RevisionConflict: The record has another revision, or exists when it must not, or the
            reverse.
    """
    actual = found.revision if found else 0
    if if_match is None or if_match == actual or (if_match == ANY_REVISION and actual):
        return
    has = f"has revision {actual}" if actual else "does not exist"
    wanted = "" if if_match == ANY_REVISION else f", not revision {if_match}: read it again"
    raise RevisionConflict(f"{key} {has}{wanted}")
