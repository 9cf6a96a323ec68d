from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.cron_claims import Refusal, TickClaims
from broker import bus as buses
from broker.bus import Bus
from tests.support.nats import NatsServer

KEY = "team-a.order-app.order-worker.0"


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="claims") as bus:
        yield bus


@pytest.fixture
def claims(bus: Bus) -> TickClaims:
    return TickClaims(bus)


async def claim(
    claims: TickClaims, tick_s: int, *, now_s: float | None = None, key: str = KEY
) -> int | Refusal:
    """Claim a tick that may run for 30 s; without a time, when it is due."""
    now_s = tick_s if now_s is None else now_s
    return await claims.claim(key, tick_s, now_s=now_s, busy_until_s=now_s + 30)


async def test_of_many_that_want_a_tick_one_gets_it(bus: Bus) -> None:
    results = await asyncio.gather(*(claim(TickClaims(bus), 1000) for _ in range(20)))

    assert sum(not isinstance(each, Refusal) for each in results) == 1


async def test_a_tick_is_claimed_once_even_after_it_has_ended(claims: TickClaims) -> None:
    revision = await claim(claims, 1000)
    assert isinstance(revision, int)
    await claims.release(KEY, 1000, revision)

    assert await claim(claims, 1000) is Refusal.TAKEN
    assert await claim(claims, 990) is Refusal.TAKEN


async def test_the_next_tick_waits_for_the_release_of_the_one_before(claims: TickClaims) -> None:
    revision = await claim(claims, 1000)
    assert isinstance(revision, int)
    assert await claim(claims, 1010) is Refusal.BUSY

    await claims.release(KEY, 1000, revision)

    assert isinstance(await claim(claims, 1010), int)


async def test_a_tick_that_was_never_released_blocks_no_longer_than_it_may_run(
    claims: TickClaims,
) -> None:
    await claim(claims, 1000)

    assert await claim(claims, 1020, now_s=1029) is Refusal.BUSY
    assert isinstance(await claim(claims, 1030, now_s=1030), int)


async def test_a_release_that_comes_too_late_does_not_end_the_next_tick(
    claims: TickClaims,
) -> None:
    first = await claim(claims, 1000)
    assert isinstance(first, int)
    await claim(claims, 1040)

    await claims.release(KEY, 1000, first)

    assert await claim(claims, 1050) is Refusal.BUSY


async def test_schedules_do_not_wait_for_each_other(claims: TickClaims) -> None:
    await claim(claims, 1000)

    assert isinstance(await claim(claims, 1000, key="team-b.order-app.order-worker.0"), int)
