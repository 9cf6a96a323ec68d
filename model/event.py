"""What travels: a request event to a component or adapter, and the response to it.

A genesis event enters from outside through an adapter; every event below it carries the same
context. Both heads are array-like structs, so their field order is the wire format: fields are
only ever added at the end. See ``model.codec`` for the frame around them.
"""

from __future__ import annotations

import msgspec

from model.errors import ErrorDetail

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
        genesis_id: Id of the genesis event it descends from; its own id if it is one.
        type: One of ``EventType``.
        context: Sealed EventContext; see ``model.context``.
        source: Who sent it: ``<component>@<hash>`` in full, or ``adapter/<kind>``.
        deadline_ms: Unix time in ms after which nobody waits for the answer; 0 while an emitted
            event is stored, for each attempt to deliver it gets its own.
        handler: Route id, schedule id for type cron, or NO_ROUTE for the default handler.
        method: HTTP method, or the operation asked of an adapter.
        path: Percent-encoded path, beginning with ``/``.
        query: Raw query string without ``?`` and without selectors.
        headers: In order, with duplicates; names in lower case.
        params: Captured by the rule, decoded.
        traceparent: W3C trace context, or empty when not traced.
        sent_us: Unix time in µs at which it was sent; 0 when that is not known.
        attempt: Which delivery this is, from 1; above it, the event may have been handled before.
        stream: Subject of the body's sender, when the body follows as a stream; else empty.
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

    def remaining_s(self, now_s: float) -> float:
        """Return the seconds that are left at Unix time ``now_s``; never below 0."""
        return max(0.0, self.deadline_ms / 1000 - now_s)


class Response(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """Head of a response.

    Attributes:
        status: HTTP status; 0 when ``error`` is set.
        headers: In order, with duplicates; names in lower case.
        source: Who answered, spelt as ``Event.source``.
        error: The failure, when there is no answer of the handler.
        stream: Subject of the body's sender, when the body follows as a stream; else empty.
    """

    status: int
    headers: Headers = ()
    source: str = ""
    error: ErrorDetail | None = None
    stream: str = ""
