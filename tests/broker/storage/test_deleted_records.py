"""Revisions of deleted records are purged; other records keep all of theirs."""

from __future__ import annotations

import time

from broker.nats.bus import Bus
from broker.storage.records_bucket import BUCKET
from broker.storage.store import Store
from kubefox.environment import Environment, EnvironmentData
from kubefox.records import environment_key


def environment(name: str, value: str = "") -> Environment:
    return Environment(name=name, data=EnvironmentData(vars={"value": value}))


async def create(store: Store, *names: str) -> None:
    """Create environments, and change each once."""
    for name in names:
        revision = await store.create(environment_key(name), environment(name))
        await store.update(environment_key(name), environment(name, "new"), revision)


async def delete(store: Store, *names: str) -> None:
    for name in names:
        found = await store.get(environment_key(name))
        assert found is not None
        await store.delete(environment_key(name), found[1])


async def messages(bus: Bus) -> dict[str, int]:
    """Return the number of messages that the bucket keeps, by the name of the environment."""
    prefix = f"$KV.{BUCKET}.environment."
    info = await bus.jetstream().stream_info(f"KV_{BUCKET}", subjects_filter=f"{prefix}>")
    subjects = info.state.subjects or {}
    return {subject.removeprefix(prefix): count for subject, count in subjects.items()}


async def test_markers_and_revisions_of_records_deleted_before_a_time_are_purged(
    store: Store, bus: Bus
) -> None:
    await create(store, "early", "late", "kept")
    await delete(store, "early")
    before_s = time.time()
    await delete(store, "late")

    purged = await store.purge_deleted(before_s, 10)

    assert purged == 1
    assert await messages(bus) == {"late": 3, "kept": 2}


async def test_a_record_that_was_created_again_keeps_its_revisions(store: Store, bus: Bus) -> None:
    await create(store, "again")
    await delete(store, "again")
    await store.create(environment_key("again"), environment("again"))

    purged = await store.purge_deleted(time.time(), 10)

    assert purged == 0
    assert await messages(bus) == {"again": 4}


async def test_the_oldest_are_purged_first_and_no_more_than_the_limit(
    store: Store, bus: Bus
) -> None:
    await create(store, "a", "b", "c")
    await delete(store, "b", "a", "c")

    assert await store.purge_deleted(time.time(), 2) == 2
    assert (await messages(bus)).keys() == {"c"}
    assert await store.purge_deleted(time.time(), 2) == 1
    assert await messages(bus) == {}


async def test_a_purged_name_can_be_used_again(store: Store, bus: Bus) -> None:
    await create(store, "name")
    await delete(store, "name")
    await store.purge_deleted(time.time(), 10)

    await create(store, "name")

    assert await messages(bus) == {"name": 2}


async def test_an_empty_bucket_has_nothing_to_purge(store: Store) -> None:
    assert await store.purge_deleted(time.time(), 10) == 0
