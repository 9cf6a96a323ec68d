"""The cost of one more follower of the bucket for nats-server, for each change."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from benchmarks.scale.changes import Changer
from benchmarks.scale.site import Site
from broker.nats.entry_buffer import WatchedEntry
from broker.nats.watch import EntryBatches, watch_bucket
from broker.storage.records_bucket import BUCKET


class FollowerCost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one more follower.

    Attributes:
        nats_us: CPU time of nats-server for a change, in µs.
        change_bytes: Mean size of a change's value.
    """

    nats_us: float
    change_bytes: float


class _Counter:
    """A replica that keeps nothing: it counts the changes and their bytes."""

    def __init__(self) -> None:
        self.changes = 0
        self.size_bytes = 0

    async def replace(self, batches: EntryBatches) -> None:
        async for _ in batches:
            pass

    async def apply(self, entry: WatchedEntry) -> None:
        self.changes += 1
        self.size_bytes += len(entry.value or b"")


async def follower_cost(site: Site, changer: Changer, followers: int, changes: int) -> FollowerCost:
    """Compare nats-server's CPU time for changes with and without further followers.

    Args:
        site: The site.
        changer: Makes the changes.
        followers: Number of further followers, each with its own connection.
        changes: Number of changes.
    """
    before_us = await _nats_us(site, changer, changes)
    counter = _Counter()
    async with AsyncExitStack() as stack:
        for number in range(followers):
            bus = await stack.enter_async_context(site.kubefox.nats.connect(f"follower-{number}"))
            await stack.enter_async_context(watch_bucket(bus, BUCKET, counter))
        after_us = await _nats_us(site, changer, changes)
    return FollowerCost(
        nats_us=(after_us - before_us) / followers,
        change_bytes=counter.size_bytes / max(1, counter.changes),
    )


async def _nats_us(site: Site, changer: Changer, changes: int) -> float:
    await site.settle()
    before_ns = site.cpu_ns()["NATS"]
    await changer.burst(changes)
    await site.settle()
    return (site.cpu_ns()["NATS"] - before_ns) / changes / 1e3
