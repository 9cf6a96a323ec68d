"""Follow a KV bucket: first all that it holds, then each change.

nats-py's own watcher takes twice the time to read a bucket, and stays blind for up to 20 s after a
restart of NATS. Here the subscription is made anew after each reconnect, and begins where the last
one ended: what a bucket's history keeps, deletions among it, is all that was missed. Only another
bucket of the same name, one that was set back, and one of which nothing was heard for so long that
markers of deletions may be gone, is read as a whole again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from nats.errors import Error as NatsError
from nats.js import api

from broker.arrivals import Arrivals, Entry
from broker.background import running
from broker.breath import Breath
from broker.bus import Bus
from broker.cancelling import cancellable
from broker.ordered import delivering
from model.errors import FoxError

logger = logging.getLogger(__name__)

RETRY_S = 0.2
MARKER_S = 7 * 86_400
"""How long at least the marker of a deletion stays."""

Batches = AsyncIterator[Sequence[Entry]]


class Mirror(Protocol):
    """What keeps a copy of the bucket; its methods are called in the order of the changes."""

    async def replace(self, batches: Batches) -> None:
        """Take all entries, deleted ones among them, as what the bucket holds.

        What is shown until then is the copy of before. With many entries, let the loop run.
        """
        ...

    async def change(self, entry: Entry) -> None:
        """Take one new value or deletion; with much to do for it, let the loop run."""
        ...


class Follower:
    """Keeps one mirror current; made by ``follow``.

    Attributes:
        revision: Of the bucket: the mirror holds all that was written up to it.
    """

    def __init__(self, bus: Bus, bucket: str, mirror: Mirror, current: asyncio.Event) -> None:
        """Prepare; nothing is followed before ``run``."""
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._mirror = mirror
        self._current = current
        self._lost = asyncio.Event()
        self._created: datetime | None = None
        self._heard_s = 0.0
        self._moved = asyncio.Event()
        self.revision = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._lost.clear()
            try:
                await self._follow_until_lost()
            except (NatsError, FoxError, TimeoutError) as error:
                logger.warning("a bucket cannot be followed, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                # Else a process would route by what it knows now for ever, and nobody be told.
                logger.exception("a bucket could not be followed, trying again")
                await asyncio.sleep(RETRY_S)
            finally:
                self._current.clear()

    async def wait_beyond(self, revision: int) -> None:
        """Return as soon as the mirror holds more than it did at a revision."""
        while self.revision <= revision:
            await self._moved.wait()

    async def pause(self) -> None:
        """Know that the mirror may be behind: the connection is down."""
        self._current.clear()

    async def restart(self) -> None:
        """Subscribe anew: the connection was lost in between."""
        self._lost.set()

    async def _follow_until_lost(self) -> None:
        lost = asyncio.create_task(self._lost.wait())
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait((lost, following), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                await following
        finally:
            lost.cancel()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        info = await cancellable(self._bus.jetstream().stream_info(self._stream))
        is_same = info.created == self._created and self.revision <= info.state.last_seq
        resumes = is_same and time.time() - self._heard_s < MARKER_S
        arrivals = Arrivals(self._prefix)
        async with delivering(
            self._bus, self._stream, self._wanted(resumes=resumes), arrivals.put, self._lose
        ) as waiting:
            if not waiting:
                arrivals.complete()
            if not resumes:
                await self._mirror.replace(arrivals.until_complete())
                self._created, self.revision = info.created, 0
                self._move(arrivals.revision)
            await self._take_changes(arrivals, info.state.last_seq)

    def _wanted(self, *, resumes: bool) -> api.ConsumerConfig:
        config = api.ConsumerConfig(
            filter_subject=f"{self._prefix}>", deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT
        )
        if resumes:
            config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = self.revision + 1
        return config

    def _lose(self, reason: str) -> None:
        logger.warning("%s is followed anew: %s", self._stream, reason)
        self._lost.set()

    async def _take_changes(self, arrivals: Arrivals, last: int) -> None:
        """Take what comes; ``last`` was the last revision before it, though it may be gone."""
        breath = Breath()
        while True:
            if arrivals.is_complete and arrivals.is_empty:
                self._move(last)
                self._current.set()
            self._heard_s = time.time()
            for entry in await arrivals.take():
                await self._mirror.change(entry)
                self._move(entry.revision)
                await breath.take()

    def _move(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._moved.set()
        self._moved = asyncio.Event()


@contextlib.asynccontextmanager
async def follow(
    bus: Bus, bucket: str, mirror: Mirror, current: asyncio.Event | None = None
) -> AsyncIterator[Follower]:
    """Keep ``mirror`` current until the context ends; it is when the context begins.

    Args:
        bus: Connection to use.
        bucket: Name of what to follow; markers of deletions in it stay for ``MARKER_S``.
        mirror: Who keeps the copy.
        current: Set here while the mirror holds all that the bucket held a moment ago.
    """
    current = current or asyncio.Event()
    follower = Follower(bus, bucket, mirror, current)
    bus.on_disconnect(follower.pause)
    bus.on_reconnect(follower.restart)
    async with running(follower.run(), f"following bucket {bucket}"):
        await current.wait()
        yield follower
