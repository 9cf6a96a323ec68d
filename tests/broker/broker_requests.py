"""A component and its pod, events that a broker sends to it, and requests to the broker."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import msgspec

from broker.dispatch.broker import Broker
from broker.dispatch.handling import Handle
from broker.dispatch.receiver import Receiver
from broker.dispatch.receiving import receive
from broker.dispatch.request import DispatchRequest
from broker.dispatch.usage import Usage
from broker.nats.bus import Bus
from broker.runtime.ids import new_id
from fox import Kit
from kubefox import subjects
from kubefox.component import ComponentDefinition
from kubefox.event import ResponseHead
from routing.request import GenesisRequest
from routing.snapshot.route_binding import Target

FOREVER_S = 60


def web() -> ComponentDefinition:
    """Return a component that declares something of each kind."""
    kit = Kit()
    kit.component("api")
    kit.state_store("orders")
    kit.env("colour")

    @kit.route("Path(`/`)")
    async def serve(ctx: object) -> None: ...

    return kit.definition("web")


def serve(pod: Bus, target: Target, handle: Handle) -> AbstractAsyncContextManager[Receiver]:
    """Serve the target as a pod does, with ``handle``."""
    return receive(pod, target.subject, subjects.PODS_QUEUE, handle, source="web@1")


async def dispatch(broker: Broker, target: Target, ttl_s: float | None = None) -> ResponseHead:
    """Send an event as the HTTP adapter does; return the head of the answer."""
    head, _ = await broker.dispatch(
        DispatchRequest(
            target=broker.dispatch_target(target),
            request=GenesisRequest(),
            event_id=new_id(),
            source="adapter/http",
            ttl_s=ttl_s,
        )
    )
    return head


async def ask_usage(pod: Bus, within_s: float | None = None) -> Usage:
    """Request the component versions that are in use, or were in use within a time."""
    question = b"" if within_s is None else msgspec.msgpack.encode(within_s)
    answer = await pod.request(subjects.USAGE, question, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=Usage)
