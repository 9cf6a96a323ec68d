"""Calls to another component: ``api = kit.component("api-server")``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from fox.kit.context import Context, Emission
from fox.kit.response import JSON, Response, StreamedResponse, check_header
from model.event import Headers


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
        pairs, body = _encoded(headers, json, body)
        return await ctx.request(
            self.name,
            method,
            _checked(path),
            query=urlencode(query) if query else "",
            headers=pairs,
            body=body,
        )

    async def emit(
        self,
        path: str,
        *,
        ctx: Context,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes = b"",
        key: str = "",
    ) -> bool:
        """Let the component's default handler handle something later; return once that is sure.

        The event is stored. Then it is delivered to the version of this deployment, in this
        virtual environment, with the variables as they are now, in this trace, until a handler
        has answered below 400, at least once: ``ctx.attempt`` tells the handler which delivery
        it sees. What it refuses with 4xx, and what fails too often, becomes a dead letter:
        ``fox get dead-letters``.

        Args:
            path: Percent-encoded path.
            ctx: The event that emits it. If that fails afterwards, this stays emitted.
            method: HTTP method.
            query: Parameters, encoded here.
            headers: Further headers.
            json: Sent as JSON body; None sends ``body``.
            body: Bytes to send; the whole event may have 512 KiB.
            key: Names what is to be done: the same key from this component to that one, in
                this deployment and virtual environment, within five minutes is the same event.

        Returns:
            Whether it is new; False when an event of the same key was stored before.

        Raises:
            NotDeclared: This component does not declare that one.
            BodyTooLarge: The event is over the limit.
            Overloaded: As many events wait as may.
            NatsUnavailable: Whether it is stored is not known.
        """
        pairs, body = _encoded(headers, json, body)
        emission = Emission(
            method=method,
            path=_checked(path),
            query=urlencode(query) if query else "",
            headers=pairs,
            body=body,
            key=key,
        )
        return await ctx.emit(self.name, emission)

    def stream(
        self,
        method: str,
        path: str,
        *,
        ctx: Context,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | AsyncIterable[bytes | str] = b"",
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Call it with bodies of any length: ``async with api.stream("GET", …) as answer: …``.

        The answer is there as soon as its head is; ``async for chunk in answer`` reads its body,
        and leaving the context ends the call, also in mid-body.

        Args:
            method: HTTP method.
            path: Percent-encoded path.
            ctx: The event this call belongs to.
            query: Parameters, encoded here.
            headers: Further headers.
            json: Sent as JSON body; None sends ``body``.
            body: Bytes, or what makes them while they are sent.

        Raises:
            FoxError: As in ``request``.
        """
        pairs, content = _encoded(headers, json, body)
        found = urlencode(query) if query else ""
        return ctx.stream_request(
            self.name, method, _checked(path), query=found, headers=pairs, body=content
        )


_Sent = TypeVar("_Sent")
_is_path = re.compile(r"/[!-\"$->@-~]*").fullmatch


def _checked(path: str) -> str:
    """Return a path as it is, if it is percent-encoded and nothing but a path.

    Raises:
        ValueError: It is not. Sent, it would reach the component as another one.
    """
    if not _is_path(path):
        raise ValueError(f"{path!r} is no percent-encoded path that begins with /; see query=")
    return path


def _encoded(
    headers: Mapping[str, str] | None, json: Any, body: _Sent
) -> tuple[Headers, bytes | _Sent]:
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    for name, value in pairs:
        check_header(name, value)
    if json is None:
        return tuple(pairs), body
    if "content-type" not in dict(pairs):
        pairs.append(("content-type", JSON))
    return tuple(pairs), msgspec.json.encode(json)
