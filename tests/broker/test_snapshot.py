"""The snapshot follows the records in JetStream, whatever happens to NATS."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil

import pytest

from broker import breath
from broker import bus as buses
from broker.arrivals import Entry
from broker.bus import Bus
from broker.store import BUCKET, Store, open_store
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, VirtualEnvironment
from model.errors import InvalidEvent, NatsUnavailable
from model.release import Release, ReleasedApp, ReleaseState
from tests.broker.records import KEY, dev, wait_current, wait_disconnected
from tests.support.nats import NatsServer


async def test_the_snapshot_follows_every_change(store: Store) -> None:
    assert store.is_current

    revision = await store.create(KEY, dev())
    snapshot = await store.wait_revision(revision)
    assert snapshot.environments == {"dev": dev()}
    assert snapshot.revision_of(KEY) == revision

    await store.delete(KEY, revision)
    later = await store.wait_change(revision)
    assert later.environments == {}
    assert snapshot.environments == {"dev": dev()}


async def test_every_process_sees_what_one_writes(
    store: Store, own_nats_server: NatsServer
) -> None:
    async with (
        buses.connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus) as other,
    ):
        revision = await store.create(KEY, dev())

        assert (await other.wait_revision(revision)).environments == {"dev": dev()}


async def test_a_store_opened_later_begins_with_all_that_is_there(store: Store, bus: Bus) -> None:
    revisions = [
        await store.create(f"environment.e{each}", Environment(name=f"e{each}"))
        for each in range(300)
    ]
    await store.delete("environment.e0", revisions[0])

    async with open_store(bus) as later:
        assert len(later.snapshot.environments) == 299
        assert later.snapshot.revision == revisions[-1] + 1


async def test_what_cannot_be_read_is_passed_over_with_a_line_in_the_log(
    store: Store, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = await bus.jetstream().key_value(BUCKET)

    await bucket.put("environment.broken", b"{")
    await bucket.put("environment.empty", b"")
    await bucket.put("environment.other", b'{"name": 7}')
    await bucket.put("unknown.kind", b"?")
    revision = await store.create(KEY, dev())

    assert (await store.wait_revision(revision)).environments == {"dev": dev()}
    assert "environment.broken" in caplog.text
    assert "environment.empty" in caplog.text
    assert "environment.other" in caplog.text
    with pytest.raises(InvalidEvent, match="broken"):
        await store.get("environment.broken")
    async with open_store(bus) as later:
        assert later.snapshot.environments == {"dev": dev()}


async def test_a_change_that_cannot_be_taken_is_taken_once_it_can(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change = Store.change
    failures = [RuntimeError("a bug")]

    async def fail_once(self: Store, entry: Entry) -> None:
        if failures:
            raise failures.pop()
        await change(self, entry)

    monkeypatch.setattr(Store, "change", fail_once)
    revision = await store.create(KEY, dev())

    assert (await store.wait_revision(revision)).environments == {"dev": dev()}
    assert "a bug" in caplog.text


async def test_after_a_restart_of_nats_the_snapshot_is_current_again(
    store: Store, own_nats_server: NatsServer
) -> None:
    first = await store.create(KEY, dev("red"))
    await store.wait_revision(first)

    await asyncio.to_thread(own_nats_server.restart)
    async with (
        buses.connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus) as other,
    ):
        second = await other.update(KEY, dev("blue"), first)

    assert (await store.wait_revision(second)).environments == {"dev": dev("blue")}
    await wait_current(store)


async def test_after_a_restart_only_what_was_missed_is_read(
    store: Store, bus: Bus, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = await store.create("environment.gone", Environment(name="gone"))
    first = await store.create(KEY, dev("red"))
    before = (await store.wait_revision(first)).records.environments["dev"]
    replaced = False

    async def replace(_self: Store, _batches: object) -> None:
        nonlocal replaced
        replaced = True

    monkeypatch.setattr(Store, "replace", replace)
    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(bus)
    await asyncio.to_thread(own_nats_server.start)
    async with buses.connect(own_nats_server.url, process_id="two") as other:
        bucket = await other.jetstream().key_value(BUCKET)
        await bucket.delete("environment.gone", last=gone)
        new = await bucket.put("environment.new", b'{"name": "new"}')

    after = await store.wait_revision(new)
    await wait_current(store)
    assert not replaced
    assert sorted(after.environments) == ["dev", "new"]
    assert after.records.environments["dev"] is before


async def test_a_bucket_that_is_not_the_one_of_before_is_read_as_a_whole(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    for number in range(3):
        await store.create(f"environment.old{number}", Environment(name=f"old{number}"))

    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(bus)
    await asyncio.to_thread(shutil.rmtree, own_nats_server.folder / "jetstream")
    await asyncio.to_thread(own_nats_server.start)
    async with (
        buses.connect(own_nats_server.url, process_id="two") as other,
        open_store(other) as fresh,
    ):
        await fresh.create(KEY, dev())
        while store.snapshot.environments != {"dev": dev()}:
            await asyncio.sleep(0)

    assert store.snapshot.revision == 1


async def test_others_have_their_turns_while_the_bucket_is_read(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breath, "HOLD_S", 0)
    bucket = await bus.jetstream().key_value(BUCKET)
    await asyncio.gather(
        *(bucket.put(f"environment.e{each}", b'{"name": "e"}') for each in range(500))
    )
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    async with open_store(bus) as later:
        others.cancel()
        assert len(later.snapshot.environments) == 500

    assert turns > 500


async def test_others_have_their_turns_while_a_change_touches_many_releases(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"team-{number}" for number in range(100)]
    release = Release(id="r1", apps={}, manifest=None, requested_at_s=1, activated_at_s=1)
    for name in names:
        await store.create(
            f"virtual-environment.{name}", VirtualEnvironment(name=name, environment="dev")
        )
        state = ReleaseState(virtual_environment=name, active=release)
        await store.create(f"release.{name}", state)
    await store.wait_revision(2 * len(names))
    monkeypatch.setattr(breath, "HOLD_S", 0)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while not store.snapshot.environments:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    await store.change(Entry(KEY, b'{"name": "dev"}', 1_000))
    await others

    active = store.snapshot.plain.active
    assert all(not each.missing for each in active.values())
    assert turns >= len(active) == len(names)


async def test_a_release_is_put_together_when_all_it_is_made_of_is_read(
    store: Store, bus: Bus
) -> None:
    release = Release(
        id="r1",
        apps={"shop": ReleasedApp(deployment="v1")},
        manifest=None,
        requested_at_s=1,
        activated_at_s=1,
    )
    state = ReleaseState(virtual_environment="team-a", active=release)
    await store.create("release.team-a", state)
    virtual = VirtualEnvironment(name="team-a", environment="dev")
    await store.create("virtual-environment.team-a", virtual)
    await store.create(KEY, dev())
    deployment = Deployment(name="v1", app="shop", components={})
    last = await store.create("deployment.v1", deployment)

    async with open_store(bus) as later:
        assert later.snapshot.revision == last
        assert not later.snapshot.plain.waiting
        assert later.snapshot.plain.active["team-a"].apps["shop"].deployment == deployment


async def test_the_collector_is_at_work_again_after_a_load(store: Store) -> None:
    assert store.is_current
    assert gc.isenabled()


async def test_without_nats_the_last_snapshot_stays_and_every_call_says_so(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    await store.wait_revision(await store.create(KEY, dev()))

    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(bus)

    assert not store.is_current
    for call in (
        store.get(KEY),
        store.create(KEY, dev()),
        store.update(KEY, dev(), 1),
        store.delete(KEY, 1),
        store.platform_key(),
    ):
        with pytest.raises(NatsUnavailable):
            await call
    assert store.snapshot.environments == {"dev": dev()}
    await asyncio.to_thread(own_nats_server.start)
    await wait_current(store)


async def test_whatever_is_written_between_restarts_every_process_comes_to_know(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    choose = random.Random(1)  # noqa: S311 - the same changes on every run
    revisions: dict[str, int] = {}
    for turn in range(3):
        if turn:
            await asyncio.to_thread(own_nats_server.kill)
            await wait_disconnected(bus)
            await asyncio.to_thread(own_nats_server.start)
        async with (
            buses.connect(own_nats_server.url, process_id=f"writer-{turn}") as other,
            open_store(other) as writer,
        ):
            for number in range(40):
                name = f"e{choose.randrange(8)}"
                await write_or_delete(writer, revisions, name, number, choose)
            last = await writer.create(f"environment.turn{turn}", Environment(name="turn"))
            revisions[f"turn{turn}"] = last
            fresh = await writer.wait_revision(last)

        follows = await store.wait_revision(last)
        assert follows.environments == fresh.environments
        assert follows.environments.keys() == revisions.keys()


async def write_or_delete(
    store: Store, revisions: dict[str, int], name: str, number: int, choose: random.Random
) -> None:
    """Change one environment at random."""
    key, held = f"environment.{name}", revisions.get(name)
    if held is None:
        revisions[name] = await store.create(key, Environment(name=name))
    elif choose.random() < 0.3:
        await store.delete(key, revisions.pop(name))
    else:
        data = EnvironmentData(vars={"number": number})
        revisions[name] = await store.update(key, Environment(name=name, data=data), held)
