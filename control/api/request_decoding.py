"""Decoding of requests: parameters, headers and bodies become the types of the operation."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, get_args, get_origin

import msgspec
from aiohttp import web

from broker.runtime.cooperative import run_in_slices
from control.access.caller import Caller
from control.api.constraints import faults
from control.api.operation import ApiRequest, Operation
from control.api.path_parameters import check_path
from control.stored_record import ANY_REVISION
from kubefox.bundle import MAX_BYTES
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import BodyTooLarge, InvalidRequest, UnsupportedContentType
from kubefox.steps import Steps

# Decoding holds the interpreter, in a thread too, so it holds every loop of the process. 2 MiB of
# long texts take 2 ms, 30,000 values 4 ms at 0.13 µs each. The search for unknown fields is slower,
# and works in steps: in a thread it would take the interpreter from the loop for 5 ms at each turn.
MAX_JSON_BYTES = 2 << 20
MAX_JSON_VALUES = 30_000
_VALUES_A_STEP = 512
_VALUE_MARKS = b",[{"
JSON = "application/json"

_REVISION = re.compile(r'"?([0-9]{1,19})"?')


async def read_request(
    operation: Operation,
    request: web.Request,
    caller: Caller,
    max_json_bytes: int = MAX_JSON_BYTES,
) -> ApiRequest:
    """Return a request of a caller, decoded into the types of its operation.

    Raises:
        InvalidRequest: A parameter, a header or the body is not valid.
        UnsupportedContentType: The Content-Type of the body is not JSON.
        BodyTooLarge: The body is over the limit of the operation, or of too many JSON values.
    """
    check_path(request.match_info)
    return ApiRequest(
        path=request.match_info,
        query=_query(operation, request),
        body=await _body(operation, request, max_json_bytes),
        if_match=_if_match(request) if operation.has_if_match else None,
        caller=caller,
    )


def _query(operation: Operation, request: web.Request) -> Any:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(operation.query)}
    given: dict[str, Any] = {}
    for name in request.query:
        if name not in fields:
            known = ", ".join(fields) or "no query parameter"
            raise InvalidRequest(f"query parameter {name} is unknown: expected {known}")
        values = request.query.getall(name)
        is_list = get_origin(fields.get(name)) is tuple
        if len(values) > 1 and not is_list:
            raise InvalidRequest(
                f"query parameter {name} is given {len(values)} times: expected once"
            )
        given[name] = values if is_list else values[0]
    try:
        query = msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        for name, value in given.items():
            _check_choice(name, value, fields.get(name))
        raise InvalidRequest(f"a query parameter is invalid: {error}") from error
    for fault in faults(msgspec.to_builtins(query), operation.query, "the query"):
        if fault is not None:
            raise InvalidRequest(fault)
    return query


def _check_choice(name: str, value: object, kind: Any) -> None:
    """Refuse the value of a query parameter that is none of its choices, and name them."""
    for choices in (kind, *get_args(kind)):
        if isinstance(choices, type) and issubclass(choices, Enum):
            known = [choice.value for choice in choices]
            if value not in known:
                raise InvalidRequest(
                    f"query parameter {name} is {value!r}: expected one of {', '.join(known)}"
                )


async def _body(operation: Operation, request: web.Request, max_json_bytes: int) -> Any:
    if operation.body is None:
        return None
    if operation.body is bytes:
        return await _read(request, MAX_BYTES)
    raw = await _read(request, max_json_bytes, MAX_JSON_VALUES)
    # A browser sends this type across sites only after a CORS preflight, which the API refuses.
    if raw and request.content_type != JSON:
        raise UnsupportedContentType(
            f"the body has Content-Type {request.content_type}, expected {JSON}"
        )
    return await run_in_slices(_decode(raw or b"{}", operation.body))


def _decode(raw: bytes, kind: Any) -> Steps[Any]:
    try:
        body = msgspec.json.decode(raw, type=kind)
        yield
        given = msgspec.json.decode(raw)
        yield
    except DECODE_ERRORS as error:
        raise InvalidRequest(f"the body is invalid: {error}") from error
    for number, fault in enumerate(faults(given, kind, "the body"), 1):
        if fault is not None:
            raise InvalidRequest(fault)
        if number % _VALUES_A_STEP == 0:
            yield
    return body


async def _read(request: web.Request, limit_bytes: int, max_values: int | None = None) -> bytes:
    """Return the body. A Content-Length over the limit is refused before the body is read.

    Args:
        request: The request.
        limit_bytes: Largest body.
        max_values: Most JSON values, counted by commas and braces, those in texts too. They are
            counted while the body arrives: 2 MiB at once would take 2 ms.

    Raises:
        BodyTooLarge: The body is over a limit.
    """
    too_large = BodyTooLarge(f"the body is over the limit of {limit_bytes} bytes")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    body, values = bytearray(), 0
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            raise too_large
        if max_values is not None:
            values += len(chunk) - len(chunk.translate(None, _VALUE_MARKS))
            if values > max_values:
                raise BodyTooLarge(f"the body is over the limit of {max_values:,} JSON values")
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
