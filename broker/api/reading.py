"""Requests read: parameters, headers and bodies become the types that an operation declares."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, get_origin

import msgspec
from aiohttp import web

from broker.api.operation import Call, Operation
from broker.control.writes import ANY_REVISION
from model.bundle import MAX_BYTES
from model.decoding import UNREADABLE
from model.errors import BodyTooLarge, InvalidRequest, UnsupportedContentType

MAX_JSON_BYTES = 8 << 20
_SHORT_BYTES = 64 << 10
JSON = "application/json"

_REVISION = re.compile(r'"?([0-9]{1,20})"?')


async def read_call(operation: Operation, request: web.Request) -> Call:
    """Return a request as its operation wants it.

    Raises:
        InvalidRequest: A parameter, header or body cannot be read.
        UnsupportedContentType: A body that is said not to be JSON.
        BodyTooLarge: Over the operation's limit.
    """
    return Call(
        path=request.match_info,
        query=_query(operation, request),
        body=await _body(operation, request),
        if_match=_if_match(request) if operation.has_if_match else None,
    )


def _query(operation: Operation, request: web.Request) -> Any:
    fields = {field.name: field.type for field in msgspec.structs.fields(operation.query)}
    given: dict[str, Any] = {}
    for name in request.query:
        values = request.query.getall(name)
        is_list = get_origin(fields.get(name)) is tuple
        if len(values) > 1 and not is_list:
            raise InvalidRequest(f"query parameter {name} is there {len(values)} times")
        given[name] = values if is_list else values[0]
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"query parameters: {error}") from error


async def _body(operation: Operation, request: web.Request) -> Any:
    if operation.body is None:
        return None
    if operation.body is bytes:
        return await _read(request, MAX_BYTES)
    raw = await _read(request, MAX_JSON_BYTES)
    # A page of another site may send any type but this one without asking first.
    if raw and request.content_type != JSON:
        raise UnsupportedContentType(f"body is {request.content_type}, expected {JSON}")
    if len(raw) > _SHORT_BYTES:
        # It may take seconds, and the loop serves others.
        return await asyncio.to_thread(_decode, raw, operation.body)
    return _decode(raw or b"{}", operation.body)


def _decode(raw: bytes, kind: Any) -> Any:
    try:
        body = msgspec.json.decode(raw, type=kind)
        given = msgspec.json.decode(raw)
    except UNREADABLE as error:
        raise InvalidRequest(f"body: {error}") from error
    unknown = next(_unknown(given, msgspec.to_builtins(body)), None)
    if unknown is not None:
        raise InvalidRequest(f"body: unknown field {unknown}")
    return body


def _unknown(given: Any, understood: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each field that was given and is not in what was understood.

    The structs of records do not forbid such fields themselves: what is stored may be of a newer
    release. From a client a misspelt one would be lost in silence, with what was there before.
    """
    if isinstance(given, list):
        for at, pair in enumerate(zip(given, understood, strict=True)):
            yield from _unknown(*pair, f"{path}[{at}]")
    elif isinstance(given, dict):
        for name, value in given.items():
            place = f"{path}.{name}" if path else name
            if name in understood:
                yield from _unknown(value, understood[name], place)
            else:
                yield place


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    """Return the body; one that is said to be too large is refused before it is sent."""
    too_large = BodyTooLarge(f"body is over the limit of {limit_bytes} bytes")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            raise too_large
    return bytes(body)


def _if_match(request: web.Request) -> int | None:
    text = request.headers.get("if-match")
    if text is None:
        return None
    if text.strip() == "*":
        return ANY_REVISION
    found = _REVISION.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(f"If-Match is {text!r}, expected a revision or *")
    return int(found[1])
