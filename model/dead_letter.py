"""A dead letter: an event that was given up, with the reason, until somebody looks at it."""

from __future__ import annotations

import base64

import msgspec

from model import codec, subjects
from model.decoding import UNREADABLE
from model.errors import ErrorDetail, InvalidEvent
from model.event import Event, Headers

_TRACE_ID = slice(3, 35)


class Burial(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter as it is stored: fields are only ever added at the end.

    Attributes:
        target: Subject of the component version that the event was for.
        frame: The event as it was emitted, whether or not it can be read.
        reason: Why it was given up.
        attempts: How often it was sent to the component, over all its redeliveries.
        emitted_at_s: Unix time at which it was stored first.
        died_at_s: Unix time at which it was given up.
        deployment: Whose it was; empty if its context could not be read.
        virtual_environment: The same.
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
    """A dead letter for who looks at it.

    Attributes:
        id: A number that grows; what it is asked for by.
        event_id: Id of the event; empty, as all of the event's fields, if it cannot be read.
        genesis_id: Id of the genesis event below which it was emitted.
        trace_id: Of the trace in which it was emitted.
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        component: Name of the component that it was for.
        hash: Full content hash of that.
        source: Who emitted it: ``<component>@<hash>``.
        method: HTTP method.
        path: Percent-encoded path.
        query: Raw query string.
        headers: In order, with duplicates.
        size_bytes: Of the body.
        code: Of the last failure; see ``model.errors``.
        detail: What failed, for people.
        hop: Where, or empty.
        attempts: How often it was sent to the component.
        emitted_at_s: Unix time.
        died_at_s: Unix time.
        body: The body if it is text and was asked for, else empty.
        body_base64: The same if it is no text.
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
_decode = msgspec.msgpack.Decoder(Burial).decode


def decode(payload: bytes) -> Burial:
    """Return a dead letter as it was stored.

    Raises:
        InvalidEvent: It is none.
    """
    try:
        return _decode(payload)
    except UNREADABLE as error:
        raise InvalidEvent(f"a dead letter cannot be read: {error}") from error


def show(buried: Burial, letter_id: str, *, with_body: bool) -> DeadLetter:
    """Return a dead letter for who looks at it."""
    event, body = _opened(buried.frame)
    app, component, digest = subjects.version_of(buried.target)
    text, in_base64 = _readable(body) if with_body else ("", "")
    return DeadLetter(
        id=letter_id,
        event_id=event.id,
        genesis_id=event.genesis_id,
        trace_id=event.traceparent[_TRACE_ID],
        app=app,
        deployment=buried.deployment,
        virtual_environment=buried.virtual_environment,
        component=component,
        hash=digest,
        source=event.source,
        method=event.method,
        path=event.path,
        query=event.query,
        headers=event.headers,
        size_bytes=len(body),
        code=buried.reason.code,
        detail=buried.reason.detail,
        hop=buried.reason.hop,
        attempts=buried.attempts,
        emitted_at_s=buried.emitted_at_s,
        died_at_s=buried.died_at_s,
        body=text,
        body_base64=in_base64,
    )


def revived(buried: Burial) -> bytes:
    """Return the frame to send once more: its deliveries are counted on."""
    try:
        event, body = codec.decode_event(buried.frame)
    except InvalidEvent:
        return buried.frame
    return codec.encode(msgspec.structs.replace(event, attempt=buried.attempts + 1), body)


def _opened(frame: bytes) -> tuple[Event, bytes]:
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
