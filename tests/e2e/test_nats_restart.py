"""A platform whose NATS restarts reports it, and serves by its last snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.demo.platform import Platform, wait_for
from examples.order_app import ENVIRONMENTS, build
from tests.e2e.order_app_platform import SOON_S
from tests.support.nats import NatsServer

PLAIN = "/v1/explain?url=%2F%3Fkf-ve%3Dteam-a"


async def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Return status and JSON, or text."""
    async with aiohttp.request("GET", url, headers=headers) as answer:
        is_json = "json" in answer.content_type
        return answer.status, await (answer.json(content_type=None) if is_json else answer.text())


async def test_readiness_names_unready_parts_while_routing_works_without_nats(
    own_secured_nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_secured_nats_server.environ.items():
        monkeypatch.setenv(name, value)
    build(tmp_path / "app")
    async with Platform(tmp_path / "data") as platform:
        await platform.fox("apply", "-f", ENVIRONMENTS, cwd=tmp_path / "app")
        ready = f"{platform.control_url}/readyz"
        adapter_ready = f"{platform.http_url}/.well-known/kubefox/ready"
        _, before = await get(ready)
        explain = platform.control_url + PLAIN
        _, known = await get(explain, platform.credentials)

        await asyncio.to_thread(own_secured_nats_server.kill)

        async def is_away() -> bool:
            return (await get(ready))[0] == HTTPStatus.SERVICE_UNAVAILABLE

        await wait_for(is_away, SOON_S)
        _, away = await get(ready)
        assert before["parts"].keys() >= {"nats", "snapshot", "adapter/http"}
        assert all(name in away["detail"] for name in ("nats", "snapshot", "adapter/http"))
        assert (await get(adapter_ready))[0] == HTTPStatus.SERVICE_UNAVAILABLE
        assert await get(explain, platform.credentials) == (HTTPStatus.OK, known)
        assert known["error"]["code"] == "release_not_found"

        await asyncio.to_thread(own_secured_nats_server.start)

        async def is_back() -> bool:
            return (await get(ready))[0] == HTTPStatus.OK

        await wait_for(is_back, SOON_S)
        assert (await get(ready))[1] == before
        assert (await get(adapter_ready))[0] == HTTPStatus.OK
