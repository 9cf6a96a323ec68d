"""Calls to another component: ``api = kit.component("api-server")``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from fox.kit.context import Context
from fox.kit.response import JSON, Response


class ComponentClient:
    """A declared dependency; its version is the one of the event's deployment.

    Args:
        name: Name of the component.
    """

    def __init__(self, name: str) -> None:
        """Keep the name; the declaration itself is the kit's."""
        self.name = name

    async def get(
        self, path: str, *, ctx: Context, query: Mapping[str, str] | None = None
    ) -> Response:
        """Send GET; see ``request``."""
        return await self.request("GET", path, ctx=ctx, query=query)

    async def post(
        self, path: str, *, ctx: Context, json: Any = None, body: bytes = b""
    ) -> Response:
        """Send POST; see ``request``."""
        return await self.request("POST", path, ctx=ctx, json=json, body=body)

    async def put(
        self, path: str, *, ctx: Context, json: Any = None, body: bytes = b""
    ) -> Response:
        """Send PUT; see ``request``."""
        return await self.request("PUT", path, ctx=ctx, json=json, body=body)

    async def delete(self, path: str, *, ctx: Context) -> Response:
        """Send DELETE; see ``request``."""
        return await self.request("DELETE", path, ctx=ctx)

    async def request(
        self,
        method: str,
        path: str,
        *,
        ctx: Context,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes = b"",
    ) -> Response:
        """Call the component's default handler and return its response, whatever the status.

        Args:
            method: HTTP method.
            path: Percent-encoded path.
            ctx: The event this call belongs to; it never outlives it.
            query: Parameters, encoded here.
            headers: Further headers.
            json: Sent as JSON body; None sends ``body``.
            body: Bytes to send.

        Raises:
            FoxError: Whatever stopped the call: no pod, time, a mismatch, its handler.
        """
        pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
        if json is not None:
            body = msgspec.json.encode(json)
            if "content-type" not in dict(pairs):
                pairs.append(("content-type", JSON))
        return await ctx.request(
            self.name,
            method,
            path,
            query=urlencode(query) if query else "",
            headers=tuple(pairs),
            body=body,
        )
