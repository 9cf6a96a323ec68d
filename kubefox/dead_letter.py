"""A dead letter: an event whose delivery was given up, stored with the reason."""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from kubefox import codec, subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import ErrorDetail, InvalidEvent
from kubefox.event import Event, Headers

_TRACE_ID = slice(3, 35)


class DeadLetterRecord(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter as stored. The field order is the format: add fields only at the end.

    Attributes:
        target: Subject of the component version that was to handle the event.
        frame: The event as emitted; perhaps it cannot be decoded.
        reason: The failure of the last attempt.
        attempts: How often it was sent to the component, over all redeliveries.
        emitted_at_s: Unix time at which it was first stored.
        died_at_s: Unix time at which delivery was given up.
        deployment: Name of its deployment; empty if its context could not be read.
        virtual_environment: Name of its virtual environment; empty like ``deployment``.
    """

    target: str
    frame: bytes
    reason: ErrorDetail
    attempts: int
    emitted_at_s: float
    died_at_s: float
    deployment: str = ""
    virtual_environment: str = ""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter in the form that the control API returns.

    Attributes:
        id: Its identifier, an increasing number.
        event_id: Id of the event. All fields of the event are empty if it cannot be decoded.
        genesis_id: Id of the genesis event from which it descends.
        trace_id: Id of the trace in which it was emitted.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        component: Name of the component that was to handle it.
        hash: Full content hash of that component.
        source: The emitter: ``<component>@<hash>``.
        method: HTTP method.
        path: Percent-encoded path.
        query: Raw query string.
        headers: In order, with duplicates.
        size_bytes: Size of the body.
        code: Code of the last failure; see ``kubefox.errors``.
        detail: Description of the failure, for people.
        hop: Where it failed, or empty.
        attempts: How often it was sent to the component.
        emitted_at_s: Unix time.
        died_at_s: Unix time.
        body: The body if it is text and was requested, else empty.
        body_base64: The body if it is no text and was requested, else empty.
    """

    id: str
    event_id: str
    genesis_id: str
    trace_id: str
    app: str
    deployment: str
    virtual_environment: str
    component: str
    hash: str
    source: str
    method: str
    path: str
    query: str
    headers: Headers
    size_bytes: int
    code: str
    detail: str
    hop: str
    attempts: int
    emitted_at_s: float
    died_at_s: float
    body: str = ""
    body_base64: str = ""


_NO_EVENT = Event(
    id="", genesis_id="", type="", context="", source="", deadline_ms=0, method="", path=""
)
encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeadLetterRecord).decode


def decode(payload: bytes) -> DeadLetterRecord:
    """Return a dead letter as stored.

    Raises:
        InvalidEvent: The payload is no dead letter.
    """
    try:
        return _decode(payload)
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"the dead letter cannot be read: {error}") from error


def to_dead_letter(record: DeadLetterRecord, letter_id: str, *, with_body: bool) -> DeadLetter:
    """Return a dead letter in the form that the control API returns."""
    event, body = _decode_frame(record.frame)
    app, component, digest = subjects.version_of(record.target)
    text, in_base64 = _readable(body) if with_body else ("", "")
    return DeadLetter(
        id=letter_id,
        event_id=event.id,
        genesis_id=event.genesis_id,
        trace_id=event.traceparent[_TRACE_ID],
        app=app,
        deployment=record.deployment,
        virtual_environment=record.virtual_environment,
        component=component,
        hash=digest,
        source=event.source,
        method=event.method,
        path=event.path,
        query=event.query,
        headers=event.headers,
        size_bytes=len(body),
        code=record.reason.code,
        detail=record.reason.detail,
        hop=record.reason.hop,
        attempts=record.attempts,
        emitted_at_s=record.emitted_at_s,
        died_at_s=record.died_at_s,
        body=text,
        body_base64=in_base64,
    )


def redelivery_frame(record: DeadLetterRecord, reseal: Callable[[str], str]) -> bytes:
    """Return the frame for another delivery; its attempt number continues the earlier ones.

    Args:
        record: The dead letter.
        reseal: Returns the token that replaces the one of the event.
    """
    try:
        event, body = codec.decode_event(record.frame)
    except InvalidEvent:
        return record.frame
    again = msgspec.structs.replace(
        event, attempt=record.attempts + 1, context=reseal(event.context)
    )
    return codec.encode(again, body)


def _decode_frame(frame: bytes) -> tuple[Event, bytes]:
    try:
        event, body = codec.decode_event(frame)
    except InvalidEvent:
        return _NO_EVENT, frame
    return event, bytes(body)


def _readable(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), ""
    except UnicodeDecodeError:
        return "", base64.b64encode(body).decode()
