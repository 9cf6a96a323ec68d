"""The processes that route requests, and how far each has followed the control plane's data.

A write is done when the control process shows it. Other processes follow a moment later, and after
a failure of NATS up to some seconds later. So each of them says when it starts and when it ends,
and answers when it has followed a revision: a command can wait until all of them have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from broker.nats.bus import Bus
from broker.storage.store import Store
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import NatsUnavailable

ASK_S = 1.0
"""Time for the answers to one request; then it is sent again, because it may have been lost."""
_FOLLOW_S = 0.7
"""Time of a process to follow before it answers that it has not. The answer must arrive in time."""
_LOOK_S = 0.25
"""A process that has followed takes about a millisecond to answer."""
_LOOK_AGAIN_S = (2.0, 10.0)
"""A process whose machine is slow may take seconds. No command waits for it meanwhile."""
_MOST_AT_ONCE = 4
"""Commands that ask all processes at the same time; further ones wait."""
FORGET_S = 600.0
"""After so long without an answer, a process has ended."""

logger = logging.getLogger(__name__)


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a process, on ``broker.present`` and in answers to ``broker.followed``.

    Attributes:
        process: Its id.
        revision: Revision of the snapshot by which it routes new requests.
        has_ended: Whether it routes no more requests.
    """

    process: str
    revision: int = 0
    has_ended: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Follower).decode
_decode_revision = msgspec.msgpack.Decoder(int).decode


class Followers:
    """All processes that route requests, as a control process knows them.

    A process that is killed says nothing. It is waited for once, and named until ``FORGET_S`` later
    or until it answers again.

    Args:
        bus: Connection to use.
        now_s: Clock, in seconds.
    """

    def __init__(self, bus: Bus, now_s: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._now_s = now_s
        # By id of the process: when it was waited for in vain; None if it was not.
        self._silent_since_s: dict[str, float | None] = {}
        self._has_looked = asyncio.Event()
        self._looking: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    @contextlib.asynccontextmanager
    async def noting(self) -> AsyncIterator[None]:
        """Note the processes that start and end, and those that there are, within the context."""
        subscription = await self._bus.serve_fast_path(subjects.PRESENT, self._receive)
        # Without a connection, this process does not hear of those that start.
        self._bus.on_reconnect(self._start_to_look)
        await self._start_to_look()
        try:
            yield
        finally:
            for looking in self._looking:
                looking.cancel()
            await asyncio.gather(*self._looking, return_exceptions=True)
            await self._bus.stop_serving(subscription)

    async def wait(self, revision: int, timeout_s: float) -> tuple[str, ...]:
        """Wait until all processes have followed a revision.

        Args:
            revision: Of a record.
            timeout_s: How long to wait. Processes that were waited for in vain are waited for no
                more, until they answer.

        Returns:
            The ids of the processes that have not followed.

        Raises:
            NatsUnavailable: The connection is down.
        """
        async with self._places:
            return await self._wait(revision, self._now_s() + timeout_s)

    async def _wait(self, revision: int, ends_s: float) -> tuple[str, ...]:
        followed = set[str]()
        await self._has_looked.wait()
        self._forget_ended()
        while self._awaited(followed):
            await self._ask(revision, followed, min(ASK_S, ends_s - self._now_s()))
            if self._now_s() >= ends_s:
                break
        if self._silent_since_s.keys() - followed:
            # Those that were waited for in vain may have followed meanwhile.
            await self._ask(revision, followed, _LOOK_S, waits_for_all=True)
        missing = self._silent_since_s.keys() - followed
        for process in missing:
            self._silent_since_s[process] = self._silent_since_s[process] or self._now_s()
        return tuple(sorted(missing))

    async def _ask(
        self, revision: int, followed: set[str], wait_s: float, *, waits_for_all: bool = False
    ) -> None:
        """Add the processes that have followed a revision.

        Args:
            revision: See ``wait``.
            followed: Those that are known to have followed it.
            wait_s: How long to wait for answers.
            waits_for_all: Whether to wait also for processes that were waited for in vain before.
        """

        def is_last(frame: bytes) -> bool:
            found = self._note_answer(frame)
            if found is not None and found.revision >= revision:
                followed.add(found.process)
            if waits_for_all:
                return self._silent_since_s.keys() <= followed
            return not self._awaited(followed)

        await self._bus.gather(
            subjects.FOLLOWED, _encode(revision), max(wait_s, _LOOK_S), is_last=is_last
        )

    def _awaited(self, followed: set[str]) -> bool:
        """Return whether a process has not followed that was not waited for in vain before."""
        return any(
            since_s is None and process not in followed
            for process, since_s in self._silent_since_s.items()
        )

    async def _start_to_look(self) -> None:
        task = asyncio.create_task(self._look())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _look(self) -> None:
        """Note the processes that there are, also those that are held at first."""

        def is_last(frame: bytes) -> bool:
            self._note_answer(frame)
            return False

        try:
            for wait_s in (_LOOK_S, *_LOOK_AGAIN_S):
                await self._bus.gather(subjects.FOLLOWED, _encode(0), wait_s, is_last=is_last)
                self._has_looked.set()
        except NatsUnavailable as error:
            logger.info("processes that route requests are looked for again later: %s", error)
        finally:
            self._has_looked.set()

    def _note_answer(self, frame: bytes) -> Follower | None:
        with contextlib.suppress(*DECODE_ERRORS):
            found = _decode(frame)
            self._note(found)
            return found
        return None

    def _receive(self, _subject: str, payload: bytes, _reply: str) -> None:
        self._note(_decode(payload))

    def _note(self, found: Follower) -> None:
        if found.has_ended:
            self._silent_since_s.pop(found.process, None)
        else:
            self._silent_since_s[found.process] = None

    def _forget_ended(self) -> None:
        before_s = self._now_s() - FORGET_S
        self._silent_since_s = {
            process: since_s
            for process, since_s in self._silent_since_s.items()
            if since_s is None or since_s > before_s
        }


class _Presence:
    """Says how far this process has followed.

    Args:
        bus: Connection to use.
        store: By whose snapshot the process routes.
    """

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._answering: set[asyncio.Task[None]] = set()
        self._has_ended = False

    async def announce(self) -> None:
        """Tell control that this process routes requests, or has ended."""
        self._bus.post(subjects.PRESENT, self._encoded())

    async def end(self) -> None:
        """Tell control that this process has ended, and answer no more."""
        self._has_ended = True
        await self.announce()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def accept(self, _subject: str, payload: bytes, reply: str) -> None:
        """Answer when a revision is followed, or that it is not; a ``MessageCallback``."""
        task = asyncio.create_task(self._answer(_decode_revision(payload), reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, revision: int, reply: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FOLLOW_S):
                await self._store.wait_revision(revision)
        self._bus.post(reply, self._encoded())

    def _encoded(self) -> bytes:
        revision = self._store.snapshot.revision
        process = self._bus.process_id
        return _encode(Follower(process=process, revision=revision, has_ended=self._has_ended))


@contextlib.asynccontextmanager
async def announced(bus: Bus, store: Store) -> AsyncIterator[None]:
    """Say within the context that this process routes requests, and what it has followed.

    Args:
        bus: Connection to use.
        store: By whose snapshot the process routes.
    """
    presence = _Presence(bus, store)
    subscription = await bus.serve_fast_path(subjects.FOLLOWED, presence.accept)
    bus.on_reconnect(presence.announce)
    await bus.flush()
    await presence.announce()
    try:
        yield
    finally:
        await presence.end()
        await bus.stop_serving(subscription)
