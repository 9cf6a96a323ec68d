"""Serves a subject: the receiver is subscribed first, and drained last."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from broker.dispatch.handling import Handle, HandleStream
from broker.dispatch.receiver import Receiver, is_never_cancelled
from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.context import app_of
from kubefox.errors import NatsUnavailable
from kubefox.event import Event
from kubefox.senders import CheckSender, check_for_adapter, check_for_component

MAX_IN_FLIGHT = 1000
MAX_WAIT_S = 10.0


@contextlib.asynccontextmanager
async def receive(
    bus: Bus,
    subject: str,
    queue: str,
    handle: Handle,
    *,
    source: str,
    max_in_flight: int = MAX_IN_FLIGHT,
    max_wait_s: float = 0,
    handle_stream: HandleStream | None = None,
    pod: str = "",
    is_new: bool = False,
    on_first_event: Callable[[], None] | None = None,
    cancels: Callable[[Event], bool] = is_never_cancelled,
    responder: int = 0,
) -> AsyncIterator[Receiver]:
    """Serve ``subject`` until the context ends, then answer the events that were received.

    ``nc.drain()`` does not wait for tasks; draining in this order loses nothing under load.

    Args:
        bus: Connection to use.
        subject: Target of the events, of which any sender may be the source; or any other subject.
        queue: Queue group that shares the subject.
        handle: Handles an event; cancelled at the event's deadline. A FoxError that it raises is
            sent to the requester. Any other exception is logged and sent as ComponentFailed.
        source: Source of the responses; see ``ResponseHead.source``.
        max_in_flight: Events of one deployment and virtual environment that are handled at once;
            as many streams may be open. All together have twice as many.
        max_wait_s: How long further events wait; those that would wait for longer, or until after
            their deadline, are refused as overloaded.
        handle_stream: Handles an event whose body is a stream; without it such events are refused
            as too large.
        pod: Id of the pod that receives. While it handles events, it says which of a requester's
            it has, so that the death of another pod fails only the requests of that pod; and how
            many it has, for the autoscaler.
        is_new: See ``RecentAnswers``.
        on_first_event: Called before an event is handled while no other is in flight.
        cancels: Whether the handler of an event is cancelled when its sender waits no more.
        responder: Number of this process; see ``ResponseHead.responder``.
    """
    pattern, check_sender = _received(subject)
    receiver = Receiver(
        bus,
        handle,
        source,
        max_in_flight,
        max_wait_s,
        handle_stream,
        on_first_event,
        cancels,
        responder,
        subjects.version_of(subject)[0] if subjects.is_component(subject) else "",
        check_sender,
        pod,
        is_new=is_new,
    )
    async with _answering_others(bus, receiver, subject, pod):
        subscription = await bus.serve_fast_path(pattern, receiver.accept, queue)
        await bus.flush()
        try:
            yield receiver
        finally:
            await bus.stop_serving(subscription)
            await receiver.wait_idle()


def _received(target: str) -> tuple[str, CheckSender | None]:
    """Return the subjects of the requests to a target, and the check of their senders."""
    if subjects.is_component(target):
        return subjects.requests_to(target), check_for_component(target)
    if subjects.is_adapter(target):
        return subjects.requests_to(target), check_for_adapter(target, app_of)
    return target, None


@contextlib.asynccontextmanager
async def _answering_others(
    bus: Bus, receiver: Receiver, subject: str, pod: str
) -> AsyncIterator[None]:
    """Answer what others ask a pod beside its events; without a pod, nothing."""

    async def notify_cut_off() -> None:
        with contextlib.suppress(NatsUnavailable):
            await bus.publish(subjects.pods_back(subject), b"")

    if pod and subjects.is_component(subject):
        bus.on_reconnect(notify_cut_off)
    answering = (
        (
            await bus.serve(subjects.pod(pod), receiver.answer_held),
            await bus.serve_fast_path(subjects.pod_load(pod), receiver.answer_load),
            await bus.serve_fast_path(subjects.gone(subject), receiver.abandon),
        )
        if pod
        else ()
    )
    try:
        yield
    finally:
        for subscription in answering:
            await bus.stop_serving(subscription)
        await bus.flush()
