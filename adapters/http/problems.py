"""Failures as HTTP answers: RFC 9457 problem details, or plain text for who prefers it."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from adapters.http.answer import Answer
from adapters.http.request import MAX_HEADERS, MAX_HEADERS_BYTES, MAX_TARGET_BYTES
from model.errors import FoxError, HeadersTooLarge, InvalidRequest, Unavailable

TEXT = "text/plain; charset=utf-8"
PROBLEM_JSON = "application/problem+json"


def to_answer(error: FoxError, *, event_id: str, known: str, accept: str) -> Answer:
    """Return the answer that tells a client about a failure.

    Args:
        error: Only its code, detail and hop are sent, never its cause.
        event_id: Under which the log tells more.
        known: Lines of the ``kubefox-…`` headers.
        accept: The request's Accept header, or empty.
    """
    if isinstance(error, Unavailable):
        known += f"retry-after: {error.retry_after_s}\r\n"
    if _prefers_text(accept):
        text = f"{error.http_status} {error.code}: {error.detail}\nevent {event_id}\n"
        return Answer(error.http_status, f"{known}content-type: {TEXT}\r\n", text.encode())
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "code": error.code,
        "detail": error.detail,
        "event_id": event_id,
        **({"hop": error.hop} if error.hop else {}),
    }
    lines = f"{known}content-type: {PROBLEM_JSON}\r\n"
    return Answer(error.http_status, lines, msgspec.json.encode(problem))


def of_parser(failure: HttpProcessingError) -> FoxError:
    """Return the error for what is no request."""
    if isinstance(failure, LineTooLong):
        return HeadersTooLarge(
            f"the request's target is over {MAX_TARGET_BYTES} bytes, "
            f"or one of its headers over {MAX_HEADERS_BYTES}"
        )
    if "Too many headers" in failure.message:
        return HeadersTooLarge(f"the request has more than {MAX_HEADERS} headers")
    # The lines below the first repeat the client's bytes.
    reason = failure.message.partition("\n")[0].rstrip(":")
    return InvalidRequest(f"the request cannot be read: {reason}")


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
