"""A client of the control API, and the app that it deploys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec

from control.api.server import ControlApi
from kubefox import bundle
from kubefox.digest import RuntimeSpec
from pods.base import PodSpec
from tests.support.control_plane import code, component, deployment

UI = component("order-ui", routes=["Path(`/{{.Vars.subPath}}/orders/{id}`)"], calls=["api-server"])
API = component("api-server")
API_V2 = component("api-server", "v2")
POD = PodSpec(id="api-server-1", app="order-app", component="api-server", hash=API.hash)

OpenApi = Callable[..., AbstractAsyncContextManager[ControlApi]]
"""Opens the control API; its arguments are the keyword arguments of ``open_control_api``."""


class Client:
    """Sends requests to one control API."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        """Send a request, and return its status and JSON."""
        sent = dict(headers or {})
        if body is not None:
            raw = msgspec.json.encode(body)
            sent.setdefault("content-type", "application/json")
        async with self.session.request(method, self.url + path, data=raw, headers=sent) as answer:
            content = await answer.read()
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json"
            return answer.status, json.loads(content) if content else None

    async def items(self, path: str) -> list[Any]:
        """Return the objects of the first page of a list."""
        status, page = await self.call("GET", path)
        assert status == 200, page
        found: list[Any] = page["items"]
        return found

    async def deploy(self, name: str, version: str | None = None) -> tuple[int, Any]:
        """Deploy the two components under ``name``."""
        wanted = deployment(name, UI, API, version=version)
        body = {"deployment": wanted, "components": [UI, API]}
        return await self.call("PUT", f"/v1/deployments/{name}", body)


async def upload(client: Client) -> None:
    """Upload the bundles of both components."""
    for name, version in (("order-ui", UI), ("api-server", API)):
        content = bundle.pack(code(name, "v1"), RuntimeSpec())
        status, answer = await client.call("PUT", f"/v1/bundles/{version.hash}", raw=content)
        assert (status, answer) == (200, {"hash": version.hash})
