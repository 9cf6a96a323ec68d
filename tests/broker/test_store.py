"""The control plane's records in a real JetStream."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
from collections.abc import AsyncIterator

import pytest

from broker import breath
from broker import bus as buses
from broker.arrivals import Entry
from broker.bus import Bus
from broker.store import BUCKET, HISTORY, Store, open_store
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, VirtualEnvironment
from model.errors import BodyTooLarge, InvalidEvent, NatsUnavailable, RevisionConflict
from model.release import Release, ReleasedApp, ReleaseState
from tests.support.nats import NatsServer

KEY = "environment.dev"


def dev(colour: str = "red") -> Environment:
    return Environment(name="dev", data=EnvironmentData(vars={"colour": colour}))


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        yield bus


@pytest.fixture
async def store(bus: Bus) -> AsyncIterator[Store]:
    async with open_store(bus) as store:
        yield store


async def wait_current(store: Store) -> None:
    while not store.is_current:
        await asyncio.sleep(0)


async def wait_disconnected(bus: Bus) -> None:
    while bus.is_ready:
        await asyncio.sleep(0)


async def test_what_is_written_is_read_with_its_revision(store: Store) -> None:
    assert await store.get(KEY) is None

    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)

    assert await store.get(KEY) == (dev("blue"), second)
    assert second > first


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


async def test_writes_that_lose_are_conflicts(store: Store) -> None:
    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)

    with pytest.raises(RevisionConflict, match=KEY):
        await store.create(KEY, dev())
    with pytest.raises(RevisionConflict, match=KEY):
        await store.update(KEY, dev(), first)
    with pytest.raises(RevisionConflict, match="none"):
        await store.update("environment.none", dev(), first)
    with pytest.raises(RevisionConflict, match=KEY):
        await store.delete(KEY, first)
    assert await store.get(KEY) == (dev("blue"), second)


async def test_one_of_many_that_write_at_once_wins(store: Store) -> None:
    first = await store.create(KEY, dev())

    results = await asyncio.gather(
        *(store.update(KEY, dev(f"{each}"), first) for each in range(10)), return_exceptions=True
    )

    assert sum(isinstance(each, int) for each in results) == 1
    assert sum(isinstance(each, RevisionConflict) for each in results) == 9


async def test_a_record_too_large_for_a_message_is_refused(store: Store, bus: Bus) -> None:
    large = dev("x" * bus.max_payload_bytes)

    with pytest.raises(BodyTooLarge, match="cannot create"):
        await store.create(KEY, large)

    assert await store.get(KEY) is None
    assert bus.is_ready


async def test_what_exists_is_left_alone_by_put_new(store: Store) -> None:
    first = await store.create(KEY, dev("red"))

    await store.put_new(KEY, dev("blue"))

    assert await store.get(KEY) == (dev("red"), first)


async def test_a_deleted_record_can_be_made_again(store: Store) -> None:
    await store.delete(KEY, await store.create(KEY, dev("red")))
    assert await store.get(KEY) is None

    again = await store.create(KEY, dev("blue"))

    assert await store.get(KEY) == (dev("blue"), again)


async def test_earlier_revisions_stay_readable(store: Store) -> None:
    first = await store.create(KEY, dev("red"))
    second = await store.update(KEY, dev("blue"), first)
    await store.delete(KEY, second)

    assert await store.get(KEY, first) == (dev("red"), first)
    assert await store.get(KEY, second) == (dev("blue"), second)
    assert await store.get(KEY, second + 1) is None
    assert await store.get(KEY, 999) is None


async def test_a_revision_of_another_key_is_not_this_ones(store: Store) -> None:
    await store.create(KEY, dev())
    other = await store.create("environment.other", Environment(name="other"))

    assert await store.get(KEY, other) is None


async def test_only_the_oldest_of_many_revisions_is_gone(store: Store) -> None:
    first = revision = await store.create(KEY, dev())
    for each in range(HISTORY):
        revision = await store.update(KEY, dev(f"{each}"), revision)

    assert await store.get(KEY, first) is None
    assert await store.get(KEY, first + 1) == (dev("0"), first + 1)


async def test_the_platform_has_one_key_whoever_asks_first(
    store: Store, own_nats_server: NatsServer
) -> None:
    async with (
        buses.connect(own_nats_server.url, process_id="two") as bus,
        open_store(bus) as other,
    ):
        keys = await asyncio.gather(*(each.platform_key() for each in (store, other, store)))

    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


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

    def fail_once(self: Store, entry: Entry) -> None:
        if failures:
            raise failures.pop()
        change(self, entry)

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


async def test_a_server_without_jetstream_is_told(
    own_nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    with NatsServer(folder, config="jetstream: disabled") as server:
        async with buses.connect(server.url, process_id="one") as bus:
            with pytest.raises(NatsUnavailable, match="kubefox"):
                async with open_store(bus):
                    pass


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
