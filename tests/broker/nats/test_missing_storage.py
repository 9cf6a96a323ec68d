"""Only control makes streams and buckets: others wait for them, or have control make them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from broker.events.outbox import STREAM, ensure_outbox
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from broker.nats.jetstream import ensure_bucket
from broker.nats.kv import KvBucket
from broker.nats.missing_storage import answer_bucket_request, make_bucket
from broker.storage.bundles import open_bundles
from broker.storage.state_buckets import bucket_of
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from tests.support.nats import NatsServer

SOON_S = 120


@pytest.fixture
async def control(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="control") as bus:
        yield bus


@pytest.fixture
async def part(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="part") as bus:
        bus.makes_streams = False
        yield bus


async def serve_requests(control: Bus) -> None:
    answering = partial(answer_bucket_request, control)
    await control.serve(subjects.BUCKETS, answering, subjects.CONTROL_QUEUE)
    await control.flush()


async def test_a_part_waits_until_control_has_made_what_it_needs(
    control: Bus, part: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    opened = asyncio.gather(
        ensure_bucket(part, "kubefox-pods"), open_bundles(part), ensure_outbox(part)
    )
    async with asyncio.timeout(SOON_S):
        while caplog.text.count("is missing: waiting for control") < 3:
            await asyncio.sleep(0.01)
    assert not opened.done()
    assert await control.jetstream().streams_info() == []

    await ensure_bucket(control, "kubefox-pods")
    await open_bundles(control)
    await ensure_outbox(control)

    async with asyncio.timeout(SOON_S):
        await opened
    made = {info.config.name for info in await control.jetstream().streams_info()}
    assert made == {"KV_kubefox-pods", "OBJ_kubefox-bundles", STREAM}


async def test_control_makes_a_bucket_for_its_first_entry(control: Bus, part: Bus) -> None:
    await serve_requests(control)
    bucket = KvBucket(part, bucket_of("dev"), ttl_s=60)

    await bucket.put("key", b"value")

    found = await bucket.get("key")
    assert found is not None
    assert found.value == b"value"
    (info,) = await control.jetstream().streams_info()
    assert (info.config.name, info.config.max_age) == ("KV_kubefox-state-dev", 60)


async def test_without_control_the_error_names_it(part: Bus) -> None:
    with pytest.raises(NatsUnavailable, match="start `fox serve control`"):
        await KvBucket(part, bucket_of("dev")).put("key", b"value")


async def test_in_a_cluster_control_is_waited_for(
    control: Bus, part: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    making = asyncio.create_task(make_bucket(part, bucket_of("dev"), None))
    done, _ = await asyncio.wait([making], timeout=0.1)
    assert not done

    # It was on its way from one server to another.
    await serve_requests(control)

    await making
    assert len(await control.jetstream().streams_info()) == 1


@pytest.mark.parametrize("name", ["kubefox", "kubefox-tokens", "other"])
async def test_control_makes_no_other_bucket_on_request(control: Bus, part: Bus, name: str) -> None:
    await serve_requests(control)

    with pytest.raises(NatsUnavailable, match="it is not one that is made on request"):
        await make_bucket(part, name, None)

    assert await control.jetstream().streams_info() == []
