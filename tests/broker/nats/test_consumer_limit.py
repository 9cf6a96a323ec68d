"""More processes follow a bucket than nats-server allows by default."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from nats.js import api

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.consumer_limit import add_consumer, raise_limit
from broker.nats.jetstream import ensure_bucket
from broker.nats.watch import watch_bucket
from kubefox.errors import NatsUnavailable
from tests.broker.nats.test_watch import KeyReplica
from tests.support.nats import ANSWER_S, NatsServer

BUCKET = "followed"
STREAM = f"KV_{BUCKET}"
DEFAULT_LIMIT = 1_000
MORE = 100
AT_ONCE = 50
# The server removes a consumer without subscribers after 5 s, in which a slow machine adds too few.
KEPT_S = 3_600


def connect(url: str) -> AbstractAsyncContextManager[Bus]:
    return buses.connect(url, process_id="process", jetstream_timeout_s=ANSWER_S)


def consumer(subject: str) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        deliver_subject=subject,
        ack_policy=api.AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=KEPT_S,
    )


async def add_followers(bus: Bus, count: int) -> None:
    """Add consumers as other processes do, without a process for each."""
    jetstream = bus.jetstream()
    adding = asyncio.Semaphore(AT_ONCE)

    async def add(number: int) -> None:
        async with adding:
            await jetstream.add_consumer(STREAM, consumer(f"follower.{number}"))

    await asyncio.gather(*(add(number) for number in range(count)))


async def test_a_bucket_has_more_followers_than_the_servers_default_limit(
    own_nats_server: NatsServer,
) -> None:
    async with connect(own_nats_server.url) as bus:
        bucket, replica = await ensure_bucket(bus, BUCKET), KeyReplica()
        await bucket.put("one", b"1")
        await add_followers(bus, DEFAULT_LIMIT)

        async with watch_bucket(bus, BUCKET, replica):
            await add_followers(bus, MORE)

            assert replica.keys == {"one"}
            info = await bus.jetstream().stream_info(STREAM)
            # A process that got no heartbeat for long has made its consumer once more.
            assert info.state.consumer_count >= DEFAULT_LIMIT + 1 + MORE


async def test_raising_the_limit_keeps_all_other_settings_of_the_stream(
    own_nats_server: NatsServer,
) -> None:
    async with connect(own_nats_server.url) as bus:
        await ensure_bucket(bus, BUCKET, history=7, ttl_s=60)
        before = await bus.jetstream().stream_info(STREAM)
        await add_followers(bus, DEFAULT_LIMIT)

        async with watch_bucket(bus, BUCKET, KeyReplica()):
            after = await bus.jetstream().stream_info(STREAM)

    assert after.config.max_consumers is not None
    assert after.config.max_consumers > DEFAULT_LIMIT
    assert after.config.evolve(max_consumers=before.config.max_consumers) == before.config


async def test_several_processes_that_meet_the_limit_at_once_all_follow(
    own_nats_server: NatsServer,
) -> None:
    async with connect(own_nats_server.url) as bus:
        await ensure_bucket(bus, BUCKET)
        await add_followers(bus, DEFAULT_LIMIT)

        def add(number: int) -> Awaitable[api.ConsumerInfo]:
            return add_consumer(bus, STREAM, consumer(f"late.{number}"))

        added = await asyncio.gather(*map(add, range(AT_ONCE)))

    assert len({info.name for info in added}) == AT_ONCE


async def test_a_limit_of_the_nats_account_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user = "users: [ { user: u, password: p } ]"
    account = f"accounts {{ platform {{ jetstream {{ max_consumers: 1 }}, {user} }} }}"
    with (
        NatsServer(tmp_path, f"{account}\nno_auth_user: u") as server,
        caplog.at_level(logging.WARNING),
    ):
        async with connect(server.url) as bus:
            await ensure_bucket(bus, BUCKET)
            await add_followers(bus, 1)
            following = asyncio.create_task(follow(bus))
            while "max_consumers" not in caplog.text:
                assert not following.done()
                await bus.flush()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    assert "cannot follow KV_followed" in caplog.text
    assert "`max_consumers` in the JetStream limits of the NATS account" in caplog.text


async def follow(bus: Bus) -> None:
    async with watch_bucket(bus, BUCKET, KeyReplica()):
        raise AssertionError("the account allows one consumer only")


async def test_only_control_raises_the_limit(own_nats_server: NatsServer) -> None:
    async with connect(own_nats_server.url) as bus:
        await ensure_bucket(bus, BUCKET)
        await add_followers(bus, DEFAULT_LIMIT)
        bus.makes_streams = False

        with pytest.raises(NatsUnavailable, match="default_max_consumers"):
            await add_consumer(bus, STREAM, consumer("refused"))

        await raise_limit(bus, STREAM)
        await add_consumer(bus, STREAM, consumer("accepted"))
