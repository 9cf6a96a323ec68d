"""A follower goes on where it was, or begins anew where it cannot know what it has missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker import follow as following
from broker.arrivals import Entry
from broker.background import running
from broker.bus import Bus
from broker.follow import Batches, Follower, follow
from broker.store import ensure_bucket
from tests.support.nats import NatsServer

BUCKET = "followed"


class Copy:
    """A mirror that keeps the keys, and how often it took the bucket as a whole."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.times_replaced = 0
        self.changed = asyncio.Event()

    async def replace(self, batches: Batches) -> None:
        self.times_replaced += 1
        self.keys = {each.key async for batch in batches for each in batch if each.value}

    async def change(self, entry: Entry) -> None:
        self.keys.add(entry.key)
        self.changed.set()


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


@pytest.mark.parametrize(("marker_s", "times"), [(following.MARKER_S, 1), (0, 2)])
async def test_after_a_reconnect_it_reads_all_again_once_markers_may_be_gone(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, marker_s: int, times: int
) -> None:
    monkeypatch.setattr(following, "MARKER_S", marker_s)
    bucket, copy, current = await ensure_bucket(bus, BUCKET), Copy(), asyncio.Event()
    await bucket.put("one", b"1")
    async with follow(bus, BUCKET, copy, current):
        current.clear()
        await bus.reconnected()
        await current.wait()
        copy.changed.clear()
        await bucket.put("two", b"2")
        await copy.changed.wait()

    assert copy.times_replaced == times
    assert copy.keys == {"one", "two"}


async def test_what_comes_while_the_bucket_is_taken_in_is_not_lost_to_a_reconnect(
    bus: Bus,
) -> None:
    bucket, copy, current = await ensure_bucket(bus, BUCKET), Copy(), asyncio.Event()
    await bucket.put("one", b"1")
    replace, change = copy.replace, copy.change
    changing, may_change = asyncio.Event(), asyncio.Event()

    async def replace_slowly(batches: Batches) -> None:
        await replace(batches)
        await bucket.put("two", b"2")
        for _ in range(20):
            # Until it is here, though not taken.
            await bus.flush()

    async def change_slowly(entry: Entry) -> None:
        changing.set()
        await may_change.wait()
        await change(entry)

    copy.replace, copy.change = replace_slowly, change_slowly  # type: ignore[method-assign]
    follower = Follower(bus, BUCKET, copy, current)
    async with running(follower.run(), "following"):
        await changing.wait()
        assert follower.revision == 1
        await follower.restart()
        may_change.set()
        await current.wait()

    assert copy.keys == {"one", "two"}
