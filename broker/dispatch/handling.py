"""The events that a receiver has accepted, and what a handler answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from broker.runtime.fair_share import FairShare
from broker.streams.body_sender import StreamedBody
from broker.streams.incoming import IncomingStream
from kubefox import codec
from kubefox.event import Event, Headers
from kubefox.refusal import Refusal

_LENGTH = "content-length"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A handler's answer.

    Attributes:
        status: HTTP status.
        headers: In order, with names in lower case.
        body: Whole body.
        stream: Makes the body while it is sent, instead of ``body``; the event is in flight until
            its end.
    """

    status: int = 200
    headers: Headers = ()
    body: codec.Body = b""
    stream: StreamedBody | None = None


def with_length(headers: Headers, body_bytes: int) -> Headers:
    """Return the headers of a whole body; its true length replaces one that a handler has set."""
    others = ((name, value) for name, value in headers if name != _LENGTH)
    return (*others, (_LENGTH, str(body_bytes)))


Handle = Callable[[Event, codec.Body], Coroutine[Any, Any, Reply]]
HandleStream = Callable[[Event, IncomingStream], Coroutine[Any, Any, Reply]]


class Handling(msgspec.Struct, gc=False, eq=False):
    """An event that is in flight, and how it may end early.

    Attributes:
        event: Its head.
        content: Its body, if that is no stream.
        reply_subject: Where its sender waits for the answer, or empty.
        key: Unique among the events in flight: the reply subject, if there is one.
        lane: Deployment and virtual environment; see ``admission``.
        task: Handles it; None while it waits without a place.
        places: Those of which it has taken one; None without a place.
        waiter: Set when its turn comes, if its task waits for that.
        begun_s: Unix time at which its handler began.
        remaining_s: Time that was left until its deadline then.
        body: Stream of its body, and the time for the answer after its end.
        needs_place: Whether it waits for a place.
        has_turn: Whether it may hold the loop now although others wait for their turn.
        is_preparing: Whether its task has begun, and its handler is still to begin.
        is_running: Whether its handler runs.
        is_expired: Whether its deadline has passed.
        is_abandoned: Whether nothing waits for its answer any more.
    """

    event: Event
    content: codec.Body
    reply_subject: str
    key: str
    lane: str
    task: asyncio.Task[None] | None = None
    places: FairShare | None = None
    waiter: asyncio.Future[Refusal | None] | None = None
    begun_s: float = 0.0
    remaining_s: float = 0.0
    body: tuple[IncomingStream, float] | None = None
    needs_place: bool = False
    has_turn: bool = False
    is_preparing: bool = False
    is_running: bool = False
    is_expired: bool = False
    is_abandoned: bool = False
