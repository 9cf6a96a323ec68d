"""Failures of the control API as RFC 9457 problem details."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from aiohttp import web

from control.api.messages import ProblemDetails
from kubefox.errors import (
    ContinueExpired,
    FoxError,
    InternalError,
    MissingRole,
    ProblemsFound,
    TooManyFailures,
    Unauthenticated,
    Unavailable,
)

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
CHALLENGE = 'Bearer realm="kubefox"'
"""WWW-Authenticate of RFC 6750: which credentials the control API takes."""


def to_response(error: FoxError) -> web.Response:
    """Return the response for an error. The causes of the error are never sent."""
    problems = error.problems if isinstance(error, ProblemsFound) else ()
    return _response(
        ProblemDetails(
            title=HTTPStatus(error.http_status).phrase,
            status=error.http_status,
            code=error.code,
            detail=error.detail,
            hop=error.hop,
            problems=problems,
            continue_=error.restart if isinstance(error, ContinueExpired) else "",
        ),
        _headers(error),
    )


def _headers(error: FoxError) -> dict[str, str]:
    match error:
        case Unavailable():
            return {"retry-after": str(error.retry_after_s)}
        case TooManyFailures():
            return {"retry-after": "1"}
        case Unauthenticated():
            return {"www-authenticate": CHALLENGE}
        case MissingRole():
            return {"www-authenticate": f'{CHALLENGE}, error="insufficient_scope"'}
        case _:
            return {}


def of_http(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """Return the response for an error of aiohttp: an unknown path or method, mostly."""
    details = {
        HTTPStatus.NOT_FOUND: "the control API has no such path",
        HTTPStatus.METHOD_NOT_ALLOWED: f"method {request.method} is not allowed for this path",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is over the limit for this path",
    }
    status = HTTPStatus(error.status)
    detail = ProblemDetails(
        title=status.phrase,
        status=status,
        code=status.name.lower(),
        detail=f"{details.get(status, error.reason)}: {request.path}",
    )
    allow = error.headers.get("allow")
    return _response(detail, {"allow": allow} if allow else {})


def of_unexpected(error: Exception, request: web.BaseRequest) -> web.Response:
    """Log an unexpected exception, and return the response for it."""
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return to_response(InternalError("internal error: see the log of the control process"))


def _response(details: ProblemDetails, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(details),
        status=details.status,
        headers=headers,
        content_type=PROBLEM_JSON,
    )
