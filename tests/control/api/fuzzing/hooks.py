"""Hooks of schemathesis: requests reach objects that exist, and no request waits on purpose."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.core import NotSet
from schemathesis.generation import GenerationMode

# The names of the objects that the test has stored, by the beginning of the path.
EXISTING = {
    "/v1/deployments": "main",
    "/v1/environments": "dev",
    "/v1/virtual-environments": "me",
    "/v1/releases": "me",
    "/v1/http-adapters": "crm",
}


@schemathesis.hook
def before_load_schema(_context: Any, schema: dict[str, Any]) -> None:
    """Leave authentication out: the token is a given header, and no input.

    With it, the fuzzer takes every other unknown header for a fault. Other tests send each request
    without a token.
    """
    del schema["security"], schema["components"]["securitySchemes"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Change a request that would not reach the logic of its operation, or would wait."""
    query = case.query or {}
    if case.operation.path == "/v1/logs" and str(query.get("follow")).lower() in {"true", "1"}:
        case.query = {**query, "follow": "false"}
    if case.operation.path == "/v1/stats" and _is_window(query.get("window_s")):
        case.query = {**query, "window_s": "0.01"}
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        _name_existing_object(case)


@schemathesis.serializer("application/gzip")
def gzip(_context: Any, value: Any) -> Any:
    """Send a bundle as it was generated."""
    return value if isinstance(value, bytes) else str(value).encode()


def _is_window(text: Any) -> bool:
    try:
        return 0 < float(text) <= 60
    except (TypeError, ValueError):
        return False


def _name_existing_object(case: Any) -> None:
    """Name an object that exists in the path and the body of every second valid request."""
    if case.operation.path == "/v1/scales" and isinstance(case.body, dict):
        case.body["component"] = "api-server"
    given = (case.path_parameters or {}).get("name")
    name = next((EXISTING[path] for path in EXISTING if case.operation.path.startswith(path)), None)
    if given is None or name is None or len(str(given)) % 2 == 0:
        return
    case.path_parameters["name"] = name
    body = None if isinstance(case.body, NotSet) else case.body
    target = body.get("deployment", body) if isinstance(body, dict) else None
    if isinstance(target, dict) and "name" in target:
        target["name"] = name
