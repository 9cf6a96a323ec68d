"""Calls to another component: ``api = kit.component("api-server")``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlencode

import msgspec

from fox.kit.context import Context
from fox.kit.outgoing import EmitOptions, OutgoingRequest
from fox.kit.response import JSON, Response, StreamedResponse, check_header
from kubefox.delivery import MAX_DELAY_S, MAX_TIMEOUT_S


class ComponentClient:
    """Calls a component that this one declares; returned by ``Kit.component``.

    The called version is the one of the event's deployment, and the call has the event's deadline.

    Attributes:
        name: Name of the component.

    Example:
        >>> api = kit.component("api-server")
        >>> @kit.route("Path(`/orders/{id}`)")
        ... async def order(ctx: Context) -> Response:
        ...     return await api.get(f"/orders/{ctx.params['id']}", ctx=ctx)
    """

    def __init__(self, name: str) -> None:
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
        idempotent: bool | None = None,
    ) -> Response:
        """Call the component's default handler and return its response, whatever its status.

        Args:
            method: HTTP method.
            path: Percent-encoded path that begins with ``/``, without a query.
            ctx: Context of the event to which the call belongs. Its deadline bounds the call.
            query: Query parameters, not encoded.
            headers: Additional headers.
            json: Value to send as JSON; None sends ``body``.
            body: Bytes to send, of any length.
            idempotent: Whether the request may be sent to another pod when its pod died before it
                answered: the handler may run twice then. None decides by the method: GET, HEAD,
                OPTIONS, PUT and DELETE may be sent again.

        Returns:
            The response with its whole body. A status of 400 or above does not raise.

        Raises:
            ValueError: ``path`` or a header is malformed.
            NotDeclared: The component is not declared, or not part of the deployment.
            NoPodReady: The component has no pod.
            ComponentGone: The pod died during the call.
            ComponentFailed: The handler raised an exception.
            DeadlineExceeded: The event's deadline passed.
            FoxError: Any other failure, such as an error that the handler raised.
        """
        request = _request(method, path, query, headers, json, body, idempotent=idempotent)
        return await ctx.send(self.name, request)

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
        timeout_s: float | None = None,
        delay_s: float = 0,
    ) -> bool:
        """Store an event that the component's default handler handles later.

        The event is delivered at least once, until a handler answers it with a status below 400.
        It goes to the component version of this deployment, in this virtual environment, with the
        present values of the variables, and belongs to this trace. ``ctx.attempt`` is the number
        of the delivery. An event that is refused with a status 4xx, or fails too often, becomes a
        dead letter: see ``fox get dead-letters``.

        Args:
            path: Percent-encoded path that begins with ``/``, without a query.
            ctx: Context of the event that emits this one. The new event is stored even if the
                handling of ``ctx`` fails afterwards.
            method: HTTP method.
            query: Query parameters, not encoded.
            headers: Additional headers.
            json: Value to send as JSON; None sends ``body``.
            body: Bytes to send; the whole event may have 512 KiB.
            key: Deduplication key. Within five minutes, a second event with the same key is not
                stored, if both components, the deployment and the virtual environment are the
                same. An empty key deduplicates nothing.
            timeout_s: Time limit of one attempt in seconds, from the begin of the handler; at most
                an hour. By default that of the default handler, or ``FOX_EVENT_TTL_S``; the limit
                of the handler applies in any case.
            delay_s: Seconds until the first attempt, at most seven days.

        Returns:
            True if the event is stored, False if an event with this key was stored before.

        Raises:
            ValueError: ``path`` or a header is malformed; ``timeout_s`` or ``delay_s`` is out of
                its range.
            NotDeclared: The component is not declared, or not part of the deployment.
            BodyTooLarge: The event is larger than 512 KiB.
            Overloaded: Too many events wait already.
            DeadlineExceeded: The deadline of ``ctx`` passed.
            NatsUnavailable: NATS does not answer; the event may be stored or not.
        """
        request = _request(method, path, query, headers, json, body)
        options = EmitOptions(key=key, timeout_s=timeout_s, delay_s=delay_s)
        _check_options(options)
        return await ctx.emit(self.name, request, options)

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
        """Call the component with bodies of any length, as a context manager.

        The context begins as soon as status and headers of the response have arrived; its body is
        read with ``async for``. Leaving the context ends the call, even within a body.

        Args:
            method: HTTP method.
            path: Percent-encoded path that begins with ``/``, without a query.
            ctx: Context of the event to which the call belongs.
            query: Query parameters, not encoded.
            headers: Additional headers.
            json: Value to send as JSON; None sends ``body``.
            body: Bytes, or an async iterable of chunks that are sent as they are made.

        Raises:
            ValueError: ``path`` or a header is malformed.
            FoxError: See ``request``.

        Example:
            >>> async with store.stream("GET", "/export", ctx=ctx) as response:
            ...     async for chunk in response:
            ...         size += len(chunk)
        """
        content = body if isinstance(body, bytes) else b""
        chunks = None if isinstance(body, bytes) or json is not None else body
        request = _request(method, path, query, headers, json, content)
        return ctx.open_stream(self.name, request, chunks)


def _check_options(options: EmitOptions) -> None:
    timeout_s, delay_s = options.timeout_s, options.delay_s
    if timeout_s is not None and not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise ValueError(f"timeout_s={timeout_s!r}: expected above 0, at most {MAX_TIMEOUT_S:g}")
    if not 0 <= delay_s <= MAX_DELAY_S:
        raise ValueError(f"delay_s={delay_s!r}: expected 0 to {MAX_DELAY_S:g}")


_is_path = re.compile(r"/[!-\"$->@-~]*").fullmatch


def _request(
    method: str,
    path: str,
    query: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    json: Any,
    body: bytes,
    *,
    idempotent: bool | None = None,
) -> OutgoingRequest:
    """Return a request, with its query, headers and JSON encoded.

    Raises:
        ValueError: The path is not percent-encoded, or a header is malformed.
    """
    if not _is_path(path):
        # The component would receive another path than the caller meant.
        raise ValueError(
            f"{path!r} is not a percent-encoded path that begins with /; use query= for a query"
        )
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    for name, value in pairs:
        check_header(name, value)
    if json is not None:
        body = msgspec.json.encode(json)
        if "content-type" not in dict(pairs):
            pairs.append(("content-type", JSON))
    return OutgoingRequest(
        method=method,
        path=path,
        query=urlencode(query) if query else "",
        headers=tuple(pairs),
        body=body,
        idempotent=idempotent,
    )
