"""Writes to the control plane's data that their writer can see when they return."""

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


async def write(store: Store, key: str, record: R, found: Stored[R] | None) -> Stored[R]:
    """Write a record in place of the one that was found; return when this process sees it.

    Args:
        store: Where to.
        key: Of the record.
        record: New content.
        found: What was read before, None when there was nothing; equal content is left alone.

    Raises:
        RevisionConflict: Somebody else wrote meanwhile.
        NatsUnavailable: NATS does not answer; whether it was written is not known.
    """
    if found is not None and found.object == record:
        return found
    if found is None:
        revision = await store.create(key, record)
    else:
        revision = await store.update(key, record, found.revision)
    await wait_seen(store, lambda snapshot: snapshot.revision >= revision)
    return Stored(revision=revision, object=record)


async def delete(store: Store, key: str, found: Stored[R]) -> None:
    """Delete the record that was found; return when this process no longer sees it.

    Raises:
        RevisionConflict: Somebody else wrote meanwhile.
        NatsUnavailable: NATS does not answer; whether it was deleted is not known.
    """
    await store.delete(key, found.revision)
    await wait_seen(store, lambda snapshot: snapshot.revision_of(key) != found.revision)


def check_match(key: str, found: Stored[R] | None, if_match: int | None) -> None:
    """Return if the record has the revision that its writer has seen.

    Args:
        key: For the message.
        found: What is stored, or None.
        if_match: Revision the writer has seen; 0 means nothing, None means any.

    Raises:
        RevisionConflict: It has another one.
    """
    actual = found.revision if found else 0
    if if_match is not None and if_match != actual:
        has = f"has revision {actual}" if actual else "does not exist"
        raise RevisionConflict(f"{key} {has}, not revision {if_match}: read it again")


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
