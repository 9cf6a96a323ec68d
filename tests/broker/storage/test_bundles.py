"""Bundles in a real object store."""

from __future__ import annotations

import asyncio
import os

import pytest

from broker.nats.bus import Bus
from broker.storage.bundles import BUCKET, CLAIMS_AT_ONCE, Bundles, open_bundles
from kubefox.errors import InternalError, NatsUnavailable, NotFound
from tests.support.bundles import age
from tests.support.connecting import connect
from tests.support.nats import NatsServer

DIGEST = "0123456789abcdef" * 2


@pytest.fixture
async def bundles(bus: Bus) -> Bundles:
    return await open_bundles(bus)


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 10_000_000])
async def test_a_stored_bundle_is_read_whole(bundles: Bundles, size: int) -> None:
    data = os.urandom(size)

    await bundles.put(DIGEST, data)

    assert await bundles.get(DIGEST) == data


async def test_a_second_put_keeps_the_first_bundle(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"first")

    await bundles.put(DIGEST, b"second")

    assert await bundles.get(DIGEST) == b"first"


async def test_two_concurrent_puts_succeed(bundles: Bundles) -> None:
    await asyncio.gather(bundles.put(DIGEST, b"same"), bundles.put(DIGEST, b"same"))

    assert await bundles.get(DIGEST) == b"same"


async def test_claim_returns_the_missing_bundles(bundles: Bundles) -> None:
    assert await bundles.all() == ()

    await bundles.put(DIGEST, b"x")

    assert await bundles.has(DIGEST)
    assert not await bundles.has("f" * 32)
    assert await bundles.claim([DIGEST, "f" * 32, "f" * 32]) == {"f" * 32}
    assert [(bundle.hash, bundle.size_bytes) for bundle in await bundles.all()] == [(DIGEST, 1)]


async def test_the_claims_of_many_bundles_are_sent_a_few_at_a_time(bus: Bus) -> None:
    most = waiting = 0

    class Counting(Bundles):
        async def _claim(self, digest: str) -> bool:
            nonlocal most, waiting
            waiting += 1
            most = max(most, waiting)
            try:
                return await super()._claim(digest)
            finally:
                waiting -= 1

    await open_bundles(bus)
    digests = {f"{number:032x}" for number in range(3 * CLAIMS_AT_ONCE)}
    bundles = Counting(bus, await bus.jetstream().object_store(BUCKET))

    assert await bundles.claim(digests) == digests
    assert most == CLAIMS_AT_ONCE


async def test_a_missing_bundle_is_not_found(bundles: Bundles) -> None:
    with pytest.raises(NotFound, match=DIGEST):
        await bundles.get(DIGEST)


async def test_bundles_outlive_the_connection_that_wrote_them(
    bundles: Bundles, own_nats_server: NatsServer
) -> None:
    await bundles.put(DIGEST, b"kept")
    await asyncio.to_thread(own_nats_server.restart)

    async with connect(own_nats_server.url, process_id="later") as bus:
        assert await (await open_bundles(bus)).get(DIGEST) == b"kept"


async def test_a_damaged_bundle_is_an_error(bus: Bus, bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"right")
    objects = await bus.jetstream().object_store(BUCKET)
    info = await objects.get_info(DIGEST)
    await bus.jetstream().purge_stream(f"OBJ_{BUCKET}", subject=f"$O.{BUCKET}.C.{info.nuid}")
    await bus.jetstream().publish(f"$O.{BUCKET}.C.{info.nuid}", b"wrong")

    with pytest.raises(InternalError, match="damaged"):
        await bundles.get(DIGEST)


async def test_without_nats_every_call_fails(bundles: Bundles, own_nats_server: NatsServer) -> None:
    await asyncio.to_thread(own_nats_server.kill)

    for call in (bundles.get(DIGEST), bundles.has(DIGEST), bundles.put(DIGEST, b"x")):
        with pytest.raises(NatsUnavailable):
            await call


async def test_a_missing_object_store_is_an_error(bus: Bus, bundles: Bundles) -> None:
    await bus.jetstream().delete_stream(f"OBJ_{BUCKET}")

    with pytest.raises(NatsUnavailable, match="store bundle"):
        await bundles.put(DIGEST, b"x")


async def test_a_new_bundle_is_not_removed(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"x")

    assert not await bundles.remove(DIGEST)

    assert await bundles.get(DIGEST) == b"x"


async def test_a_claim_keeps_an_old_bundle(bundles: Bundles) -> None:
    await bundles.put(DIGEST, b"x")
    await age(bundles, DIGEST)

    assert await bundles.claim([DIGEST]) == frozenset()

    assert not await bundles.remove(DIGEST)
    assert await bundles.get(DIGEST) == b"x"


async def test_an_unclaimed_bundle_is_removed_and_can_be_stored_again(
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


async def test_of_a_concurrent_claim_and_removal_one_succeeds(bundles: Bundles) -> None:
    for _ in range(20):
        await bundles.put(DIGEST, b"x")
        await age(bundles, DIGEST)

        missing, is_removed = await asyncio.gather(bundles.claim([DIGEST]), bundles.remove(DIGEST))

        assert await bundles.has(DIGEST) is not is_removed
        assert missing == ({DIGEST} if is_removed else frozenset())
