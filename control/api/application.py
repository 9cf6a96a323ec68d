"""The aiohttp application: routes requests to the operations, and writes the responses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import cache, partial
from typing import Any

import msgspec
from aiohttp import hdrs, web

from broker.runtime.cooperative import run_in_slices
from control.access.access import Access
from control.access.caller import NOBODY, Caller
from control.api import problems
from control.api.auditing import Auditor
from control.api.guard import Guard
from control.api.json_encoding import encode_in_steps
from control.api.openapi import document
from control.api.operation import ApiRequest, ApiServices, Operation
from control.api.proof import PROOF_PATH, answer_proof
from control.api.request_decoding import JSON, MAX_JSON_BYTES, read_request
from control.api.rights import RIGHTS, Right
from control.api.turns import Turns
from control.listing.page import EncodedPage
from control.stored_record import StoredRecord
from control.transactions import precondition
from kubefox.errors import FoxError, MissingRole, NotAuthorized, TooManyFailures, Unauthenticated
from kubefox.grants import EVERYTHING

logger = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
OPENAPI_PATH = "/openapi.json"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_encode = msgspec.json.Encoder().encode


class ApiApplication:
    """Answers the requests of one control API.

    Args:
        services: The parts of the platform that the operations use.
        guard: Refuses requests of foreign web pages.
        access: Knows the callers, and what is recorded of them.
        max_json_bytes: Limit of a JSON body.
    """

    def __init__(
        self,
        services: ApiServices,
        guard: Guard,
        access: Access,
        *,
        max_json_bytes: int = MAX_JSON_BYTES,
    ) -> None:
        self._services = services
        self._guard = guard
        self._access = access
        self._auditor = Auditor(access.audit, lambda: services.control.store.snapshot)
        self._max_json_bytes = max_json_bytes
        self._turns = Turns()
        self._closing = asyncio.Event()
        self._running: set[asyncio.Task[object]] = set()

    def application(
        self, operations: Iterable[Operation], rights: Mapping[str, Right] = RIGHTS
    ) -> web.Application:
        """Return the application that serves ``operations`` and their OpenAPI document.

        Args:
            operations: The operations.
            rights: The right that each of them needs, by its key.
        """
        table = tuple(operations)
        application = web.Application(middlewares=[self._edge])
        application.router.add_get(OPENAPI_PATH, self._description_of(table))
        application.router.add_get(PROOF_PATH, self._prove)
        for operation in table:
            application.router.add_route(
                operation.method, operation.path, self._handler(operation, rights[operation.key])
            )
        application.on_shutdown.append(self._close)
        return application

    def _description_of(self, table: tuple[Operation, ...]) -> _Handler:
        """Return the handler of the OpenAPI document, which is made at the first request."""
        version = self._services.version

        @cache
        def described() -> bytes:
            return _encode(document(table, version))

        async def openapi(request: web.Request) -> web.StreamResponse:
            await self._authenticate(request)
            # It takes some 25 ms, which would hold the loop.
            description = await asyncio.to_thread(described)
            return web.Response(body=description, content_type=JSON)

        return openapi

    async def _close(self, _application: web.Application) -> None:
        """End the streams, and wait for the operations that are running."""
        self._closing.set()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _handler(self, operation: Operation, right: Right) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = NOBODY if right.role is None else await self._authenticate(request)
            await self._turns.take()
            try:
                if right.role is not None:
                    # A caller without the role does not make the process read its body.
                    caller.require(right.role, ())
                api_request = await read_request(operation, request, caller, self._max_json_bytes)
                check = partial(self._check, right, api_request)
                await check()
            except MissingRole as error:
                self._access.counts.forbidden += 1
                await self._auditor.refusal(request, operation.key, caller, error)
                raise
            if operation.stream is None:
                run = partial(self._run, operation, api_request, check)
                if right.is_change:
                    run = partial(self._auditor.change, request, operation, api_request, run)
                return await _to_response(await self._finish(run))
            parts = operation.stream(self._services, api_request)
            if operation.text:
                return await _stream_text(request, operation.text, parts)
            return await self._stream(request, parts, caller)

        return handle

    async def _check(self, right: Right, api_request: ApiRequest) -> None:
        """Check that the caller has the right for all that the request touches."""
        caller = api_request.caller
        if right.role is not None and not caller.may(right.role, EVERYTHING):
            caller.require(right.role, await right.touches(self._services, api_request))

    async def _finish(self, run: Callable[[], Coroutine[Any, Any, object]]) -> object:
        """Run an operation to its end, even if the client disconnects before."""
        task = asyncio.ensure_future(run())
        self._running.add(task)
        task.add_done_callback(self._on_finished)
        return await asyncio.shield(task)

    async def _run(
        self,
        operation: Operation,
        api_request: ApiRequest,
        check: Callable[[], Awaitable[None]],
    ) -> object:
        assert operation.handle is not None  # noqa: S101 - an operation has a handler or a stream
        precondition.set(check)
        return await operation.handle(self._services, api_request)

    def _on_finished(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        # Reading the exception here avoids asyncio's warning when the client has disconnected.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an operation failed: %s", error)

    @web.middleware
    async def _edge(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            await self._check_page(request)
            if request.match_info.http_exception is not None:
                # Only callers learn which paths there are.
                await self._authenticate(request)
            return await handler(request)
        except FoxError as error:
            return problems.to_response(error)
        except web.HTTPException as error:
            return problems.of_http(error, request)
        except Exception as error:  # noqa: BLE001 - the edge of a request
            return problems.of_unexpected(error, request)

    async def _prove(self, request: web.Request) -> web.StreamResponse:
        return await answer_proof(request, self._access.authenticator)

    async def _check_page(self, request: web.Request) -> None:
        """Refuse a request of a foreign web page.

        Raises:
            NotAuthorized: Its origin or host name is not that of the API.
        """
        try:
            self._guard.check(request)
        except NotAuthorized as error:
            self._access.counts.forbidden += 1
            if self._access.failures.is_within(request.remote or ""):
                await self._auditor.refusal(request, _operation_of(request), NOBODY, error)
            raise

    async def _authenticate(self, request: web.Request) -> Caller:
        """Return the caller.

        Raises:
            Unauthenticated: The request has no valid token.
            TooManyFailures: Neither had many others of this address.
        """
        access = self._access
        try:
            return await access.authenticator.authenticate(request.headers.get(hdrs.AUTHORIZATION))
        except Unauthenticated as error:
            access.counts.unauthenticated += 1
            if not access.failures.is_within(request.remote or ""):
                access.counts.throttled += 1
                raise TooManyFailures(
                    "too many requests without a valid token: wait a second, and use a valid one"
                ) from error
            await self._auditor.refusal(request, _operation_of(request), NOBODY, error)
            raise

    async def _stream(
        self, request: web.Request, lines: AsyncGenerator[object, None], caller: Caller
    ) -> web.StreamResponse:
        """Send lines until they, the caller's token, the connection or the server end."""
        response = web.StreamResponse(headers={"content-type": NDJSON})
        await response.prepare(request)
        sending = asyncio.ensure_future(_send(request, response, lines))
        ends = (
            sending,
            asyncio.ensure_future(self._closing.wait()),
            asyncio.ensure_future(self._access.authenticator.wait_ended(caller)),
        )
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        await response.write_eof()
        return response


