"""Failures as HTTP responses: RFC 9457 problem details, or plain text if the client prefers it."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from adapters.http.aiohttp_internals import HttpProcessingError, LineTooLong
from adapters.http.limits import HttpLimits
from adapters.http.response import HttpResponse
from kubefox.errors import FoxError, HeadersTooLarge, InvalidRequest, Unavailable

TEXT = "text/plain; charset=utf-8"
PROBLEM_JSON = "application/problem+json"


def to_response(error: FoxError, *, event_id: str, kubefox_lines: str, accept: str) -> HttpResponse:
    """Return the response for a failure.

    Args:
        error: Only its code, detail and hop are sent, never its cause.
        event_id: Id under which the log has more.
        kubefox_lines: Lines of the ``kubefox-…`` response headers.
        accept: The request's Accept header; empty for none.
    """
    lines = kubefox_lines
    if isinstance(error, Unavailable):
        lines += f"retry-after: {error.retry_after_s}\r\n"
    if _prefers_text(accept):
        text = f"{error.http_status} {error.code}: {error.detail}\nevent {event_id}\n"
        return HttpResponse(error.http_status, f"{lines}content-type: {TEXT}\r\n", text.encode())
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "code": error.code,
        "detail": error.detail,
        "event_id": event_id,
        **({"hop": error.hop} if error.hop else {}),
    }
    lines += f"content-type: {PROBLEM_JSON}\r\n"
    return HttpResponse(error.http_status, lines, msgspec.json.encode(problem))


def of_parse_failure(failure: HttpProcessingError, limits: HttpLimits) -> FoxError:
    """Return the error for bytes that are not a valid request."""
    if isinstance(failure, LineTooLong):
        return HeadersTooLarge(
            f"the request target is over {limits.max_target_bytes} bytes, "
            f"or one of the headers is over {limits.max_headers_bytes} bytes"
        )
    if "Too many headers" in failure.message:
        return HeadersTooLarge(f"the request has more than {limits.max_headers} headers")
    # The lines after the first one repeat the client's bytes.
    reason = failure.message.partition("\n")[0].rstrip(":")
    return InvalidRequest(f"the request is not valid HTTP/1.1: {reason}")


def _prefers_text(accept: str) -> bool:
    """Return whether text/plain has a higher quality than JSON; ``*/*`` counts as JSON."""
    qualities = {"text/plain": 0.0, "json": 0.0}
    for part in accept.split(","):
        media, *parameters = (field.strip().lower() for field in part.split(";"))
        quality = _quality(parameters)
        if media == "text/plain":
            qualities["text/plain"] = quality
        elif media in {"*/*", "application/*", "application/json", PROBLEM_JSON}:
            qualities["json"] = max(qualities["json"], quality)
    return qualities["text/plain"] > qualities["json"]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
