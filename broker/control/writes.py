"""What a writer has found and asks of it, and when everybody can see what was written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from broker.store import Store
from model.errors import NatsUnavailable, RevisionConflict
from model.records import Record
from routing.snapshot import Snapshot

SEEN_S = 5.0
ANY_REVISION = -1
"""In place of a revision: whichever it has, but there must be one."""

R = TypeVar("R", bound=Record)


class Stored(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """An object of the control plane and the KV revision that it has.

    Attributes:
        revision: For ``If-Match``; grows with every change of anything.
        object: Content.
    """

    revision: int
    object: R


async def load(store: Store, key: str, kind: type[R]) -> Stored[R] | None:
    """Return what lies under ``key`` at this moment, whatever the snapshot says."""
    found = await store.get(key)
    if found is None or not isinstance(found[0], kind):
        return None
    return Stored(revision=found[1], object=found[0])


def check_match(key: str, found: Stored[R] | None, if_match: int | None) -> None:
    """Return if a record is as its writer has seen it.

    Args:
        key: For the message.
        found: What is stored, or None.
        if_match: Revision the writer has seen, or ``ANY_REVISION``; 0 means nothing, None means
            anything or nothing.

    Raises:
        RevisionConflict: It is not.
    """
    actual = found.revision if found else 0
    if if_match is None or if_match == actual or (if_match == ANY_REVISION and actual):
        return
    has = f"has revision {actual}" if actual else "does not exist"
    wanted = "" if if_match == ANY_REVISION else f", not revision {if_match}: read it again"
    raise RevisionConflict(f"{key} {has}{wanted}")


async def wait_seen(store: Store, is_seen: Callable[[Snapshot], bool]) -> None:
    """Return when the snapshot of this process shows something that was written.

    Raises:
        NatsUnavailable: It does not come back.
    """
    try:
        async with asyncio.timeout(SEEN_S):
            while not is_seen(store.snapshot):
                await store.wait_change(store.snapshot.revision)
    except TimeoutError as error:
        raise NatsUnavailable("it was written, but the change has not come back yet") from error
