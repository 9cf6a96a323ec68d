"""The OpenAPI document, generated from the table of operations and the structs that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, get_origin

import msgspec

from control.api.docstrings import attributes_of, split_docstring
from control.api.messages import ProblemDetails
from control.api.operation import Operation
from control.api.path_parameters import PATH_PARAMETERS, names_in
from control.api.rights import right_of
from control.listing.list_kind import ListQuery
from control.stored_record import StoredRecord
from routing.memo import Memo

OPENAPI_VERSION = "3.1.0"

RIGHT = "x-kubefox-right"
"""The role that an operation needs, and for what."""

_MODULE = re.compile(r"(?<![A-Za-z])(?:[a-z][a-z_]*\.)+(?=[A-Z])")
_REF = "#/components/schemas/{name}"
_ETAG = {
    "description": "Revision of the object, in quotes.",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,19}"$'},
}
_CHALLENGE = {"description": "The scheme of tokens.", "schema": {"type": "string"}}
_TOKEN = "token"  # noqa: S105 - the name of the scheme
_TOKEN_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of the control API: the owner's, or one of `fox token create`.",
}
_IF_MATCH = {"type": "string", "pattern": '^([*]|"[0-9]{1,19}"|[0-9]{1,19})$'}


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """Return the document that describes ``operations``."""
    table = tuple(operations)
    types = _types(table)
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=_memo_schema, ref_template=_REF
    )
    for component in components.values():
        _describe_properties(component)
    # A generic struct of a generic struct is named with the modules of both.
    short_names = {_REF.format(name=name): _REF.format(name=_short(name)) for name in components}
    named = {_short(name): _renamed(schema, short_names) for name, schema in components.items()}
    short_schemas = (_renamed(schema, short_names) for schema in schemas)
    _close_bodies(table, named)
    schema_of = dict(zip(map(_key, types), short_schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        described = _operation(operation, schema_of)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "KubeFox control API", "version": version},
        "security": [{_TOKEN: []}],
        "paths": paths,
        "components": {"schemas": named, "securitySchemes": {_TOKEN: _TOKEN_SCHEME}},
    }


def _short(name: str) -> str:
    return _MODULE.sub("", name)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return a schema in which references have other names."""
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "$ref" else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(value, names) for value in node] if isinstance(node, list) else node


def _memo_schema(kind: type) -> dict[str, Any]:
    """Return any schema for a memo: ``_describe_properties`` removes it."""
    if kind is Memo:
        return {"type": "null"}
    raise NotImplementedError(f"no JSON schema for {kind}")


def _describe_properties(schema: dict[str, Any]) -> None:
    """Move the attributes of a schema's docstring to the descriptions of its properties."""
    # JSON leaves memos out, see routing.memo.
    schema.get("properties", {}).pop("memo", None)
    if "description" not in schema:
        return
    schema["description"], attributes = split_docstring(schema["description"])
    for name, text in attributes.items():
        # A field whose name is a keyword of Python has a trailing underscore there.
        field = name.removesuffix("_")
        if field in schema.get("properties", {}):
            schema["properties"][field]["description"] = text


def _types(operations: Iterable[Operation]) -> list[Any]:
    """Return every type that an operation names, each once."""
    types: dict[str, Any] = {_key(ProblemDetails): ProblemDetails}
    for operation in operations:
        for kind in (operation.result, operation.body, *_query_types(operation)):
            if kind is not None and kind is not bytes:
                types[_key(kind)] = kind
    return list(types.values())


