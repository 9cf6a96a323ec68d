from __future__ import annotations

import asyncio

import pytest

from adapters.cron.claims import ClaimRefusal, TickClaims
from broker.nats.bus import Bus

KEY = "team-a.order-app.order-worker.0"


@pytest.fixture
def claims(bus: Bus) -> TickClaims:
    return TickClaims(bus)


async def claim(
    claims: TickClaims, tick_s: int, *, now_s: float | None = None, key: str = KEY
) -> int | ClaimRefusal:
    """Claim a tick that may run for 30 s; at its due time by default."""
    now_s = tick_s if now_s is None else now_s
    return await claims.claim(key, tick_s, now_s=now_s, busy_until_s=now_s + 30)


async def test_of_many_claims_of_a_tick_one_succeeds(bus: Bus) -> None:
    results = await asyncio.gather(*(claim(TickClaims(bus), 1000) for _ in range(20)))

    assert sum(not isinstance(result, ClaimRefusal) for result in results) == 1


async def test_a_tick_is_claimed_once_even_after_it_has_ended(claims: TickClaims) -> None:
    revision = await claim(claims, 1000)
    assert isinstance(revision, int)
    await claims.release(KEY, 1000, revision)

    assert await claim(claims, 1000) is ClaimRefusal.TAKEN
    assert await claim(claims, 990) is ClaimRefusal.TAKEN


async def test_the_next_tick_is_claimed_only_after_the_previous_release(claims: TickClaims) -> None:
    revision = await claim(claims, 1000)
    assert isinstance(revision, int)
    assert await claim(claims, 1010) is ClaimRefusal.BUSY

    await claims.release(KEY, 1000, revision)

    assert isinstance(await claim(claims, 1010), int)


async def test_a_claim_that_is_not_released_expires(
    claims: TickClaims,
) -> None:
    await claim(claims, 1000)

    assert await claim(claims, 1020, now_s=1029) is ClaimRefusal.BUSY
    assert isinstance(await claim(claims, 1030, now_s=1030), int)


async def test_a_late_release_does_not_release_the_next_claim(
    claims: TickClaims,
) -> None:
    first = await claim(claims, 1000)
    assert isinstance(first, int)
    await claim(claims, 1040)

    await claims.release(KEY, 1000, first)

    assert await claim(claims, 1050) is ClaimRefusal.BUSY


async def test_a_slow_schedule_does_not_delay_others(claims: TickClaims) -> None:
    await claim(claims, 1000)

    assert isinstance(await claim(claims, 1000, key="team-b.order-app.order-worker.0"), int)


async def test_claims_from_before_the_clock_was_set_back_do_not_count(claims: TickClaims) -> None:
    await claim(claims, 5000)

    assert isinstance(await claim(claims, 1400), int)
    assert await claim(claims, 1400) is ClaimRefusal.TAKEN
