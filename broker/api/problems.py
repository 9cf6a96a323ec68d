"""Failures of the control API as RFC 9457 problem details."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from aiohttp import web

from broker.api.messages import ProblemDetails
from model.errors import FoxError, InternalError, ProblemsFound, Unavailable

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


def to_response(error: FoxError) -> web.Response:
    """Return the response that tells a client about a failure; its causes are never sent."""
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Unavailable) else {}
    problems = error.problems if isinstance(error, ProblemsFound) else ()
    return _response(
        ProblemDetails(
            title=HTTPStatus(error.http_status).phrase,
            status=error.http_status,
            code=error.code,
            detail=error.detail,
            hop=error.hop,
            problems=problems,
        ),
        headers,
    )


def of_http(error: web.HTTPException, request: web.BaseRequest) -> web.Response:
    """Return the response for what aiohttp itself refuses: unknown paths and methods, mostly."""
    what = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not possible at this path",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is over the limit of this path",
    }
    status = HTTPStatus(error.status)
    detail = ProblemDetails(
        title=status.phrase,
        status=status,
        code=status.name.lower(),
        detail=f"{what.get(status, error.reason)}: {request.path}",
    )
    allow = error.headers.get("allow")
    return _response(detail, {"allow": allow} if allow else {})


def of_unexpected(error: Exception, request: web.BaseRequest) -> web.Response:
    """Return the response for a failure of the platform itself, which the log explains."""
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return to_response(InternalError("the platform failed; its log tells why"))


def _response(details: ProblemDetails, headers: dict[str, str]) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(details),
        status=details.status,
        headers=headers,
        content_type=PROBLEM_JSON,
    )
