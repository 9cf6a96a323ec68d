"""The aiohttp application: the table of operations, routed, guarded and answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import msgspec
from aiohttp import web

from broker.api import problems
from broker.api.guard import Guard
from broker.api.openapi import document
from broker.api.operation import Call, Operation, Parts
from broker.api.reading import JSON, read_call
from broker.control.writes import Stored
from model.errors import FoxError

logger = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
OPENAPI_PATH = "/openapi.json"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_encode = msgspec.json.Encoder().encode


class Api:
    """Answers the requests of one control API.

    Args:
        parts: What the operations work with.
        guard: Who may call.
    """

    def __init__(self, parts: Parts, guard: Guard) -> None:
        """Begin open; ``close`` ends streams."""
        self._parts = parts
        self._guard = guard
        self._closing = asyncio.Event()
        self._writing: set[asyncio.Task[object]] = set()

    def application(self, operations: Iterable[Operation]) -> web.Application:
        """Return the application that serves ``operations`` and their description."""
        table = tuple(operations)
        application = web.Application(middlewares=[self._edge])
        described = _encode(document(table, self._parts.version))

        async def openapi(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=described, content_type=JSON)

        application.router.add_get(OPENAPI_PATH, openapi)
        for operation in table:
            application.router.add_route(operation.method, operation.path, self._handler(operation))
        application.on_shutdown.append(self._close)
        return application

    async def _close(self, _application: web.Application) -> None:
        """End the streams, and wait for what is being written."""
        self._closing.set()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def _handler(self, operation: Operation) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = await read_call(operation, request)
            if operation.lines is not None:
                return await self._stream(request, operation.lines(self._parts, call))
            return _to_response(await self._finish(operation, call), operation.text)

        return handle

    async def _finish(self, operation: Operation, call: Call) -> object:
        """Run an operation to its end even if the client leaves in the middle of it."""
        assert operation.answer is not None  # noqa: S101 - it has one or the other
        task = asyncio.ensure_future(operation.answer(self._parts, call))
        self._writing.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._writing.discard(task)
        # Looked at here, because a client that has left looks no more.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an operation failed: %s", error)

    @web.middleware
    async def _edge(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            self._guard.check(request)
            return await handler(request)
        except FoxError as error:
            return problems.to_response(error)
        except web.HTTPException as error:
            return problems.of_http(error, request)
        except Exception as error:  # noqa: BLE001 - the edge of a request
            return problems.of_unexpected(error, request)

    async def _stream(
        self, request: web.Request, lines: AsyncGenerator[object, None]
    ) -> web.StreamResponse:
        """Send lines until they end, the client leaves or the server closes."""
        response = web.StreamResponse(headers={"content-type": NDJSON})
        await response.prepare(request)
        sending = asyncio.ensure_future(_send(response, lines))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((sending, closing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            closing.cancel()
            await asyncio.gather(sending, closing, return_exceptions=True)
        await response.write_eof()
        return response


async def _send(response: web.StreamResponse, lines: AsyncGenerator[object, None]) -> None:
    try:
        async with contextlib.aclosing(lines):
            async for line in lines:
                await response.write(_encode(line) + b"\n")
    except ConnectionResetError:
        logger.debug("the reader of a stream has left")
    except Exception:
        # Its status is sent: all that is left is to end it and to say why here.
        logger.exception("a stream broke off")


def _to_response(answer: object, text: str) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, str):
        return web.Response(body=answer.encode(), headers={"content-type": text})
    headers = {"etag": f'"{answer.revision}"'} if isinstance(answer, Stored) else {}
    return web.Response(body=_encode(answer), content_type=JSON, headers=headers)
