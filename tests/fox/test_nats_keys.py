"""The keys of the embedded NATS, and the data of platforms from before there were any."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from broker.nats.bus import connect
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from broker.nats.jetstream import ensure_bucket
from broker.storage.bundles import open_bundles
from fox.nats_keys import KEYS_FILE, open_nats_keys
from fox.nats_server import run_nats_server
from kubefox.errors import InvalidRequest, NatsUnavailable
from tests.support import platform_nats
from tests.support.nats import NatsServer
from tests.support.revisions import revisions

DIGEST = "a" * 32


async def test_the_data_of_a_server_without_accounts_are_kept(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as old:
        async with connect(old.url, process_id="old") as bus:
            bucket = await ensure_bucket(bus, "kubefox", history=5)
            for value in (b"one", b"two"):
                await bucket.put("key", value)
            await (await open_bundles(bus)).put(DIGEST, b"code")

    async with (
        run_nats_server(tmp_path) as server,
        platform_nats.connect(server.access.login("new", ALL)) as bus,
    ):
        assert await revisions(bus, "key") == {"key": [b"one", b"two"]}
        assert await (await open_bundles(bus)).get(DIGEST) == b"code"


async def test_the_data_are_kept_when_the_keys_are_lost(tmp_path: Path) -> None:
    async with (
        run_nats_server(tmp_path) as server,
        platform_nats.connect(server.access.login("one", ALL)) as bus,
    ):
        await (await ensure_bucket(bus, "kubefox")).put("key", b"value")
    (tmp_path / KEYS_FILE).unlink()

    async with (
        run_nats_server(tmp_path) as server,
        platform_nats.connect(server.access.login("two", ALL)) as bus,
    ):
        assert (await (await ensure_bucket(bus, "kubefox")).get("key")).value == b"value"


def test_data_of_several_accounts_are_not_mixed_up(tmp_path: Path) -> None:
    for name in ("$G", open_nats_keys(tmp_path / "other").account_key.account):
        (tmp_path / "jetstream" / name).mkdir(parents=True)

    with pytest.raises(InvalidRequest, match=r"data of several accounts.*\$G"):
        open_nats_keys(tmp_path)


def test_keys_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    open_nats_keys(tmp_path)
    (tmp_path / KEYS_FILE).write_text("{}")

    with pytest.raises(InvalidRequest, match=r"keys\.json is not readable: restore it"):
        open_nats_keys(tmp_path)


async def test_all_files_of_the_server_are_its_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    async with run_nats_server(folder):
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (folder, *folder.iterdir())
            if path.name != "jetstream"
        }

    assert modes == {
        "nats": 0o700,
        "keys.json": 0o600,
        "account.key": 0o600,
        "nats-server.conf": 0o600,
    }


async def test_nobody_gets_in_without_credentials_or_with_those_of_an_earlier_start(
    tmp_path: Path,
) -> None:
    async with run_nats_server(tmp_path) as server:
        earlier = server.access.login("earlier", ALL)
        with pytest.raises(NatsUnavailable, match=r"refuses clients without .*--nats-credentials"):
            async with connect(server.url, process_id="nobody", first_connect_s=1):
                pass

    async with run_nats_server(tmp_path) as server:
        with pytest.raises(NatsUnavailable, match=r"refuses these credentials .*Violation"):
            async with connect(
                server.url,
                process_id="earlier",
                credentials=earlier.credentials,
                first_connect_s=1,
            ):
                pass
        async with platform_nats.connect(server.access.login("now", ALL)) as bus:
            assert bus.is_ready


async def test_revoked_credentials_end_their_connection_and_no_other(tmp_path: Path) -> None:
    revoked, other = KeyPair.generate(KeyKind.USER), KeyPair.generate(KeyKind.USER)
    async with (
        run_nats_server(tmp_path) as server,
        platform_nats.connect(server.access.login("revoked", ALL, revoked)) as bus,
        platform_nats.connect(server.access.login("other", ALL, other)) as other_bus,
    ):
        await server.revoke([revoked.public])

        async with asyncio.timeout(20):
            await bus.closed.wait()
        assert other_bus.is_ready
