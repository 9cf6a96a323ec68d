"""``fox up --nats-url``: the platform uses an existing NATS, which it does not stop."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from examples.demo.page import Browser
from examples.demo.platform import CommandFailed, Platform, wait_for
from examples.order_app import ENVIRONMENTS, build
from fox.nats_keys import open_nats_keys
from tests.e2e.order_app_platform import SOON_S
from tests.support.certificates import Authority
from tests.support.nats import NatsServer


async def test_requests_fail_at_once_while_nats_is_away_and_go_on_when_it_is_back(
    own_secured_nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_secured_nats_server.environ.items():
        monkeypatch.setenv(name, value)
    build(tmp_path / "order-app")
    async with Platform(tmp_path / "data") as platform, Browser(platform.http_url) as browser:
        repository = tmp_path / "order-app"
        await platform.fox("apply", "-f", ENVIRONMENTS, cwd=repository)
        await platform.fox("deploy", "order-app-v1", "--ref", "v1", cwd=repository)

        async def serves() -> bool:
            page = await browser.get("team-a", deployment="order-app-v1")
            return page.status == HTTPStatus.OK

        assert await serves()

        await asyncio.to_thread(own_secured_nats_server.stop)
        away = await browser.get("team-a", deployment="order-app-v1")
        await asyncio.to_thread(own_secured_nats_server.start)

        assert away.status == HTTPStatus.SERVICE_UNAVAILABLE
        await wait_for(serves, SOON_S)

    # It has started no NATS of its own.
    assert not (platform.data_dir / "nats").exists()


async def test_a_new_platform_begins_only_on_demand_where_there_was_one(
    own_secured_nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats, data = own_secured_nats_server, tmp_path / "data"
    for name, value in nats.environ.items():
        monkeypatch.setenv(name, value)
    async with Platform(data):
        pass
    await asyncio.to_thread(nats.stop)
    await asyncio.to_thread(shutil.rmtree, nats.folder / "jetstream")
    await asyncio.to_thread(nats.start)

    with pytest.raises(CommandFailed, match="NATS has no records, and data folder"):
        await Platform(data).start()

    monkeypatch.setenv("FOX_NEW_PLATFORM", "true")
    async with Platform(data):
        pass


@pytest.fixture
def nats_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    """A server with a certificate of an authority of its own, which the environment names."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("nats")
    folder = tmp_path / "nats"
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with NatsServer(folder, tls, open_nats_keys(folder)) as server:
        yield server


async def test_a_platform_and_its_pods_speak_tls_to_nats(
    nats_over_tls: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOX_NATS_URL", nats_over_tls.url.replace("nats://", "tls://"))
    monkeypatch.setenv("FOX_NATS_CREDENTIALS", nats_over_tls.environ["FOX_NATS_CREDENTIALS"])
    monkeypatch.setenv("FOX_POD_ENV", "SSL_CERT_FILE")
    repository = tmp_path / "order-app"
    build(repository)

    async with Platform(tmp_path / "data") as platform, Browser(platform.http_url) as browser:
        await platform.fox("apply", "-f", ENVIRONMENTS, cwd=repository)
        await platform.fox("deploy", "order-app-v1", "--ref", "v1", "--wait", cwd=repository)
        page = await browser.get("team-a", deployment="order-app-v1")

    assert page.status == HTTPStatus.OK
