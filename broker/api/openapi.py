"""The OpenAPI document, made from the table of operations and the structs they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from broker.api.messages import ProblemDetails
from broker.api.operation import Operation

OPENAPI_VERSION = "3.1.0"

_PARAMETER = re.compile(r"\{(\w+)\}")
_REF = "#/components/schemas/{name}"


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """Return the document that describes ``operations``."""
    table = tuple(operations)
    types = _types(table)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        described = _operation(operation, schema_of)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "KubeFox control API", "version": version},
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    """Return every type that is spoken of, each once."""
    types: dict[str, Any] = {_key(ProblemDetails): ProblemDetails}
    for operation in operations:
        for each in (operation.result, operation.body, *_query_types(operation)):
            if each is not None and each is not bytes:
                types[_key(each)] = each
    return list(types.values())


def _query_types(operation: Operation) -> list[Any]:
    return [field.type for field in msgspec.structs.fields(operation.query)]


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": schema_of[_key(ProblemDetails)]}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": _parameters(operation, schema_of),
        "responses": {
            **_success(operation, schema_of),
            "default": {"description": "It failed", "content": problem},
        },
    }
    if operation.body is bytes:
        binary = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {"required": True, "content": {"application/gzip": binary}}
    elif operation.body is not None:
        body = {"schema": schema_of[_key(operation.body)]}
        described["requestBody"] = {"required": True, "content": {"application/json": body}}
    return described


def _success(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    if operation.result is None:
        return {"204": {"description": "It is done"}}
    media = "application/x-ndjson" if operation.lines else operation.text or "application/json"
    content = {media: {"schema": schema_of[_key(operation.result)]}}
    return {"200": {"description": "It is done", "content": content}}


def _parameters(operation: Operation, schema_of: dict[str, Any]) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    in_query = [
        {
            "name": field.name,
            "in": "query",
            "required": field.required,
            "schema": schema_of[_key(field.type)],
        }
        for field in msgspec.structs.fields(operation.query)
    ]
    if_match = {
        "name": "If-Match",
        "in": "header",
        "description": "Revision that the object must have; 0: it must not exist, *: it must",
        "schema": {"type": "string"},
    }
    return [*in_path, *in_query, *([if_match] if operation.has_if_match else [])]
