"""Events for a receiver, and a handler that returns their bodies."""

from __future__ import annotations

import time

from broker.dispatch.handling import Reply
from broker.nats.bus import Bus
from kubefox import codec
from kubefox.errors import (
    from_detail,
)
from kubefox.event import Event, EventType

FOREVER_S = 60


def event(event_id: str = "1", *, path: str = "/", ttl_s: float = FOREVER_S) -> Event:
    return Event(
        id=event_id,
        genesis_id=event_id,
        type=EventType.COMPONENT,
        context="token",
        source="test",
        deadline_ms=int((time.time() + ttl_s) * 1000),
        path=path,
    )


async def request(bus: Bus, subject: str, head: Event, body: bytes = b"") -> bytes:
    """Return the body of the answer; raise the error in it."""
    frame = await bus.request(subject, codec.encode(head, body), FOREVER_S)
    response, content = codec.decode_response(frame)
    if response.error is not None:
        raise from_detail(response.error)
    return bytes(content)


async def echo(head: Event, body: codec.Body) -> Reply:
    return Reply(body=body)
