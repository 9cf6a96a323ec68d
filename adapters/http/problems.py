"""Failures as HTTP responses: RFC 9457 problem details, or plain text for who prefers it."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from aiohttp import web

from model.errors import FoxError, Unavailable

PROBLEM_JSON = "application/problem+json"


def to_response(
    error: FoxError, *, event_id: str, headers: dict[str, str], accept: str
) -> web.Response:
    """Return the response that tells a client about a failure.

    Args:
        error: Only its code, detail and hop are sent, never its cause.
        event_id: Under which the log tells more.
        headers: The ``kubefox-…`` headers that are known.
        accept: The request's Accept header, or empty.
    """
    if isinstance(error, Unavailable):
        headers = {**headers, "retry-after": str(error.retry_after_s)}
    if _prefers_text(accept):
        text = f"{error.http_status} {error.code}: {error.detail}\nevent {event_id}\n"
        return web.Response(text=text, status=error.http_status, headers=headers)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "code": error.code,
        "detail": error.detail,
        "event_id": event_id,
        **({"hop": error.hop} if error.hop else {}),
    }
    return web.Response(
        body=msgspec.json.encode(problem),
        status=error.http_status,
        headers=headers,
        content_type=PROBLEM_JSON,
    )


def _prefers_text(accept: str) -> bool:
    """Whether text/plain is asked for with a higher quality than JSON; ``*/*`` asks for JSON."""
    qualities = {"text/plain": 0.0, "json": 0.0}
    for part in accept.split(","):
        media, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = _quality(parameters)
        if media == "text/plain":
            qualities["text/plain"] = quality
        elif media in {"*/*", "application/*", "application/json", PROBLEM_JSON}:
            qualities["json"] = max(qualities["json"], quality)
    return qualities["text/plain"] > qualities["json"]


def _quality(parameters: list[str]) -> float:
    for each in parameters:
        if each.startswith("q="):
            try:
                return float(each[2:])
            except ValueError:
                return 0.0
    return 1.0
