"""Bundles in a real object store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.bundles import BUCKET, Bundles, open_bundles
from broker.bus import Bus
from model.errors import InternalError, NatsUnavailable, NotFound
from tests.support.bundles import age
from tests.support.nats import NatsServer

DIGEST = "0123456789abcdef" * 2


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


@pytest.fixture
async def bundles(bus: Bus) -> Bundles:
    return await open_bundles(bus)


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 10_000_000])
async def test_what_was_put_comes_back_whole(bundles: Bundles, size: int) -> None:
    data = os.urandom(size)

    await bundles.put(DIGEST, data)

    assert await bundles.get(DIGEST) == data


async def test_a_second_put_leaves_the_first_alone(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"first")

    await bundles.put(DIGEST, b"second")

    assert await bundles.get(DIGEST) == b"first"


async def test_two_that_put_at_once_both_succeed(bundles: Bundles) -> None:
    await asyncio.gather(bundles.put(DIGEST, b"same"), bundles.put(DIGEST, b"same"))

    assert await bundles.get(DIGEST) == b"same"


async def test_what_is_there_and_what_is_missing_is_told(bundles: Bundles) -> None:
    assert await bundles.held() == ()

    await bundles.put(DIGEST, b"x")

    assert await bundles.has(DIGEST)
    assert not await bundles.has("f" * 32)
    assert await bundles.claim([DIGEST, "f" * 32, "f" * 32]) == {"f" * 32}
    assert [(each.hash, each.size_bytes) for each in await bundles.held()] == [(DIGEST, 1)]


async def test_a_bundle_that_is_not_there_is_not_found(bundles: Bundles) -> None:
    with pytest.raises(NotFound, match=DIGEST):
        await bundles.get(DIGEST)


async def test_bundles_outlive_the_connection_that_wrote_them(
    bundles: Bundles, own_nats_server: NatsServer
) -> None:
    await bundles.put(DIGEST, b"kept")
    await asyncio.to_thread(own_nats_server.restart)

    async with buses.connect(own_nats_server.url, process_id="later") as bus:
        assert await (await open_bundles(bus)).get(DIGEST) == b"kept"


async def test_damage_in_the_object_store_is_seen(bus: Bus, bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"right")
    objects = await bus.jetstream().object_store(BUCKET)
    info = await objects.get_info(DIGEST)
    await bus.jetstream().purge_stream(f"OBJ_{BUCKET}", subject=f"$O.{BUCKET}.C.{info.nuid}")
    await bus.jetstream().publish(f"$O.{BUCKET}.C.{info.nuid}", b"wrong")

    with pytest.raises(InternalError, match="damaged"):
        await bundles.get(DIGEST)


async def test_without_nats_every_call_says_so(
    bundles: Bundles, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)

    for call in (bundles.get(DIGEST), bundles.has(DIGEST), bundles.put(DIGEST, b"x")):
        with pytest.raises(NatsUnavailable):
            await call


async def test_an_object_store_that_is_gone_is_no_silent_success(
    bus: Bus, bundles: Bundles
) -> None:
    await bus.jetstream().delete_stream(f"OBJ_{BUCKET}")

    with pytest.raises(NatsUnavailable, match="store bundle"):
        await bundles.put(DIGEST, b"x")


async def test_a_bundle_that_was_just_stored_is_not_removed(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"x")

    assert not await bundles.remove(DIGEST)

    assert await bundles.get(DIGEST) == b"x"


async def test_a_claim_keeps_a_bundle_that_had_been_there_for_long(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"x")
    await age(bundles, DIGEST)

    assert await bundles.claim([DIGEST]) == frozenset()

    assert not await bundles.remove(DIGEST)
    assert await bundles.get(DIGEST) == b"x"


async def test_a_bundle_that_nobody_claimed_is_removed_whole_and_can_come_back(
    bundles: Bundles, bus: Bus
) -> None:
    await bundles.put(DIGEST, b"x" * 500_000)
    await age(bundles, DIGEST)

    assert await bundles.remove(DIGEST)

    assert await bundles.claim([DIGEST]) == {DIGEST}
    stream = await bus.jetstream().stream_info(f"OBJ_{BUCKET}")
    assert stream.state.messages == 0
    await bundles.put(DIGEST, b"again")
    assert await bundles.get(DIGEST) == b"again"


async def test_of_a_claim_and_a_removal_at_once_one_wins(bundles: Bundles) -> None:
    for _ in range(20):
        await bundles.put(DIGEST, b"x")
        await age(bundles, DIGEST)

        missing, is_removed = await asyncio.gather(bundles.claim([DIGEST]), bundles.remove(DIGEST))

        assert await bundles.has(DIGEST) is not is_removed
        assert missing == ({DIGEST} if is_removed else frozenset())
