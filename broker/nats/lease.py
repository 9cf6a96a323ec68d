"""A lease: of all processes that want to do one thing, one does it, and the others stand by.

The lease is one KV entry that names its holder. The holder renews it by compare-and-set. The
bucket removes an entry that is not renewed, so the lease of a dead holder expires by itself. A
notice on ``leases.free`` says that the lease of a holder has ended earlier.
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

from broker.nats.bus import Bus
from broker.nats.jetstream import ensure_bucket, translated_errors
from broker.runtime.background import run_in_background
from broker.runtime.cancelling import cancellable
from kubefox import subjects
from kubefox.errors import FoxError

logger = logging.getLogger(__name__)

BUCKET = "kubefox-leases"
TTL_S = 10.0
RENEWALS_PER_TTL = 3


class Lease:
    """A lease of this process; made by ``hold``.

    Attributes:
        lost: Set when another process has the lease. It is not set while NATS is away: no process
            can take the lease then, so the holder should go on.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        holder: str,
        ttl_s: float,
        renewals_per_ttl: int = RENEWALS_PER_TTL,
    ) -> None:
        self.lost = asyncio.Event()
        self._bus = bus
        self._name = name
        self._holder = holder.encode()
        self._ttl_s = ttl_s
        self._renewal_s = ttl_s / renewals_per_ttl
        self._written: tuple[KeyValue, int] | None = None

    async def acquire(self) -> None:
        """Return when this process holds the lease."""
        is_free = asyncio.Event()

        async def note(name: bytes, _reply: str) -> None:
            if name == self._name.encode():
                is_free.set()

        subscription = await self._bus.serve(subjects.LEASE_FREE, note)
        try:
            while True:
                # Before the claim: a notice may be read together with its answer.
                is_free.clear()
                if await self._claim():
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._renewal_s):
                        await is_free.wait()
        finally:
            await self._bus.stop_serving(subscription)

    async def keep(self) -> None:
        """Renew the lease until it is lost."""
        while not self.lost.is_set():
            await asyncio.sleep(self._renewal_s)
            if await self._claim() is False:
                logger.warning("lease %s was lost to another process", self._name)
                self.lost.set()

    async def release(self) -> None:
        """Delete the entry, so that another process gets the lease at once."""
        if not self._bus.is_ready:
            return
        with contextlib.suppress(NatsError, FoxError, TimeoutError):
            bucket = await self._bucket()
            entry = await bucket.get(self._name)
            if entry.value == self._holder:
                await bucket.delete(self._name, last=entry.revision)
                await self._bus.publish(subjects.LEASE_FREE, self._name.encode())

    async def _claim(self) -> bool | None:
        """Write our name; return whether the lease is ours, or None if NATS does not answer."""
        if not self._bus.is_ready:
            return None
        try:
            await cancellable(self._write())
        except KeyWrongLastSequenceError:
            return False
        except (NatsError, TimeoutError):
            return None
        except Exception:
            # Without a retry the lease would expire while its holder goes on: two would hold it.
            logger.exception("lease %s could not be written, retrying", self._name)
            return None
        return True

    async def _write(self) -> None:
        """Write our name over our last write, else over any entry of ours or a missing one.

        Our last write is nearly always still there, so one request to the server is enough.
        """
        if self._written is not None:
            bucket, revision = self._written
            self._written = None
            with contextlib.suppress(KeyWrongLastSequenceError, NoStreamResponseError):
                self._written = bucket, await bucket.update(self._name, self._holder, revision)
                return
        bucket = await self._bucket()
        revision = await self._free_revision(bucket)
        try:
            self._written = bucket, await bucket.update(self._name, self._holder, revision)
        except KeyWrongLastSequenceError:
            # Our entry may have expired after it was read, and then nobody holds the lease.
            revision = await self._free_revision(bucket)
            self._written = bucket, await bucket.update(self._name, self._holder, revision)

    async def _free_revision(self, bucket: KeyValue) -> int:
        """Return the revision over which our name may be written.

        It differs from our last write if the acknowledgement of a renewal was lost, or if the
        entry expired during a restart of the server.

        Raises:
            KeyWrongLastSequenceError: Another process holds the lease.
        """
        try:
            entry = await bucket.get(self._name)
        except KeyNotFoundError as error:
            # A deleted key is not found either, but its revision is known.
            return error.entry.revision or 0 if error.entry else 0
        if entry.value != self._holder:
            raise KeyWrongLastSequenceError(description=f"held by {entry.value!r}")
        return entry.revision or 0

    async def _bucket(self) -> KeyValue:
        return await ensure_bucket(self._bus, BUCKET, ttl_s=self._ttl_s)


async def make_leases(bus: Bus) -> None:
    """Make the bucket of the leases if it is missing; for control."""
    with translated_errors(bus, "open the leases"):
        await ensure_bucket(bus, BUCKET, ttl_s=TTL_S)


async def release_for(bus: Bus, name: str, holder: str) -> None:
    """Release the lease of another process that has died, if it holds it."""
    await Lease(bus, name, holder, TTL_S).release()


@contextlib.asynccontextmanager
async def hold(
    bus: Bus,
    name: str,
    holder: str,
    *,
    ttl_s: float = TTL_S,
    renewals_per_ttl: int = RENEWALS_PER_TTL,
) -> AsyncIterator[Lease]:
    """Wait for the lease, renew it while the context lasts, then release it.

    Args:
        bus: Connection to use.
        name: Name of the lease.
        holder: Name of this process, unique among living processes. A process that restarts under
            the same name need not wait until the lease expires.
        ttl_s: How long a dead holder keeps the lease.
        renewals_per_ttl: How often the holder renews the lease in that time.
    """
    lease = Lease(bus, name, holder, ttl_s, renewals_per_ttl)
    await lease.acquire()
    try:
        async with run_in_background(lease.keep(), f"the renewal of lease {name}"):
            yield lease
    finally:
        if not lease.lost.is_set():
            await lease.release()
