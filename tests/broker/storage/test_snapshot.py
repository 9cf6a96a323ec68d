"""The snapshot follows the records in JetStream, also when NATS restarts."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
from pathlib import Path

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.entry_buffer import WatchedEntry
from broker.storage.records_bucket import BUCKET
from broker.storage.store import Store, open_store
from kubefox.deployment import Deployment
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.errors import InvalidEvent, NatsUnavailable
from kubefox.release import Release, ReleasedApp, ReleaseState
from tests.broker.records import KEY, dev, wait_current, wait_disconnected
from tests.support.connecting import connect
from tests.support.keys import KEYS
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


async def test_a_wait_for_a_change_ends_when_nats_is_restored_to_an_older_state(
    store: Store, own_nats_server: NatsServer, tmp_path: Path
) -> None:
    data, backup = own_nats_server.folder / "jetstream", tmp_path / "backup"
    older = await store.create(KEY, dev())
    await asyncio.to_thread(own_nats_server.stop)
    await asyncio.to_thread(shutil.copytree, data, backup)
    await asyncio.to_thread(own_nats_server.start)
    await wait_current(store)
    newer = await store.update(KEY, dev("blue"), older)
    await store.wait_revision(newer)

    waiting = asyncio.create_task(store.wait_change(newer))
    await asyncio.to_thread(own_nats_server.stop)
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, backup, data)
    await asyncio.to_thread(own_nats_server.start)
    restored = await waiting

    assert restored.revision == older
    assert restored.environments == {"dev": dev()}


async def test_every_process_sees_a_write_of_another(
    store: Store, own_nats_server: NatsServer
) -> None:
    async with (
        connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus, KEYS, creates_keys=True) as other,
    ):
        revision = await store.create(KEY, dev())

        assert (await other.wait_revision(revision)).environments == {"dev": dev()}


async def test_a_store_that_is_opened_later_starts_with_all_records(store: Store, bus: Bus) -> None:
    revisions = [
        await store.create(f"environment.e{number}", Environment(name=f"e{number}"))
        for number in range(300)
    ]
    await store.delete("environment.e0", revisions[0])

    async with open_store(bus, KEYS, creates_keys=True) as later:
        assert len(later.snapshot.environments) == 299
        assert later.snapshot.revision == revisions[-1] + 1


async def test_an_unreadable_record_is_ignored_and_logged(
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
    async with open_store(bus, KEYS, creates_keys=True) as later:
        assert later.snapshot.environments == {"dev": dev()}


async def test_a_change_that_fails_is_applied_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change = Store.apply
    failures = [RuntimeError("a bug")]

    async def fail_once(self: Store, entry: WatchedEntry) -> None:
        if failures:
            raise failures.pop()
        await change(self, entry)

    monkeypatch.setattr(Store, "apply", fail_once)
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
        connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus, KEYS, creates_keys=True) as other,
    ):
        second = await other.update(KEY, dev("blue"), first)

    assert (await store.wait_revision(second)).environments == {"dev": dev("blue")}
    await wait_current(store)


async def test_after_a_restart_only_the_missed_changes_are_read(
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
    async with connect(own_nats_server.url, process_id="two") as other:
        bucket = await other.jetstream().key_value(BUCKET)
        await bucket.delete("environment.gone", last=gone)
        new = await bucket.put("environment.new", b'{"name": "new"}')

    after = await store.wait_revision(new)
    await wait_current(store)
    assert not replaced
    assert sorted(after.environments) == ["dev", "new"]
    assert after.records.environments["dev"] is before


async def test_a_replaced_bucket_is_read_as_a_whole(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    for number in range(3):
        await store.create(f"environment.old{number}", Environment(name=f"old{number}"))

    await asyncio.to_thread(own_nats_server.kill)
    await wait_disconnected(bus)
    await asyncio.to_thread(shutil.rmtree, own_nats_server.folder / "jetstream")
    await asyncio.to_thread(own_nats_server.start)
    async with (
        connect(own_nats_server.url, process_id="two") as other,
        open_store(other, KEYS, creates_keys=True) as fresh,
    ):
        await fresh.create(KEY, dev())
        while store.snapshot.environments != {"dev": dev()}:
            await asyncio.sleep(0)

    assert store.snapshot.revision == fresh.snapshot.revision


async def test_reading_the_bucket_yields_to_other_tasks(store: Store, bus: Bus) -> None:
    bucket = await bus.jetstream().key_value(BUCKET)
    await asyncio.gather(
        *(bucket.put(f"environment.e{number}", b'{"name": "e"}') for number in range(500))
    )
    iterations = 0

    async def count_iterations() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_iterations())
    async with open_store(bus, KEYS, creates_keys=True, time_slice_s=0) as later:
        counting.cancel()
        assert len(later.snapshot.environments) == 500

    assert iterations > 500


async def test_a_change_of_many_releases_yields_to_other_tasks(bus: Bus) -> None:
    async with open_store(bus, KEYS, creates_keys=True, time_slice_s=0) as store:
        names = [f"team-{number}" for number in range(100)]
        release = Release(id="r1", apps={}, manifest=None, requested_at_s=1, activated_at_s=1)
        for name in names:
            await store.create(
                f"virtual-environment.{name}", VirtualEnvironment(name=name, environment="dev")
            )
            state = ReleaseState(virtual_environment=name, active=release)
            revision = await store.create(f"release.{name}", state)
        await store.wait_revision(revision)
        iterations = 0

        async def count_iterations() -> None:
            nonlocal iterations
            while not store.snapshot.environments:
                iterations += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_iterations())
        await store.apply(WatchedEntry(KEY, b'{"name": "dev"}', 1_000))
        await counting

        active = store.snapshot.release_index.active_releases
        assert all(not release.missing for release in active.values())
        assert iterations >= len(active) == len(names)


async def test_a_release_is_assembled_after_all_of_its_records_are_read(
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

    async with open_store(bus, KEYS, creates_keys=True) as later:
        assert later.snapshot.revision == last
        assert not later.snapshot.release_index.incomplete
        assert (
            later.snapshot.release_index.active_releases["team-a"].apps["shop"].deployment
            == deployment
        )


async def test_garbage_collection_is_enabled_again_after_loading(store: Store) -> None:
    assert store.is_current
    assert gc.isenabled()


async def test_without_nats_the_last_snapshot_stays_and_every_call_fails(
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
        store.keys.reload(),
    ):
        with pytest.raises(NatsUnavailable):
            await call
    assert store.snapshot.environments == {"dev": dev()}
    await asyncio.to_thread(own_nats_server.start)
    await wait_current(store)


async def test_every_process_gets_all_writes_between_restarts(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    choose = random.Random(1)  # noqa: S311 - the same changes on every run
    revisions: dict[str, int] = {}
    for restart in range(3):
        if restart:
            await asyncio.to_thread(own_nats_server.kill)
            await wait_disconnected(bus)
            await asyncio.to_thread(own_nats_server.start)
        async with (
            buses.connect(own_nats_server.url, process_id=f"writer-{restart}") as other,
            open_store(other, KEYS, creates_keys=True) as writer,
        ):
            for number in range(40):
                name = f"e{choose.randrange(8)}"
                await write_or_delete(writer, revisions, name, number, choose)
            last = await writer.create(f"environment.last{restart}", Environment(name="last"))
            revisions[f"last{restart}"] = last
            fresh = await writer.wait_revision(last)

        follows = await store.wait_revision(last)
        assert follows.environments == fresh.environments
        assert follows.environments.keys() == revisions.keys()


async def write_or_delete(
    store: Store, revisions: dict[str, int], name: str, number: int, choose: random.Random
) -> None:
    """Change one environment at random."""
    key, revision = f"environment.{name}", revisions.get(name)
    if revision is None:
        revisions[name] = await store.create(key, Environment(name=name))
    elif choose.random() < 0.3:
        await store.delete(key, revisions.pop(name))
    else:
        data = EnvironmentData(vars={"number": number})
        revisions[name] = await store.update(key, Environment(name=name, data=data), revision)