def _query_types(operation: Operation) -> list[Any]:
    return [field.type for field in msgspec.structs.fields(operation.query)]


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": schema_of[_key(ProblemDetails)]}}
    failures = {
        str(status): {"description": f"{HTTPStatus(status).phrase}.", "content": problem}
        for status in _failures(operation)
    }
    if HTTPStatus.UNAUTHORIZED in _failures(operation):
        failures[str(HTTPStatus.UNAUTHORIZED.value)]["headers"] = {"WWW-Authenticate": _CHALLENGE}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": _parameters(operation, schema_of),
        "responses": {
            **_success(operation, schema_of),
            **failures,
        },
    }
    right = right_of(operation)
    if right.role is None:
        described["security"] = []
    else:
        described["description"] = f"Needs the role {right.text}."
        described[RIGHT] = {"role": right.role.value, "scope": right.scope}
    if operation.body is bytes:
        binary = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {"required": True, "content": {"application/gzip": binary}}
    elif operation.body is not None:
        body = {"schema": schema_of[_key(operation.body)]}
        described["requestBody"] = {
            "required": _has_required_field(operation.body),
            "content": {"application/json": body},
        }
    return described


def _has_required_field(body: type[msgspec.Struct]) -> bool:
    """Return whether a body must be sent: a missing one is read as an empty object."""
    return any(field.required for field in msgspec.structs.fields(body))


def _failures(operation: Operation) -> Iterator[int]:
    """Yield the statuses of an operation's failures, in order."""
    yield HTTPStatus.BAD_REQUEST
    if right_of(operation).role is not None:
        yield HTTPStatus.UNAUTHORIZED
        yield HTTPStatus.TOO_MANY_REQUESTS
    yield HTTPStatus.FORBIDDEN
    if operation.method != "GET" or names_in(operation.path):
        yield HTTPStatus.NOT_FOUND
    if operation.method != "GET":
        yield HTTPStatus.CONFLICT
    if issubclass(operation.query, ListQuery):
        yield HTTPStatus.GONE
    if operation.body is not None:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if operation.method != "GET":
        yield HTTPStatus.UNPROCESSABLE_ENTITY
    yield HTTPStatus.INTERNAL_SERVER_ERROR
    yield HTTPStatus.SERVICE_UNAVAILABLE


def _close_bodies(operations: Iterable[Operation], named: dict[str, dict[str, Any]]) -> None:
    """Say of every schema inside a body that other fields are refused."""
    bodies = (operation.body for operation in operations)
    waiting = [body.__name__ for body in bodies if body not in (None, bytes)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            if "properties" in named[name]:
                named[name].setdefault("additionalProperties", False)
            waiting += _references(named[name])


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if reference := node.get("$ref"):
            yield reference.rpartition("/")[2]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _with_default(schema: dict[str, Any], default: object) -> dict[str, Any]:
    """Return the schema of a parameter with its default, unless that means that it is not given."""
    is_shown = isinstance(default, int | float | str) and default != ""
    return {**schema, "default": default} if is_shown else schema


def _success(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    empty = {"204": {"description": "The operation succeeded; the response has no body."}}
    if operation.result is None:
        return empty
    media = operation.text or ("application/x-ndjson" if operation.stream else "application/json")
    content = {media: {"schema": schema_of[_key(operation.result)]}}
    headers = {"headers": {"ETag": _ETAG}} if _is_stored(operation.result) else {}
    succeeded = {"description": "The operation succeeded.", "content": content, **headers}
    return {"200": succeeded, **(empty if operation.may_be_empty else {})}


def _is_stored(result: Any) -> bool:
    kind = get_origin(result) or result
    return isinstance(kind, type) and issubclass(kind, StoredRecord)


def _parameters(operation: Operation, schema_of: dict[str, Any]) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "description": PATH_PARAMETERS[name][1],
            "required": True,
            "schema": {"type": "string", **PATH_PARAMETERS[name][0].schema},
        }
        for name in names_in(operation.path)
    ]
    attributes = attributes_of(operation.query)
    in_query = [
        {
            "name": field.encode_name,
            "in": "query",
            "description": attributes[field.name],
            "required": field.required,
            "schema": _with_default(schema_of[_key(field.type)], field.default),
        }
        for field in msgspec.structs.fields(operation.query)
    ]
    if_match = {
        "name": "If-Match",
        "in": "header",
        "description": "Revision that the object must have. 0: the object must not exist. "
        "*: the object must exist.",
        "schema": _IF_MATCH,
    }
    return [*in_path, *in_query, *([if_match] if operation.has_if_match else [])]
