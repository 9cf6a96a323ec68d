"""Optimistic transactions over several records of the control plane.

One process runs one transaction at a time. Between processes the bucket itself detects conflicts:
a write is refused if any record changed after the revision that the transaction read
(``Nats-Expected-Last-Sequence``). The transaction then runs again on the newer data. A transaction
that raises an error also runs again if this process did not have the latest data.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from broker.storage.store import Store
from control.stored_record import StoredRecord
from kubefox.errors import FoxError, NatsUnavailable, RevisionConflict, Unavailable
from kubefox.records import Record

TIMEOUT_S = 20.0
SYNC_TIMEOUT_S = 5.0
CLUSTER_SYNC_TIMEOUT_S = 15.0
"""In a cluster, the server that sends the changes may be lost, and with it the leader that can have
another one send them: 3 s until that is noticed, and an election of up to 9 s."""

_BACKOFF_S = 0.001
_MAX_BACKOFF_S = 0.1

R = TypeVar("R", bound=Record)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")


precondition: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar(
    "precondition", default=None
)
"""Runs before each attempt, and raises a FoxError if the change is not allowed. What it reads from
the snapshot is still so when the change is written; otherwise the attempt is repeated."""


class WriteConflict(Exception):
    """A record changed after the revision that the transaction read."""


class OptimisticTransaction:
    """Runs one change of the control plane's data at a time, and repeats it after a conflict.

    Args:
        store: The control plane's data.
        timeout_s: How long a change is repeated before it fails with RevisionConflict.
        sync_timeout_s: How long to wait until the local snapshot shows a write; None decides by
            whether NATS is a cluster.
    """

    def __init__(
        self,
        store: Store,
        *,
        timeout_s: float = TIMEOUT_S,
        sync_timeout_s: float | None = None,
    ) -> None:
        self._store = store
        self._timeout_s = timeout_s
        if sync_timeout_s is None:
            sync_timeout_s = CLUSTER_SYNC_TIMEOUT_S if store.is_clustered else SYNC_TIMEOUT_S
        self._sync_timeout_s = sync_timeout_s
        self._lock = asyncio.Lock()
        self._since = 0

    @property
    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """A lock that excludes the transactions of this process, for work outside of them."""
        return self._lock

    async def run(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of ``attempt`` once it has finished without a conflict.

        Args:
            attempt: Reads from the snapshot or by ``load``, and writes by the methods below. It
                runs again from the beginning after a conflict.

        Raises:
            RevisionConflict: Every attempt until the timeout met a conflict.
            NatsUnavailable: The local snapshot does not receive the latest data.
            Exception: Any error of ``attempt``; a FoxError only if the latest data cause it.
        """
        check = precondition.get()
        async with self._lock:
            ends_s, backoff_s = time.monotonic() + self._timeout_s, _BACKOFF_S
            while time.monotonic() < ends_s:
                self._since = self._store.revision
                try:
                    if check is not None:
                        await check()
                    return await attempt()
                except WriteConflict:
                    await self._catch_up(self._since + 1)
                except Unavailable:
                    raise
                except FoxError:
                    last = await self._store.last_revision()
                    if last <= self._since:
                        raise
                    await self._catch_up(last)
                # The other writer may be in the middle of several writes.
                await asyncio.sleep(random.uniform(0, backoff_s))  # noqa: S311 - no secret
                backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)
        raise RevisionConflict(
            f"other writers changed the control plane's data for {self._timeout_s:g} s: retry"
        )

    async def write(self, key: str, record: R, found: StoredRecord[R] | None) -> StoredRecord[R]:
        """Replace a record, and return once the local snapshot shows the new one.

        Args:
            key: Key of the record.
            record: New content.
            found: The record that was read, None for none. Equal content is not written.

        Raises:
            NatsUnavailable: NATS does not answer; the record may or may not be written.
        """
        if found is not None and found.object == record:
            return found
        revision = await self._put(key, record)
        return StoredRecord(revision=revision, object=record)

    async def delete(self, key: str) -> None:
        """Delete a record, and return once the local snapshot no longer shows it.

        Raises:
            NatsUnavailable: NATS does not answer; the record may or may not be deleted.
        """
        await self._put(key, None)

    async def _put(self, key: str, record: Record | None) -> int:
        """Write or delete a record, wait until it is visible, and return its revision."""
        try:
            self._since = await self._store.put(key, record, self._since)
        except RevisionConflict as error:
            raise WriteConflict from error
        try:
            await self._in_time(partial(self._store.wait_revision, self._since))
        except TimeoutError as error:
            raise NatsUnavailable(
                f"{key} was written, but the local snapshot does not show it after "
                f"{self._sync_timeout_s:g} s: check the connection to NATS, and read it again"
            ) from error
        return self._since

    async def _catch_up(self, revision: int) -> None:
        """Wait until this process has received ``revision``."""
        try:
            await self._in_time(partial(self._store.wait_beyond, revision - 1))
        except TimeoutError as error:
            raise NatsUnavailable(
                f"the local snapshot is behind revision {revision}: retry"
            ) from error

    async def _in_time(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait until the local snapshot has moved.

        A variable that 100,000 releases use takes several seconds to apply. That time does not
        count, nor does that of the changes behind it.

        Raises:
            TimeoutError: It has not moved in time, although nothing was left to apply.
        """
        while True:
            try:
                async with asyncio.timeout(self._sync_timeout_s):
                    await wait()
                    return
            except TimeoutError:
                if not self._store.is_applying:
                    raise


class _HasTransaction(Protocol):
    _transaction: OptimisticTransaction


_Self = TypeVar("_Self", bound=_HasTransaction)


def in_transaction(
    method: Callable[Concatenate[_Self, _P], Awaitable[_Result]],
) -> Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _Result]]:
    """Run a method as an attempt of ``self._transaction``; see ``OptimisticTransaction.run``."""

    @wraps(method)
    async def run(self: _Self, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        transaction = self._transaction
        return await transaction.run(partial(method, self, *args, **kwargs))

    return run  # type: ignore[return-value]  # mypy takes ``self`` of a wrapped one for a name
