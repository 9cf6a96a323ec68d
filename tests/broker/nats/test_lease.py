"""The lease: one of several processes holds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from broker.nats import bus as buses
from broker.nats import lease
from broker.nats.bus import Bus
from broker.nats.credentials import permissions
from broker.nats.credentials.permissions import Role
from kubefox import subjects
from tests.support.nats import NatsServer

# After this time the lease of a dead holder is free.
TTL_S = 1.0
SOON_S = 120


@contextlib.asynccontextmanager
async def standing_by(bus: Bus, holder: str) -> AsyncIterator[asyncio.Task[None]]:
    """Wait for the lease as ``holder``; the task ends when ``holder`` has it."""
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


async def test_the_first_process_holds_the_lease(bus: Bus) -> None:
    async with lease.hold(bus, "work", "one", ttl_s=TTL_S) as held:
        assert not held.lost.is_set()


async def test_a_released_lease_goes_to_the_process_that_stands_by(bus: Bus) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with lease.hold(bus, "work", "one", ttl_s=TTL_S):
            waiting = await stack.enter_async_context(standing_by(bus, "two"))
            await asyncio.sleep(0)
            assert not waiting.done()

        await waiting


async def test_a_released_lease_is_free_at_once(bus: Bus) -> None:
    an_hour_s = 3600
    async with lease.hold(bus, "work", "one", ttl_s=an_hour_s):
        pass

    async with asyncio.timeout(SOON_S), lease.hold(bus, "work", "two", ttl_s=an_hour_s) as held:
        assert not held.lost.is_set()


async def test_a_living_holder_renews_the_lease_until_it_releases_it(bus: Bus) -> None:
    an_hour_s = 3600
    async with (
        lease.hold(bus, "work", "one", ttl_s=an_hour_s, renewals_per_ttl=100_000) as held,
        standing_by(bus, "two") as waiting,
    ):
        bucket = await bus.jetstream().key_value(lease.BUCKET)
        first = (await bucket.get("work")).revision or 0
        while ((await bucket.get("work")).revision or 0) < first + 3:
            await bus.flush()

        assert not waiting.done()
        assert not held.lost.is_set()


async def test_the_lease_of_a_dead_holder_expires(bus: Bus) -> None:
    dead = lease.Lease(bus, "work", "one", TTL_S)
    await dead.acquire()

    async with standing_by(bus, "two") as waiting:
        await waiting


async def test_a_process_that_restarts_under_the_same_name_need_not_wait(bus: Bus) -> None:
    forever_s = 10**6
    before = lease.Lease(bus, "work", "one", forever_s)
    await before.acquire()

    async with lease.hold(bus, "work", "one", ttl_s=forever_s):
        pass


async def test_a_holder_that_lost_the_lease_is_notified_and_does_not_take_it_back(bus: Bus) -> None:
    an_hour_s = 3600
    first = lease.Lease(bus, "work", "one", an_hour_s, renewals_per_ttl=100_000)
    await first.acquire()
    bucket = await bus.jetstream().key_value(lease.BUCKET)
    await bucket.put("work", b"two")

    await first.keep()

    assert first.lost.is_set()
    assert (await bucket.get("work")).value == b"two"


async def test_an_entry_that_expires_during_a_claim_does_not_cost_the_lease(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease.Lease(bus, "work", "one", SOON_S)
    await held.acquire()
    held._written = None  # the acknowledgement of a renewal was lost
    free_revision, revisions = held._free_revision, list[int]()

    async def expire(bucket: KeyValue) -> int:
        revisions.append(await free_revision(bucket))
        if len(revisions) == 1:
            await bus.jetstream().purge_stream(f"KV_{lease.BUCKET}")
        return revisions[-1]

    monkeypatch.setattr(held, "_free_revision", expire)

    assert await held._claim()
    assert (len(revisions), revisions[-1]) == (2, 0)


async def test_a_notice_that_is_read_before_the_answer_of_a_claim_is_kept(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = lease.Lease(bus, "work", "two", SOON_S * 10)
    answers = [False, True]

    async def claim() -> bool:
        await bus.publish(subjects.LEASE_FREE, b"work")
        for _ in range(10):
            await bus.flush()
        return answers.pop(0)

    monkeypatch.setattr(waiting, "_claim", claim)
    async with asyncio.timeout(SOON_S):
        await waiting.acquire()

    assert not answers


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


async def test_one_of_several_claims_at_once_wins(bus: Bus) -> None:
    leases = [lease.Lease(bus, "work", name, SOON_S) for name in ("one", "two", "three")]

    claims = await asyncio.gather(*(claimant._claim() for claimant in leases))

    assert sorted(claims, key=str) == [False, False, True]


async def test_release_without_a_connection_does_nothing(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    held = lease.Lease(bus, "work", "one", TTL_S)
    await held.acquire()
    await asyncio.to_thread(own_nats_server.stop)

    await held.release()


async def test_a_released_lease_is_taken_at_once(bus: Bus) -> None:
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
        async with lease.hold(bus, "work", "one", ttl_s=SOON_S * 10):
            waiting = group.create_task(take(bus, "two"))
            await asyncio.sleep(0.1)  # it waits now, for a third of the lease's life
        await waiting


async def test_the_lease_of_a_dead_process_can_be_released_by_another_one(bus: Bus) -> None:
    async with (
        asyncio.timeout(SOON_S),
        asyncio.TaskGroup() as group,
        lease.hold(bus, "work", "dead", ttl_s=SOON_S * 10),
    ):
        waiting = group.create_task(take(bus, "two"))
        await lease.release_for(bus, "work", "somebody else")
        await asyncio.sleep(0.1)
        assert not waiting.done()

        await lease.release_for(bus, "work", "dead")
        await waiting


async def take(bus: Bus, holder: str) -> None:
    async with lease.hold(bus, "work", holder, ttl_s=SOON_S * 10):
        pass


@contextlib.asynccontextmanager
async def connected(server: NatsServer, role: Role, process: str) -> AsyncIterator[Bus]:
    """Connect as a process of the platform with one role."""
    login = server.login(process, permissions.for_platform([role], process))
    async with buses.connect(
        login.url, process_id=process, credentials=login.credentials
    ) as connection:
        yield connection


@pytest.mark.parametrize("role", [Role.CONTROL, Role.PODS])
async def test_a_part_that_leads_has_the_rights_to_hold_and_to_release_a_lease(
    own_secured_nats_server: NatsServer, role: Role
) -> None:
    async with (
        connected(own_secured_nats_server, Role.CONTROL, "control") as control,
        connected(own_secured_nats_server, role, "leader") as leader,
    ):
        await lease.make_leases(control)
        async with lease.hold(leader, "work", "one", ttl_s=lease.TTL_S) as first:
            assert not first.lost.is_set()
            bucket = await control.jetstream().key_value(lease.BUCKET)
            held = await bucket.get("work")
        with pytest.raises(KeyNotFoundError):
            await bucket.get("work")

    assert held.value == b"one"
