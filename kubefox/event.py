"""The heads that cross NATS: a request event to a component or adapter, and its response.

A genesis event enters from outside through an adapter; every event below it carries the same
context. Both heads are array-like structs, so their field order is the wire format: add fields only
at the end. ``kubefox.codec`` defines the frame around them.
"""

from __future__ import annotations

import msgspec

from kubefox.delivery import Delivery
from kubefox.errors import ErrorDetail

NO_ROUTE = -1

Headers = tuple[tuple[str, str], ...]


class EventType:
    """The values of ``Event.type``, which ``Type(t)`` in a rule compares with."""

    HTTP = "http"
    CRON = "cron"
    COMPONENT = "component"


class Event(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """Head of a request.

    Attributes:
        id: Unique id of this event.
        genesis_id: Id of the genesis event from which it descends; its own id for a genesis event.
        type: One of ``EventType``.
        context: Sealed EventContext; see ``kubefox.context``.
        source: The sender: ``<component>@<whole hash>`` or ``adapter/<kind>``.
        deadline_ms: Time of the platform (Unix time in ms) until which the sender waits for the
            response. 0 while an emitted event is stored; each attempt to deliver it has its own
            deadline.
        handler: Route id, schedule id for type cron, or NO_ROUTE for the default handler.
        method: HTTP method, or the operation of an adapter.
        path: Percent-encoded path, beginning with ``/``.
        query: Raw query string without ``?`` and without selectors.
        headers: In order, with duplicates; names in lower case.
        params: Captured by the rule, decoded.
        traceparent: W3C trace context, or empty when not traced.
        sent_us: Time of the platform in µs at which it was sent; 0 if unknown.
        attempt: Number of this delivery, from 1; above 1, the event may have been handled before.
        stream: Subject of the body's sender if the body follows as a stream; else empty.
        delivery: Of an emitted event; None for all others.
        depth: Number of components that wait for its answer, one for the other: 0 for an event from
            outside, and one more than its own event's for a call of a component.
        inline_bytes: Most bytes of the answer's body in the frame of the answer; a longer body
            follows as a stream. 0 stands for ``stream.INLINE_BYTES``.
    """

    id: str
    genesis_id: str
    type: str
    context: str
    source: str
    deadline_ms: int
    handler: int = NO_ROUTE
    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Headers = ()
    params: dict[str, str] = {}
    traceparent: str = ""
    sent_us: int = 0
    attempt: int = 1
    stream: str = ""
    delivery: Delivery | None = None
    depth: int = 0
    inline_bytes: int = 0

    def remaining_s(self, now_s: float) -> float:
        """Return the seconds until the deadline at Unix time ``now_s``; never below 0."""
        return max(0.0, self.deadline_ms / 1000 - now_s)


class ResponseHead(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """Head of a response.

    Attributes:
        status: HTTP status; 0 when ``error`` is set.
        headers: In order, with duplicates; names in lower case.
        source: The responder, in the form of ``Event.source``.
        error: The failure, if the handler gave no response.
        stream: Subject of the body's sender if the body follows as a stream; else empty.
        responder: Number of the responder's process (``broker.runtime.ids``); 0 if unknown.
    """

    status: int
    headers: Headers = ()
    source: str = ""
    error: ErrorDetail | None = None
    stream: str = ""
    responder: int = 0
