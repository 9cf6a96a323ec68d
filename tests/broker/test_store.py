"""The control plane's records in a real JetStream."""

from __future__ import annotations

import asyncio

import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.store import HISTORY, Store, open_store
from model.environment import Environment
from model.errors import BodyTooLarge, NatsUnavailable, RevisionConflict
from tests.broker.records import KEY, dev
from tests.support.nats import NatsServer


async def test_what_is_written_is_read_with_its_revision(store: Store) -> None:
    assert await store.get(KEY) is None

    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)

    assert await store.get(KEY) == (dev("blue"), second)
    assert second > first


async def test_writes_that_lose_are_conflicts(store: Store) -> None:
    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)

    with pytest.raises(RevisionConflict, match=KEY):
        await store.create(KEY, dev())
    with pytest.raises(RevisionConflict, match=KEY):
        await store.update(KEY, dev(), first)
    with pytest.raises(RevisionConflict, match="none"):
        await store.update("environment.none", dev(), first)
    with pytest.raises(RevisionConflict, match=KEY):
        await store.delete(KEY, first)
    assert await store.get(KEY) == (dev("blue"), second)


async def test_one_of_many_that_write_at_once_wins(store: Store) -> None:
    first = await store.create(KEY, dev())

    results = await asyncio.gather(
        *(store.update(KEY, dev(f"{each}"), first) for each in range(10)), return_exceptions=True
    )

    assert sum(isinstance(each, int) for each in results) == 1
    assert sum(isinstance(each, RevisionConflict) for each in results) == 9


async def test_a_record_too_large_for_a_message_is_refused(store: Store, bus: Bus) -> None:
    large = dev("x" * bus.max_payload_bytes)

    with pytest.raises(BodyTooLarge, match="cannot create"):
        await store.create(KEY, large)

    assert await store.get(KEY) is None
    assert bus.is_ready


async def test_what_exists_is_left_alone_by_put_new(store: Store) -> None:
    first = await store.create(KEY, dev("red"))

    await store.put_new(KEY, dev("blue"))

    assert await store.get(KEY) == (dev("red"), first)


async def test_a_deleted_record_can_be_made_again(store: Store) -> None:
    await store.delete(KEY, await store.create(KEY, dev("red")))
    assert await store.get(KEY) is None

    again = await store.create(KEY, dev("blue"))

    assert await store.get(KEY) == (dev("blue"), again)


async def test_earlier_revisions_stay_readable(store: Store) -> None:
    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)
    await store.delete(KEY, second)

    assert await store.get(KEY, first) == (dev("red"), first)
    assert await store.get(KEY, second) == (dev("blue"), second)
    assert await store.get(KEY, second + 1) is None
    assert await store.get(KEY, 999) is None


async def test_a_revision_of_another_key_is_not_this_ones(store: Store) -> None:
    await store.create(KEY, dev())
    other = await store.create("environment.other", Environment(name="other"))

    assert await store.get(KEY, other) is None


async def test_only_the_oldest_of_many_revisions_is_gone(store: Store) -> None:
    first = revision = await store.create(KEY, dev())
    for each in range(HISTORY):
        revision = await store.update(KEY, dev(f"{each}"), revision)

    assert await store.get(KEY, first) is None
    assert await store.get(KEY, first + 1) == (dev("0"), first + 1)


async def test_the_platform_has_one_key_whoever_asks_first(
    store: Store, own_nats_server: NatsServer
) -> None:
    async with (
        buses.connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus) as other,
    ):
        keys = await asyncio.gather(*(each.platform_key() for each in (store, other, store)))

    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


async def test_a_server_without_jetstream_is_told(
    own_nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    with NatsServer(folder, config="jetstream: disabled") as server:
        async with buses.connect(server.url, process_id="one") as bus:
            with pytest.raises(NatsUnavailable, match="kubefox"):
                async with open_store(bus):
                    pass
