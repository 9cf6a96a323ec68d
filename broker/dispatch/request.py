"""A genesis event that an adapter sends."""

from __future__ import annotations

import msgspec

from broker.dispatch.targets import DispatchTarget
from broker.streams.outgoing import OutgoingStream
from kubefox import codec
from kubefox.event import NO_ROUTE
from routing.request import GenesisRequest


class DispatchRequest(msgspec.Struct, kw_only=True, gc=False, eq=False):
    """A genesis event, its destination and its body.

    Attributes:
        target: Where routing sends the event.
        request: The part of the event that routing has read.
        event_id: A new id; see ``broker.runtime.ids``.
        source: ``adapter/<kind>``.
        handler: Id of the route or schedule.
        params: Captured by the rule.
        body: At most ``INLINE_BYTES``.
        body_stream: Sends a body of any length, instead of ``body``.
        traceparent: W3C trace context, or empty; see ``Event``.
        sent_ns: Unix time; 0 is the time of sending.
        ttl_s: Time until the response's head, counted from the end of the body; None is the
            setting ``FOX_EVENT_TTL_S``.
    """

    target: DispatchTarget
    request: GenesisRequest
    event_id: str
    source: str
    handler: int = NO_ROUTE
    params: dict[str, str] = {}
    body: codec.Body = b""
    body_stream: OutgoingStream | None = None
    traceparent: str = ""
    sent_ns: int = 0
    ttl_s: float | None = None