def _operation_of(request: web.Request) -> str:
    """Return the key of the operation that a request is for; without a path for an unknown one."""
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource is not None else ''}".strip()


async def _send(
    request: web.Request, response: web.StreamResponse, lines: AsyncGenerator[object, None]
) -> None:
    try:
        async with contextlib.aclosing(lines):
            async for line in lines:
                await response.write(_encode(line) + b"\n")
    except ConnectionResetError:
        logger.debug("the client of stream %s has disconnected", request.path)
    except Exception:
        # The status has been sent already, so the failure can only be logged.
        logger.exception("stream %s failed and was ended", request.path)


async def _stream_text(
    request: web.Request, media: str, parts: AsyncGenerator[Any, None]
) -> web.StreamResponse:
    """Send the parts of a text. A text that is not complete is cut off, so it has no end."""
    response = web.StreamResponse(headers={"content-type": media})
    async with contextlib.aclosing(parts):
        # Until there is a first part, a failure is a response of its own.
        part = await anext(parts)
        await response.prepare(request)
        try:
            while part is not None:
                await response.write(part)
                part = await anext(parts, None)
        except ConnectionResetError:
            logger.debug("the client of %s has disconnected", request.path)
        except Exception:
            logger.exception("response to %s failed and is cut off", request.path)
            if request.transport is not None:
                request.transport.abort()
    return response


async def _to_response(answer: object) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, EncodedPage):
        return web.Response(body=answer.body, content_type=JSON)
    headers = {"etag": f'"{answer.revision}"'} if isinstance(answer, StoredRecord) else {}
    body = await run_in_slices(encode_in_steps(answer))
    return web.Response(body=body, content_type=JSON, headers=headers)
