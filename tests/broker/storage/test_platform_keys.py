"""The platform's keys: made once, the same in every process, encrypted in their record."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.jetstream import ensure_bucket
from broker.storage.platform_keys import PlatformKeys, open_keys
from broker.storage.records_bucket import BUCKET, HISTORY, STREAM, erase, open_bucket, subject_of
from broker.storage.store import Store, open_store
from fox.key_file import KeyFile
from kubefox import context
from kubefox.context import LEGACY_KEY, EventContext
from kubefox.environment import Environment, EnvironmentData
from kubefox.errors import InvalidEvent, InvalidRequest
from kubefox.records import PLATFORM_KEYS
from tests.support.connecting import connect
from tests.support.keys import KEYS
from tests.support.nats import NatsServer

CONTEXT = EventContext("shop", "shop-v1", "team-a", deployment_revision=7)


@pytest.fixture
async def keys(bus: Bus) -> PlatformKeys:
    return await open_keys(bus, KEYS, creates=True)


async def stored(bus: Bus, key: str = PLATFORM_KEYS) -> bytes:
    """Return the value under a key of the bucket."""
    found = await bus.jetstream().get_msg(STREAM, subject=subject_of(key))
    return found.data or b""


async def test_all_processes_have_the_same_keys(bus: Bus, own_nats_server: NatsServer) -> None:
    async with connect(own_nats_server.url, process_id="two") as other:
        opened = await asyncio.gather(
            *(open_keys(each, KEYS, creates=True) for each in (bus, other, bus))
        )

    assert len({keys.seal(CONTEXT) for keys in opened}) == 1
    assert all(keys.unseal(opened[0].seal(CONTEXT)) == CONTEXT for keys in opened)


async def test_a_process_that_may_not_make_keys_waits_for_them(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    waiting = asyncio.create_task(open_keys(bus, KEYS, creates=False))
    while "waiting for the control plane" not in caplog.text:
        await asyncio.sleep(0)
    assert not waiting.done()

    made = await open_keys(bus, KEYS, creates=True)

    assert (await waiting).seal(CONTEXT) == made.seal(CONTEXT)


async def test_the_stored_keys_do_not_show_any_key(bus: Bus, keys: PlatformKeys) -> None:
    value = await stored(bus)
    [sealing] = keys.ring.sealing_keys

    opened = keys.decrypt(sealing.sealed, f"{PLATFORM_KEYS}/sealing_keys/{sealing.id}")

    assert opened not in value
    with pytest.raises(InvalidEvent):
        keys.decrypt(sealing.sealed, f"{PLATFORM_KEYS}/sealing_keys/other")


@pytest.mark.parametrize("creates", [True, False])
async def test_without_the_key_file_no_process_starts_on_keys_that_exist(
    bus: Bus, keys: PlatformKeys, tmp_path: Path, *, creates: bool
) -> None:
    before = await stored(bus)

    missing = r"/none cannot be read: it does not exist.*FOX_KEY_FILE"
    with pytest.raises(InvalidRequest, match=missing):
        await open_keys(bus, KeyFile(tmp_path / "none", is_own=True), creates=creates)

    assert not (tmp_path / "none").exists()
    assert await stored(bus) == before
    assert keys.ring.sealing_keys


async def test_with_another_key_file_no_process_starts(
    bus: Bus, keys: PlatformKeys, tmp_path: Path
) -> None:
    other = KeyFile(tmp_path / "other", is_own=True)
    await other.create()

    with pytest.raises(InvalidRequest, match="/other holds other keys") as caught:
        await open_keys(bus, other, creates=True)

    assert keys.ring.data_keys[0].wrapped_by in str(caught.value)


async def test_the_key_of_an_earlier_version_still_opens_its_tokens_and_is_removed(
    bus: Bus,
) -> None:
    legacy = b"legacy-key-of-an-earlier-version"
    bucket = await ensure_bucket(bus, BUCKET, history=HISTORY)
    await bucket.put("platform.key", legacy)
    token = context.seal(CONTEXT, "", legacy).removeprefix(".")

    keys = await open_keys(bus, KEYS, creates=True)

    assert keys.unseal(token) == CONTEXT
    assert context.sealing_key_of(keys.seal(CONTEXT)) != LEGACY_KEY
    assert keys.ring.is_resealing
    with pytest.raises(NotFoundError):
        await stored(bus, "platform.key")


async def test_an_erased_revision_is_overwritten_on_disk(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    bucket = await open_bucket(bus)
    revision = await bucket.put("platform.test", b"erase-this-one")
    kept = await bucket.put("platform.test", b"keep-that-one")

    await erase(bus, "platform.test", revision)
    await erase(bus, "platform.test", revision)  # another process may have been faster

    assert (await bucket.get("platform.test")).revision == kept
    await asyncio.to_thread(own_nats_server.stop)
    assert files_with(own_nats_server.folder, b"keep-that-one")
    assert not files_with(own_nats_server.folder, b"erase-this-one")


async def test_equal_content_is_equal_though_its_bytes_differ(store: Store, bus: Bus) -> None:
    record = Environment(name="dev", data=EnvironmentData(secrets={"token": "t0p"}))

    first = await store.create("environment.dev", record)
    one = await stored(bus, "environment.dev")
    second = await store.update("environment.dev", record, first)

    assert await stored(bus, "environment.dev") != one
    assert await store.get("environment.dev", first) == (record, first)
    assert await store.get("environment.dev") == (record, second)
    assert (await store.wait_revision(second)).environments["dev"] == record


async def test_secrets_that_were_tampered_with_are_ignored_and_the_others_are_followed(
    store: Store, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    record = Environment(name="dev", data=EnvironmentData(secrets={"token": "t0p"}))
    await store.create("environment.dev", record)
    moved = await stored(bus, "environment.dev")

    await bus.jetstream().publish(subject_of("environment.other"), moved)
    revision = await store.create("environment.good", Environment(name="good"))
    snapshot = await store.wait_revision(revision)

    assert sorted(snapshot.environments) == ["dev", "good"]
    assert "environment.other/data.secrets cannot be decrypted" in caplog.text


async def test_a_process_follows_a_bucket_that_was_replaced(
    store: Store, bus: Bus, own_nats_server: NatsServer
) -> None:
    await bus.jetstream().delete_stream(STREAM)
    await asyncio.to_thread(own_nats_server.restart)
    async with (
        connect(own_nats_server.url, process_id="two") as other,
        open_store(other, KEYS, creates_keys=True) as fresh,
    ):
        while store.keys.ring != fresh.keys.ring:
            await asyncio.sleep(0)

        assert store.keys.unseal(fresh.keys.seal(CONTEXT)) == CONTEXT


def files_with(folder: Path, content: bytes) -> list[Path]:
    """Return the files below a folder that contain some bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]
