"""The lease: one of many acts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker import lease
from broker.bus import Bus
from tests.support.nats import NatsServer

# The shortest time that is far above what a loaded machine needs for a renewal.
TTL_S = 1.0
SOON_S = 10


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


@contextlib.asynccontextmanager
async def standing_by(bus: Bus, holder: str) -> AsyncIterator[asyncio.Task[None]]:
    """Want the lease as ``holder``; the task ends when it has it."""
    has_it = asyncio.Event()

    async def hold() -> None:
        async with lease.hold(bus, "work", holder, ttl_s=TTL_S):
            has_it.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    waiting = asyncio.create_task(_wait(has_it))
    try:
        yield waiting
    finally:
        for task in (waiting, holding):
            task.cancel()
        await asyncio.gather(waiting, holding, return_exceptions=True)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_the_first_to_ask_holds_the_lease(bus: Bus) -> None:
    async with lease.hold(bus, "work", "one", ttl_s=TTL_S) as held:
        assert not held.lost.is_set()


async def test_a_lease_that_is_given_back_goes_to_who_stands_by(bus: Bus) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with lease.hold(bus, "work", "one", ttl_s=TTL_S):
            waiting = await stack.enter_async_context(standing_by(bus, "two"))
            await asyncio.sleep(0)
            assert not waiting.done()

        await waiting


async def test_a_lease_that_was_given_back_is_free_at_once(bus: Bus) -> None:
    an_hour_s = 3600
    async with lease.hold(bus, "work", "one", ttl_s=an_hour_s):
        pass

    async with asyncio.timeout(SOON_S), lease.hold(bus, "work", "two", ttl_s=an_hour_s) as held:
        assert not held.lost.is_set()


async def test_a_holder_that_lives_keeps_the_lease_beyond_its_time(bus: Bus) -> None:
    async with (
        lease.hold(bus, "work", "one", ttl_s=TTL_S) as held,
        standing_by(bus, "two") as waiting,
    ):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 1.5 * TTL_S)

        assert not waiting.done()
        assert not held.lost.is_set()


async def test_a_dead_holders_lease_runs_out(bus: Bus) -> None:
    dead = lease.Lease(bus, "work", "one", TTL_S)
    await dead.acquire()

    async with standing_by(bus, "two") as waiting:
        await waiting


async def test_who_comes_back_under_its_name_need_not_wait(bus: Bus) -> None:
    forever_s = 10**6
    before = lease.Lease(bus, "work", "one", forever_s)
    await before.acquire()

    async with lease.hold(bus, "work", "one", ttl_s=forever_s):
        pass


async def test_who_lost_the_lease_learns_it_and_does_not_take_it_back(bus: Bus) -> None:
    first = lease.Lease(bus, "work", "one", TTL_S)
    await first.acquire()
    async with standing_by(bus, "two") as waiting:
        await waiting

        await first.keep()

        assert first.lost.is_set()


async def test_a_restart_of_nats_does_not_cost_the_lease(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    bus.on_reconnect(reconnected)
    held = lease.Lease(bus, "work", "one", TTL_S)
    await held.acquire()

    await asyncio.to_thread(own_nats_server.stop)
    assert await held._claim() is None
    await asyncio.to_thread(own_nats_server.start)
    await back.wait()

    assert await held._claim()


async def test_two_that_ask_at_once_do_not_both_get_it(bus: Bus) -> None:
    leases = [lease.Lease(bus, "work", name, TTL_S) for name in ("one", "two", "three")]

    claims = await asyncio.gather(*(each._claim() for each in leases))

    assert sorted(claims, key=str) == [False, False, True]


async def test_nothing_is_given_back_while_nats_is_away(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    held = lease.Lease(bus, "work", "one", TTL_S)
    await held.acquire()
    await asyncio.to_thread(own_nats_server.stop)

    await held.release()
