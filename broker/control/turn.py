"""Turns: checks that look at several records, and the writes after them, as if at one moment.

Within a process one turn follows another. Between control processes the bucket itself sees to it:
each write of a turn is refused if anything at all was written since the moment that was looked at
(``Nats-Expected-Last-Sequence``). Then all is looked at again; and so it is before anything is
refused, if this process did not know the latest.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from broker.control.writes import SEEN_S, Stored, wait_seen
from broker.store import Store
from model.errors import FoxError, NatsUnavailable, RevisionConflict, Unavailable
from model.records import Record

_PATIENCE_S = 20.0
_PAUSE_S = 0.001
_MAX_PAUSE_S = 0.1

R = TypeVar("R", bound=Record)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")


class Overtaken(Exception):
    """Somebody has written since the moment that was looked at."""


class Turn:
    """Lets one change of the control plane's data be made at a time.

    Args:
        store: The data.
    """

    def __init__(self, store: Store) -> None:
        """Begin with nobody's turn."""
        self._store = store
        self._lock = asyncio.Lock()
        self._since = 0

    @property
    def alone(self) -> AbstractAsyncContextManager[None]:
        """Keeps this process from taking turns meanwhile; for what needs none itself."""
        return self._lock

    async def take(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return what ``attempt`` returns, when it has not been overtaken.

        Args:
            attempt: Looks at the snapshot or loads, and writes by the methods below; begins anew
                if somebody else has written meanwhile.

        Raises:
            RevisionConflict: Others write all the time.
            NatsUnavailable: What others wrote does not come here.
            Exception: Whatever ``attempt`` raises; a refusal only if it holds for the latest data.
        """
        async with self._lock:
            ends_s, pause_s = time.monotonic() + _PATIENCE_S, _PAUSE_S
            while time.monotonic() < ends_s:
                self._since = self._store.revision
                try:
                    return await attempt()
                except Overtaken:
                    await self._catch_up(self._since + 1)
                except Unavailable:
                    raise
                except FoxError:
                    last = await self._store.last_revision()
                    if last <= self._since:
                        raise
                    await self._catch_up(last)
                # Whoever has just written may have more to write.
                await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 - no secret
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        raise RevisionConflict("others change the control plane's data all the time: try again")

    async def write(self, key: str, record: R, found: Stored[R] | None) -> Stored[R]:
        """Write a record in place of the one that was found; return when this process sees it.

        Args:
            key: Of the record.
            record: New content.
            found: What was read before, None when there was nothing; equal content is left alone.

        Raises:
            NatsUnavailable: NATS does not answer; whether it was written is not known.
        """
        if found is not None and found.object == record:
            return found
        revision = await self._put(key, record)
        await wait_seen(self._store, lambda snapshot: snapshot.revision >= revision)
        return Stored(revision=revision, object=record)

    async def delete(self, key: str) -> None:
        """Delete a record; return when this process no longer sees it.

        Raises:
            NatsUnavailable: NATS does not answer; whether it was deleted is not known.
        """
        revision = await self._put(key, None)
        await wait_seen(self._store, lambda snapshot: snapshot.revision >= revision)

    async def _put(self, key: str, record: Record | None) -> int:
        try:
            self._since = await self._store.put(key, record, self._since)
        except RevisionConflict as error:
            raise Overtaken from error
        return self._since

    async def _catch_up(self, revision: int) -> None:
        try:
            async with asyncio.timeout(SEEN_S):
                await self._store.wait_beyond(revision - 1)
        except TimeoutError as error:
            raise NatsUnavailable("what others have written has not come here yet") from error


class _HasTurn(Protocol):
    _turn: Turn


_Self = TypeVar("_Self", bound=_HasTurn)


def in_turn(
    method: Callable[Concatenate[_Self, _P], Awaitable[_Result]],
) -> Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _Result]]:
    """Run a method as an attempt of its object's turn; see ``Turn.take``."""

    @functools.wraps(method)
    async def run(self: _Self, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        turn = self._turn
        return await turn.take(functools.partial(method, self, *args, **kwargs))

    return run  # type: ignore[return-value]  # mypy takes ``self`` of a wrapped one for a name
