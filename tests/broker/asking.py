"""A component and its pod for a broker to send events to, and questions to the broker."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import msgspec

from broker.broker import Broker
from broker.bus import Bus
from broker.ids import new_id
from broker.receiver import Handle, Receiver, receive
from broker.usage import Usage
from fox import Kit
from model import subjects
from model.component import ComponentDefinition
from model.event import EventType, Response
from routing.bindings import Target

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
    """Be a pod that handles so."""
    return receive(pod, target.subject, subjects.PODS_QUEUE, handle, source="web@1")


async def dispatch(broker: Broker, target: Target, ttl_s: float | None = None) -> Response:
    """Send an event as the HTTP adapter does; return the head of the answer."""
    head, _ = await broker.dispatch(
        broker.lane(target),
        event_id=new_id(),
        type=EventType.HTTP,
        source="adapter/http",
        ttl_s=ttl_s,
    )
    return head


async def ask_usage(pod: Bus, within_s: float | None = None) -> Usage:
    """Ask which component versions are in use, or were so lately."""
    question = b"" if within_s is None else msgspec.msgpack.encode(within_s)
    answer = await pod.request(subjects.USAGE, question, FOREVER_S)
    return msgspec.msgpack.decode(answer, type=Usage)
