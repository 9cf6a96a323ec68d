"""The keys rotate: no token and no secret is lost, and nothing is left under the old keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from adapters.events.retry import MAX_AGE_S as MAX_RETRY_S
from broker.dispatch.broker import Broker, open_broker
from broker.dispatch.key_rotation import KeyRotation
from broker.dispatch.usage import Usage, ask_usage
from broker.events.dead_letters import MAX_AGE_S as DEAD_LETTER_S
from broker.nats.bus import Bus
from broker.nats.jetstream import ensure_bucket
from broker.runtime.settings import Settings
from broker.storage import past_records
from broker.storage.records_bucket import BUCKET, HISTORY, subject_of
from fox.key_file import KeyFile
from kubefox import key_ring, records
from kubefox.context import EventContext, sealing_key_of
from kubefox.delivery import CONTEXT_LIFE_S, MAX_DELAY_S
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.errors import Conflict, InvalidEvent, RevisionConflict, Unavailable
from kubefox.key_ring import KeyKind
from kubefox.release import ReleaseManifest
from tests.support.data_plane import SETTINGS
from tests.support.nats import NatsServer
from tests.support.platform_nats import connect
from tests.support.revisions import revisions

CONTEXT = EventContext("shop", "shop-v1", "team-a", deployment_revision=7)
KEY = "environment.dev"
PASSWORD = "correct-horse-battery"


def dev(password: str = PASSWORD) -> Environment:
    return Environment(name="dev", data=EnvironmentData(secrets={"password": password}))


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys", is_own=True)


@pytest.fixture
async def broker(own_nats_server: NatsServer, key_file: KeyFile) -> AsyncIterator[Broker]:
    async with (
        connect(own_nats_server.login("control")) as bus,
        open_broker(bus, SETTINGS, key_file, creates_keys=True) as broker,
    ):
        yield broker


@pytest.fixture
async def other(
    broker: Broker, own_nats_server: NatsServer, key_file: KeyFile
) -> AsyncIterator[Broker]:
    """A broker of another process."""
    async with (
        connect(own_nats_server.login("other")) as bus,
        open_broker(bus, SETTINGS, key_file) as other,
    ):
        assert other.store.keys.known == broker.store.keys.known
        yield other


@pytest.fixture
def rotation(broker: Broker) -> KeyRotation:
    return KeyRotation(broker.bus, broker.store, settle_s=0)


async def ask_both(bus: Bus) -> list[Usage]:
    """Return the answers of both brokers, also if one of them takes long."""
    while len(answers := await ask_usage(bus) or []) < 2:
        pass
    return answers


async def reseal(rotation: KeyRotation, limit: int = 100) -> int:
    """Encrypt all records again, and return how many revisions were."""
    renewed = 0
    while (part := await rotation.reseal(limit)).left:
        renewed += part.renewed
    return renewed


async def test_tokens_of_earlier_keys_are_accepted_in_all_processes(
    broker: Broker, other: Broker, rotation: KeyRotation
) -> None:
    tokens = [broker.contexts.seal(CONTEXT)]

    for _ in range(3):
        await rotation.rotate(KeyKind.SEALING)
        tokens.append(broker.contexts.seal(CONTEXT))

    assert len({sealing_key_of(token) for token in tokens}) == 4
    while other.store.keys.ring != broker.store.keys.ring:
        await asyncio.sleep(0)
    for each in (broker, other):
        assert {each.contexts.claims(token) for token in tokens} == {CONTEXT}
        assert each.contexts.seal(CONTEXT) == tokens[-1]
        assert len(each.contexts.derived_keys("test")) == 4


async def test_a_token_that_overtakes_the_news_of_its_key_is_opened(
    broker: Broker, other: Broker, rotation: KeyRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_late(*_arguments: object) -> None:
        """The watch of the other process has not received the keys yet."""

    await broker.store.create(KEY, dev())
    context = EventContext("shop", "none", "none", deployment_revision=1)
    monkeypatch.setattr(other.store, "_follow_keys", is_late)
    monkeypatch.setattr("broker.dispatch.key_rotation.KNOWN_TIMEOUT_S", 0.1)
    monkeypatch.setattr("broker.dispatch.key_rotation.ask_usage", ask_both)
    with pytest.raises(Unavailable, match="1 of 2 processes"):
        await rotation.rotate(KeyKind.SEALING)
    ring = broker.store.keys.ring
    new = ring.sealing_keys[-1].id
    assert new not in other.store.keys.known
    await rotation._write(key_ring.using_sealing_key(ring, new, now_s=time.time()))

    # The token is valid, though its deployment does not exist.
    with pytest.raises(Exception, match=r"deployment\.none at revision 1 is gone"):
        await other.contexts.open(broker.contexts.seal(context))

    assert new in other.store.keys.known


async def test_a_forged_key_id_is_refused_and_the_keys_are_read_at_most_once_a_second(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    reload = broker.store.keys.reload

    async def count() -> bool:
        nonlocal reads
        reads += 1
        return await reload()

    monkeypatch.setattr(broker.store.keys, "reload", count)
    monkeypatch.setattr("broker.storage.platform_keys.REFRESH_S", 3_600)
    for number in range(50):
        with pytest.raises(InvalidEvent, match="does not have"):
            await broker.contexts.open(f"{number}.AAAA")

    assert reads <= 1


async def test_dropped_keys_open_no_token_even_one_that_was_opened_before(
    broker: Broker, other: Broker, rotation: KeyRotation
) -> None:
    old = broker.contexts.seal(CONTEXT)
    await rotation.rotate(KeyKind.SEALING)
    assert other.contexts.claims(old) == CONTEXT

    await rotation.drop_replaced()
    while other.store.keys.ring != broker.store.keys.ring:
        await asyncio.sleep(0)

    for each in (broker, other):
        with pytest.raises(InvalidEvent, match="too old"):
            await each.contexts.open(old)


async def test_upkeep_removes_a_key_when_no_event_can_have_its_tokens(
    broker: Broker, rotation: KeyRotation
) -> None:
    first = broker.store.keys.ring.sealing_key
    await rotation.rotate(KeyKind.SEALING)
    early = KeyRotation(broker.bus, broker.store, now=lambda: time.time() + CONTEXT_LIFE_S - 60)
    late = KeyRotation(broker.bus, broker.store, now=lambda: time.time() + CONTEXT_LIFE_S + 60)

    await early.keep_up(asyncio.Event())
    assert first in broker.store.keys.known
    await late.keep_up(asyncio.Event())

    assert first not in broker.store.keys.known
    assert broker.contexts.claims(broker.contexts.seal(CONTEXT)) == CONTEXT


def test_a_key_lives_longer_than_every_event() -> None:
    stream_s = Settings().stream_max_s

    assert MAX_DELAY_S + MAX_RETRY_S + DEAD_LETTER_S + stream_s < CONTEXT_LIFE_S


async def test_a_key_of_requests_in_flight_stays(broker: Broker) -> None:
    ring = broker.store.keys.ring
    old = msgspec.structs.replace(ring.sealing_keys[0], id="old", last_used_s=1_000)
    ring = msgspec.structs.replace(ring, sealing_keys=(old, *ring.sealing_keys))

    seen = key_ring.noting_use(ring, {"old"}, now_s=100_000, every_s=86_400)
    again = key_ring.noting_use(seen, {"old"}, now_s=100_100, every_s=86_400)

    assert again == seen
    assert len(key_ring.without_sealing_keys_before(seen, 50_000).sealing_keys) == 2
    assert len(key_ring.without_sealing_keys_before(ring, 50_000).sealing_keys) == 1


@pytest.mark.parametrize("limit", [1, 100])
async def test_after_a_rotation_of_the_data_key_nothing_is_left_under_the_old_one(
    broker: Broker, other: Broker, rotation: KeyRotation, limit: int
) -> None:
    store = broker.store
    first = await store.create(KEY, dev("first"))
    second = await store.update(KEY, dev("second"), first)
    manifest = ReleaseManifest(
        id="r1", virtual_environment="team-a", deployments={}, data=dev().data
    )
    await store.create("manifest.team-a.r1", manifest)
    await store.create("virtual-environment.a", VirtualEnvironment(name="a", environment="dev"))
    gone = await store.create("environment.gone", dev("gone"))
    await store.delete("environment.gone", gone)
    old = store.keys.ring.data_key

    await rotation.rotate(KeyKind.DATA)
    with pytest.raises(Conflict, match="reseal"):
        await rotation.rotate(KeyKind.DATA)
    renewed = await reseal(rotation, limit)

    assert renewed == 4
    stored = await revisions(broker.bus)
    assert not [key for key, found in stored.items() if old.encode() in b"".join(found)]
    assert [len(stored[key]) for key in (KEY, "manifest.team-a.r1", "platform.keys")] == [1, 1, 1]
    assert [key.id for key in store.keys.ring.data_keys] == [store.keys.ring.data_key] != [old]
    for each in (store, other.store):
        await each.wait_beyond(await store.last_revision() - 1)
        snapshot = each.snapshot
        assert snapshot.environments == {"dev": dev("second")}
        assert snapshot.manifest("team-a", "r1") == manifest
        # Events that wait name these revisions.
        assert await each.get(KEY, first) == (dev("first"), first)
        assert await each.get(KEY, second) == (dev("second"), second)
        assert await each.get("environment.gone", gone) == (dev("gone"), gone)


async def test_rotations_again_and_again_keep_what_events_need_once(
    broker: Broker, rotation: KeyRotation
) -> None:
    first = await broker.store.create(KEY, dev("first"))
    await broker.store.update(KEY, dev("second"), first)

    for _ in range(3):
        await rotation.rotate(KeyKind.DATA)
        await reseal(rotation)

    assert await broker.store.get(KEY, first) == (dev("first"), first)
    stored = await revisions(broker.bus)
    assert {len(found) for found in stored.values()} == {1}
    past = [key for key in stored if key.startswith(past_records.PREFIX)]
    assert len(past) == 4  # the first, and each that was the latest at a rotation


async def test_revisions_that_no_event_can_need_are_erased(broker: Broker) -> None:
    rotation = KeyRotation(broker.bus, broker.store, settle_s=0)
    rotation._resealing._life_s = 0
    first = await broker.store.create(KEY, dev("first"))
    second = await broker.store.update(KEY, dev("second"), first)
    await rotation.rotate(KeyKind.DATA)
    await reseal(rotation)

    assert await broker.store.get(KEY, first) is None
    assert await broker.store.get(KEY, second) is None

    await rotation._resealing.erase_expired()
    assert not [key for key in await revisions(broker.bus) if key.startswith(past_records.PREFIX)]


async def test_plain_records_of_an_earlier_version_are_encrypted_by_the_upkeep(
    own_nats_server: NatsServer, key_file: KeyFile
) -> None:
    async with connect(own_nats_server.login("old")) as bus:
        bucket = await ensure_bucket(bus, BUCKET, history=HISTORY)
        first = await bucket.put(KEY, records.encode(dev("first")))
        await bucket.put(KEY, records.encode(dev()))
    async with (
        connect(own_nats_server.login("new")) as bus,
        open_broker(bus, SETTINGS, key_file, creates_keys=True) as broker,
    ):
        assert broker.snapshot.environments == {"dev": dev()}

        async with KeyRotation(bus, broker.store).keeping_up():
            while broker.store.keys.ring.is_resealing:
                await asyncio.sleep(0)

        stored = b"".join(value for found in (await revisions(bus)).values() for value in found)
        assert PASSWORD.encode() not in stored
        assert await broker.store.get(KEY, first) == (dev("first"), first)
        assert not broker.store.keys.ring.is_resealing
        assert (await broker.store.wait_revision(first + 1)).environments == {"dev": dev()}


async def test_a_record_that_cannot_be_decrypted_stays_and_ends_no_rotation(
    broker: Broker, rotation: KeyRotation, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.store.create(KEY, dev())
    [value] = (await revisions(broker.bus))[KEY]
    await broker.bus.jetstream().publish(subject_of("environment.moved"), value)

    await rotation.rotate(KeyKind.DATA)
    await reseal(rotation)

    assert (await revisions(broker.bus))["environment.moved"] == [value]
    assert len(broker.store.keys.ring.data_keys) == 1
    assert "environment.moved@" in caplog.text


async def test_writes_during_a_rotation_are_kept(broker: Broker, rotation: KeyRotation) -> None:
    await broker.store.create(KEY, dev("0"))
    written, is_over = 0, False

    async def write() -> None:
        nonlocal written
        while not is_over:
            found = await broker.store.get(KEY)
            assert found is not None
            try:
                await broker.store.update(KEY, dev(str(written + 1)), found[1])
            except RevisionConflict:
                continue  # The rotation was faster.
            written += 1

    writing = asyncio.create_task(write())
    for _ in range(3):
        await rotation.rotate(KeyKind.DATA)
        await reseal(rotation)
    is_over = True
    await writing

    found = await broker.store.get(KEY)
    assert found is not None
    assert found[0] == dev(str(written))
    assert written


async def test_the_key_encryption_key_is_replaced_in_its_file(
    broker: Broker, other: Broker, rotation: KeyRotation, key_file: KeyFile, tmp_path: Path
) -> None:
    await broker.store.create(KEY, dev())
    before, text = broker.store.keys.ring.data_keys, (tmp_path / "keys").read_text()

    status = await rotation.rotate(KeyKind.KEY_ENCRYPTION, (await rotation.status()).revision)

    [key] = broker.store.keys.ring.data_keys
    assert key.wrapped_by != before[0].wrapped_by
    assert not set(text.splitlines()[1:]) & set((tmp_path / "keys").read_text().splitlines())
    [shown] = [one for one in status.keys if one.kind == KeyKind.DATA.value]
    assert shown.wrapped_by == key.wrapped_by
    assert len((await revisions(broker.bus))["platform.keys"]) == 1
    assert await other.store.get(KEY) == await broker.store.get(KEY) is not None


async def test_a_rotation_for_another_revision_of_the_keys_is_refused(
    broker: Broker, rotation: KeyRotation
) -> None:
    revision = (await rotation.status()).revision
    await rotation.rotate(KeyKind.SEALING, revision)

    for kind in KeyKind:
        with pytest.raises(RevisionConflict, match="read them again"):
            await rotation.rotate(kind, revision)
    with pytest.raises(RevisionConflict):
        await rotation.drop_replaced(revision)


async def test_an_interrupted_rotation_goes_on_with_the_published_key(
    broker: Broker,
) -> None:
    slow = KeyRotation(broker.bus, broker.store, settle_s=3_600)
    interrupted = asyncio.create_task(slow.rotate(KeyKind.SEALING))
    while len(broker.store.keys.ring.sealing_keys) == 1:
        await asyncio.sleep(0)
    while not interrupted.done():
        interrupted.cancel()
        await asyncio.sleep(0)
    published = broker.store.keys.ring.sealing_keys[-1].id

    await KeyRotation(broker.bus, broker.store, settle_s=0).rotate(KeyKind.SEALING)

    assert broker.store.keys.ring.sealing_key == published
    assert len(broker.store.keys.ring.sealing_keys) == 2
