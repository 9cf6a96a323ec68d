"""A lease: of all processes that want to do one thing, one does it, and the others stand by.

The lease is one KV entry that names its holder. It is renewed by compare-and-set, and its bucket
drops what is not renewed, so the lease of a holder that died comes free by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from nats.errors import Error as NatsError
from nats.js.errors import (
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoStreamResponseError,
)
from nats.js.kv import KeyValue

from broker.background import running
from broker.bus import Bus
from broker.cancelling import cancellable
from broker.store import ensure_bucket

logger = logging.getLogger(__name__)

BUCKET = "kubefox-leases"
TTL_S = 10.0
_RENEWALS_PER_TTL = 3


class Lease:
    """A lease that this process holds; made by ``hold``.

    Attributes:
        lost: Set when another holder has it. NATS being away does not set it: then nobody
            can take the lease, and what runs should go on.
    """

    def __init__(self, bus: Bus, name: str, holder: str, ttl_s: float) -> None:
        """Prepare to take a lease; see ``hold``."""
        self.lost = asyncio.Event()
        self._bus = bus
        self._name = name
        self._holder = holder.encode()
        self._ttl_s = ttl_s
        self._written: tuple[KeyValue, int] | None = None

    async def acquire(self) -> None:
        """Return when this process holds the lease."""
        while True:
            if await self._claim():
                return
            await asyncio.sleep(self._ttl_s / _RENEWALS_PER_TTL)

    async def keep(self) -> None:
        """Renew the lease until it is lost."""
        while not self.lost.is_set():
            await asyncio.sleep(self._ttl_s / _RENEWALS_PER_TTL)
            if await self._claim() is False:
                logger.warning("lease %s was taken by another process", self._name)
                self.lost.set()

    async def release(self) -> None:
        """Let a process that stands by have the lease now."""
        if not self._bus.is_ready:
            return
        with contextlib.suppress(NatsError, TimeoutError):
            bucket = await self._bucket()
            entry = await bucket.get(self._name)
            if entry.value == self._holder:
                await bucket.delete(self._name, last=entry.revision)

    async def _claim(self) -> bool | None:
        """Write our name; return whether it is ours, or None while NATS does not answer."""
        if not self._bus.is_ready:
            return None
        try:
            await cancellable(self._write())
        except KeyWrongLastSequenceError:
            return False
        except (NatsError, TimeoutError):
            return None
        except Exception:
            # Given up, two would lead.
            logger.exception("lease %s could not be written, trying again", self._name)
            return None
        return True

    async def _write(self) -> None:
        """Write our name: over what we wrote last, else over whatever is ours, or where is nothing.

        That what we wrote last is still there is nearly always so, and asks the server only once.
        """
        if self._written is not None:
            bucket, revision = self._written
            self._written = None
            with contextlib.suppress(KeyWrongLastSequenceError, NoStreamResponseError):
                self._written = bucket, await bucket.update(self._name, self._holder, revision)
                return
        bucket = await self._bucket()
        revision = await self._free_revision(bucket)
        self._written = bucket, await bucket.update(self._name, self._holder, revision)

    async def _free_revision(self, bucket: KeyValue) -> int:
        """Return the revision that our name may be written over.

        A renewal whose acknowledgement was lost has moved it, and a restarted server may have
        dropped it.

        Raises:
            KeyWrongLastSequenceError: The lease is another holder's.
        """
        try:
            entry = await bucket.get(self._name)
        except KeyNotFoundError as error:
            # A key that was deleted is not found either, but its revision is known.
            return error.entry.revision or 0 if error.entry else 0
        if entry.value != self._holder:
            raise KeyWrongLastSequenceError(description=f"held by {entry.value!r}")
        return entry.revision or 0

    async def _bucket(self) -> KeyValue:
        return await ensure_bucket(self._bus, BUCKET, ttl_s=self._ttl_s)


@contextlib.asynccontextmanager
async def hold(bus: Bus, name: str, holder: str, *, ttl_s: float = TTL_S) -> AsyncIterator[Lease]:
    """Wait until the lease is ours, keep it while the context lasts, then give it back.

    Args:
        bus: Connection to use.
        name: What the lease is for.
        holder: Who we are, unique among living processes. A process that comes back under
            the name of one that died need not wait until the lease runs out.
        ttl_s: How long a dead holder keeps the lease.
    """
    lease = Lease(bus, name, holder, ttl_s)
    await lease.acquire()
    try:
        async with running(lease.keep(), f"keeping lease {name}"):
            yield lease
    finally:
        if not lease.lost.is_set():
            await lease.release()
