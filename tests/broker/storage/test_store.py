"""The control plane's records in a real JetStream."""

from __future__ import annotations

import asyncio

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.storage.records_bucket import HISTORY, MAX_REVISIONS_BYTES
from broker.storage.store import Store, open_store
from kubefox.environment import Environment
from kubefox.errors import BodyTooLarge, NatsUnavailable, Problem, RevisionConflict
from kubefox.records import release_key
from kubefox.release import Release, ReleaseState
from tests.broker.records import KEY, dev
from tests.support.keys import KEYS
from tests.support.nats import NatsServer
from tests.support.revisions import revisions


async def test_a_record_is_read_with_its_revision(store: Store) -> None:
    assert await store.get(KEY) is None

    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)

    assert await store.get(KEY) == (dev("blue"), second)
    assert second > first


async def test_a_lost_compare_and_set_is_a_revision_conflict(store: Store) -> None:
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


async def test_one_of_many_concurrent_updates_succeeds(store: Store) -> None:
    first = await store.create(KEY, dev())

    results = await asyncio.gather(
        *(store.update(KEY, dev(f"{number}"), first) for number in range(10)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, RevisionConflict) for result in results) == 9


@pytest.mark.parametrize("size", [10, 900, 3_000])
async def test_the_revisions_of_a_release_are_bounded_in_bytes(
    store: Store, bus: Bus, size: int
) -> None:
    key, revision = release_key("team-a"), store.revision
    for number in range(HISTORY + 10):
        problem = Problem(type="X", message=f"{number}".ljust(size, "x"), path="")
        release = Release(id="r", apps={}, manifest=None, requested_at_s=0, problems=(problem,))
        state = ReleaseState(virtual_environment="team-a", pending=release)
        revision = await store.put(key, state, revision)

    kept = (await revisions(bus, key))[key]
    assert sum(len(value) for value in kept) <= MAX_REVISIONS_BYTES
    assert await store.get(key) == (state, revision)
    assert (await store.wait_revision(revision)).releases["team-a"] == state


async def test_all_revisions_of_an_environment_stay_for_the_contexts_that_name_them(
    store: Store,
) -> None:
    revisions, since = [], store.revision
    for number in range(5):
        since = await store.put(KEY, dev(f"{number}".ljust(3_000)), since)
        revisions.append(since)

    found = [await store.get(KEY, revision) for revision in revisions]

    assert [entry[1] for entry in found if entry] == revisions


async def test_a_record_too_large_for_a_message_is_refused(store: Store, bus: Bus) -> None:
    large = dev("x" * bus.max_payload_bytes)

    with pytest.raises(BodyTooLarge, match="cannot create"):
        await store.create(KEY, large)

    assert await store.get(KEY) is None
    assert bus.is_ready


async def test_create_if_missing_keeps_an_existing_record(store: Store) -> None:
    first = await store.create(KEY, dev("red"))

    await store.create_if_missing(KEY, dev("blue"))

    assert await store.get(KEY) == (dev("red"), first)


async def test_a_deleted_record_can_be_created_again(store: Store) -> None:
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


async def test_a_revision_of_another_key_is_not_found(store: Store) -> None:
    await store.create(KEY, dev())
    other = await store.create("environment.other", Environment(name="other"))

    assert await store.get(KEY, other) is None


async def test_the_history_drops_the_oldest_revision(store: Store) -> None:
    first = revision = await store.create(KEY, dev())
    for number in range(HISTORY):
        revision = await store.update(KEY, dev(f"{number}"), revision)

    assert await store.get(KEY, first) is None
    assert await store.get(KEY, first + 1) == (dev("0"), first + 1)


async def test_a_server_without_jetstream_is_an_error(
    own_nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    with NatsServer(folder, config="jetstream: disabled") as server:
        async with buses.connect(server.url, process_id="one") as bus:
            with pytest.raises(NatsUnavailable, match="kubefox"):
                async with open_store(bus, KEYS, creates_keys=True):
                    pass
