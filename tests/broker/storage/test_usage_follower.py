"""The usage index of a store moves with its snapshot, in slices, and is whole when it is read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from broker.nats.bus import Bus
from broker.runtime.background import run_in_background
from broker.storage import usage_follower
from broker.storage.store import Store, open_store
from broker.storage.usage_follower import UsageFollower
from kubefox.environment import VirtualEnvironment
from kubefox.records import Change, virtual_environment_key
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex
from tests.support.keys import KEYS


def virtual(name: str) -> tuple[str, VirtualEnvironment]:
    return virtual_environment_key(name), VirtualEnvironment(name=name, environment="dev")


def snapshot_of(*names: str) -> Snapshot:
    changes = (
        Change(key=key, revision=at, record=record)
        for at, (key, record) in enumerate(map(virtual, names), 1)
    )
    return Snapshot.empty().apply(changes)


@contextlib.asynccontextmanager
async def open_follower() -> AsyncIterator[UsageFollower]:
    follower = UsageFollower(time_slice_s=0)
    async with run_in_background(follower.run(), "the usage index"):
        yield follower


async def test_the_index_is_about_the_latest_snapshot(store: Store) -> None:
    for name in ("a", "b"):
        revision = await store.create(*virtual(name))
        await store.wait_revision(revision)

        usage = await store.usage()

        assert usage.snapshot is store.snapshot
        assert name in usage.members("dev")


async def test_a_reader_meets_a_whole_index_while_it_moves_in_slices(bus: Bus) -> None:
    async with open_store(bus, KEYS, creates_keys=True, time_slice_s=0) as store:
        found = []

        async def read() -> None:
            while len(store.snapshot.virtual_environments) < 20:
                usage = await store.usage()
                found.append(len(usage.members("dev")) == len(usage.snapshot.virtual_environments))
                await asyncio.sleep(0)

        reading = asyncio.create_task(read())
        for number in range(20):
            await store.create(*virtual(f"team-{number}"))
        await reading

    assert found
    assert all(found)


async def test_a_later_store_begins_with_the_whole_index(store: Store, bus: Bus) -> None:
    for name in ("a", "b", "c"):
        await store.create(*virtual(name))

    async with open_store(bus, KEYS, creates_keys=True) as later:
        usage = await later.usage()

    assert set(usage.members("dev")) == {"a", "b", "c"}


async def test_an_index_whose_move_was_cancelled_is_made_anew() -> None:
    async with open_follower() as follower:
        follower.rebuild(snapshot_of("a"))
        position = (await follower.current()).changed_versions.position
        moving = asyncio.create_task(follower.follow(snapshot_of("a", "b"), [virtual("b")[0]]))
        await asyncio.sleep(0)
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)

        await follower.follow(snapshot_of("a", "b", "c"), [virtual("c")[0]])

        usage = await follower.current()
    assert set(usage.members("dev")) == {"a", "b", "c"}
    assert usage.changed_versions.since(position) is None


async def test_changes_that_arrive_while_the_index_is_made_do_not_wait_for_it() -> None:
    follower = UsageFollower(time_slice_s=0)
    follower.rebuild(snapshot_of("a"))

    await follower.follow(snapshot_of("a", "b"), [virtual("b")[0]])
    latest = snapshot_of("a", "b", "c")
    await follower.follow(latest, [virtual("c")[0]])

    async with run_in_background(follower.run(), "the usage index"):
        usage = await follower.current()
    assert usage.snapshot is latest
    assert set(usage.members("dev")) == {"a", "b", "c"}


@pytest.mark.parametrize("turns", range(4))
async def test_a_snapshot_that_replaces_all_ends_the_making_of_the_index_before(
    turns: int,
) -> None:
    async with open_follower() as follower:
        follower.rebuild(snapshot_of("a", "b", "c"))
        for _ in range(turns):
            await asyncio.sleep(0)

        follower.rebuild(snapshot_of("d"))

        usage = await follower.current()
    assert set(usage.members("dev")) == {"d"}


async def test_an_index_that_could_not_be_made_is_made_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build, failures = UsageIndex.build, [RuntimeError("broken")]

    def fail_once(index: UsageIndex, snapshot: Snapshot) -> Iterator[None]:
        if failures:
            raise failures.pop()
        return build(index, snapshot)

    monkeypatch.setattr(usage_follower, "RETRY_S", 0)
    monkeypatch.setattr(UsageIndex, "build", fail_once)
    async with open_follower() as follower:
        follower.rebuild(snapshot_of("a"))

        usage = await follower.current()

    assert set(usage.members("dev")) == {"a"}
    assert "the usage index cannot be made" in caplog.text


async def test_a_store_without_the_index_says_so(bus: Bus) -> None:
    async with open_store(bus, KEYS, creates_keys=True, with_usage=False) as store:
        with pytest.raises(RuntimeError, match="without a usage index"):
            await store.usage()


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> UsageFollower:
    """A follower of a process that is starting with many virtual environments."""
    monkeypatch.setattr(usage_follower, "MANY", 2)
    return UsageFollower(time_slice_s=0, waits=True)


async def test_a_large_index_waits_until_the_process_has_started(
    waiting: UsageFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_follower, "MAX_WAIT_S", 3_600)
    waiting.rebuild(snapshot_of("a", "b"))
    async with run_in_background(waiting.run(), "the usage index"):
        reading = asyncio.create_task(waiting.current())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not reading.done()

        waiting.begin()

        assert set((await reading).members("dev")) == {"a", "b"}


async def test_a_large_index_does_not_wait_for_ever(
    waiting: UsageFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_follower, "MAX_WAIT_S", 0.01)
    waiting.rebuild(snapshot_of("a", "b"))

    async with run_in_background(waiting.run(), "the usage index"):
        assert set((await waiting.current()).members("dev")) == {"a", "b"}


async def test_a_small_index_does_not_wait(
    waiting: UsageFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_follower, "MAX_WAIT_S", 3_600)
    waiting.rebuild(snapshot_of("a"))

    async with run_in_background(waiting.run(), "the usage index"):
        assert set((await waiting.current()).members("dev")) == {"a"}
