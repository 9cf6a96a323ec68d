"""Sends events to component versions, and sends an event again when that is safe.

An event is sent again in three cases, always within its deadline:

- **It found no pod.** No handler has seen it. An idle version is woken, and for a pod that
  restarts the event waits up to the hold (``FOX_HOLD_S``): see ``broker.dispatch.activation``.
- **Its pod died before it answered.** The handler may have done its work, so the event is sent once
  more only if it is idempotent, if no handler has begun to read its body, and if the target's retry
  budget allows it. The response must not have begun. ``Event.attempt`` is one higher then.
- **A connection to NATS was lost.** An event that was not sent waits up to the hold for the next
  connection. One that was in flight may have been handled, so the rules for a pod that died apply.
  It needs no budget: the fault is not the target's, and each event is sent once more at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from broker.dispatch.activation import wake
from broker.dispatch.retry_budget import RetryBudget
from broker.nats.lost_connection import ConnectionLost, NotSent
from broker.nats.requester import BodyRequester
from broker.runtime.platform_clock import clock
from broker.streams.outgoing import OutgoingStream
from broker.telemetry.metrics import Metrics
from kubefox import codec, subjects
from kubefox.deployment import HasComponents
from kubefox.errors import ComponentGone, DeadlineExceeded, FoxError, NoPodReady
from kubefox.event import Event
from kubefox.http import is_idempotent
from kubefox.senders import PLATFORM_APP, Sender
from kubefox.state_store import STATE_STORE

HOLD_S = 5.0
MAX_EDGES = 4_096
_PAUSE_S = 0.02
STATE_STORE_ANSWER_S = 1.0
"""Time for one answer of the state store, a thousand times the usual one.

NATS chooses the process each time, so several attempts in a row may go to one that hangs.
"""
_STATE_STORE = subjects.adapter(STATE_STORE)
_REPEATABLE_IN_STORE = ("GET", "HEAD", "PUT")
_AGAIN = (NoPodReady, ComponentGone, NotSent, ConnectionLost)


class _Edge(NamedTuple):
    """All events of one sender to one target."""

    subject: str
    budget: RetryBudget


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is being sent.

    Attributes:
        target: Subject of the component version or adapter.
        event: The event; its deadline bounds all attempts.
        frame: The event, encoded.
        deployment: Of the event, where it is known; see ``WakeRequest.hashes``.
        body: Sends the event's body, if it is a stream.
        idempotent: Whether it may be handled twice; None decides by its method.
    """

    target: str
    event: Event
    frame: bytes
    deployment: HasComponents | None = None
    body: OutgoingStream | None = None
    idempotent: bool | None = None

    def next_attempt(self) -> Outgoing:
        """Return the event as it is sent once more."""
        _, body = codec.decode_event(self.frame)
        event = msgspec.structs.replace(self.event, attempt=self.event.attempt + 1)
        return msgspec.structs.replace(self, event=event, frame=codec.encode(event, body))

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent once more when its pod died before it answered."""
        if self.body is not None and (self.body.is_opened or not self.body.is_open):
            return False
        if self.idempotent is None:
            return subjects.is_component(self.target) and is_idempotent(self.event.method)
        return self.idempotent


class EventSender:
    """Sends the events of one process.

    Args:
        bus: Connection to use.
        sender: The source of all its events, which their subjects name.
        hold_s: How long an event waits for a pod that restarts.
        follow: Called with each target before the first event to it; see ``Bus.follow_pods``.

    Attributes:
        retries: Events that were sent once more because their pod or a connection was lost.
        holds: Events that found no pod or connection, and were sent when there was one.
    """

    def __init__(
        self,
        bus: BodyRequester,
        sender: Sender,
        hold_s: float = HOLD_S,
        follow: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.retries = 0
        self.holds = 0
        self._bus = bus
        self._sender = sender
        self._hold_s = hold_s
        self._follow = follow
        self._edges: dict[str, _Edge] = {}

    async def request(
        self,
        target: str,
        event: Event,
        frame: bytes,
        timeout_s: float,
        *,
        deployment: HasComponents | None = None,
        body: OutgoingStream | None = None,
        idempotent: bool | None = None,
    ) -> bytes:
        """Send an event and return the reply's frame.

        Args:
            target: See ``Outgoing``.
            event: See ``Outgoing``.
            frame: See ``Outgoing``.
            timeout_s: Time for the reply of the first attempt.
            deployment: See ``Outgoing``.
            body: See ``Outgoing``.
            idempotent: See ``Outgoing``.

        Raises:
            NoPodReady: The version has no pod, and none was ready within the hold.
            ComponentGone: The pod died with the event, which was not sent again.
            NatsUnavailable: There was no connection within the hold, or it was lost with the event,
                which was not sent again.
            FoxError: Any other failure of ``wake`` or ``Bus.request``.
        """
        edge = self._edges.get(target)
        if edge is None:
            if self._follow is not None:
                await self._follow(target)
            edge = self._new_edge(target)
        edge.budget.requests += 1
        if target == _STATE_STORE and event.method in _REPEATABLE_IN_STORE and body is None:
            return await self._use_store(edge.subject, frame, timeout_s)
        try:
            return await self._bus.request(edge.subject, frame, timeout_s, body)
        except _AGAIN as error:
            failure: FoxError = error
        outgoing = Outgoing(
            target=target,
            event=event,
            frame=frame,
            deployment=deployment,
            body=body,
            idempotent=idempotent,
        )
        return await self._send_again(outgoing, failure, edge)

    async def _use_store(self, subject: str, frame: bytes, timeout_s: float) -> bytes:
        """Ask the state store, again if the process that has the request does not answer.

        The store does a write once that has the id of an earlier one.
        """
        now_s = asyncio.get_running_loop().time
        end_s = now_s() + timeout_s
        while (left_s := end_s - now_s()) > STATE_STORE_ANSWER_S:
            with contextlib.suppress(DeadlineExceeded, NotSent, ConnectionLost):
                return await self._bus.request(subject, frame, STATE_STORE_ANSWER_S)
            if not await self._bus.wait_ready(self._hold_s):
                break
        return await self._bus.request(subject, frame, left_s)

    def _new_edge(self, target: str) -> _Edge:
        if len(self._edges) >= MAX_EDGES:
            self._edges.clear()
        subject = subjects.request_to(target, self._sender)
        edge = self._edges[target] = _Edge(subject, RetryBudget(time.monotonic()))
        return edge

    async def _send_again(self, outgoing: Outgoing, failure: FoxError, edge: _Edge) -> bytes:
        """Send an event after its first failure, as often as it was not seen; else once more."""
        hold_end_s = time.monotonic() + self._hold_s
        is_retried = False
        pause_s = 0.0
        while True:
            if isinstance(failure, ComponentGone | ConnectionLost):
                budget = edge.budget if isinstance(failure, ComponentGone) else None
                if is_retried or not self._may_retry(outgoing, budget):
                    raise failure
                is_retried = True
                outgoing = outgoing.next_attempt()
            elif isinstance(failure, NotSent):
                if not await self._reconnects(outgoing, hold_end_s):
                    raise failure
                self.holds += not pause_s
                pause_s = _PAUSE_S
            else:
                # NATS may notice the end of a pod earlier than the reconciler: ask it again.
                if pause_s and time.monotonic() >= hold_end_s:
                    raise failure
                await asyncio.sleep(pause_s)
                try:
                    is_awake = await self._wake(outgoing, hold_end_s)
                except (NotSent, ConnectionLost):
                    # The event itself was not sent.
                    failure = NotSent("the connection to NATS is down")
                    continue
                if not is_awake:
                    raise failure
                self.holds += not pause_s
                pause_s = _PAUSE_S
            try:
                return await self._attempt(outgoing, edge.subject)
            except _AGAIN as error:
                failure = error

    def _may_retry(self, outgoing: Outgoing, budget: RetryBudget | None) -> bool:
        may = outgoing.is_repeatable and (budget is None or budget.try_spend(time.monotonic()))
        self.retries += may
        return may

    async def _reconnects(self, outgoing: Outgoing, hold_end_s: float) -> bool:
        """Return whether the process has a connection within the hold and the event's deadline."""
        left_s = min(hold_end_s - time.monotonic(), outgoing.event.remaining_s(clock.now_s()))
        return left_s > 0 and await self._bus.wait_ready(left_s)

    async def _wake(self, outgoing: Outgoing, hold_end_s: float) -> bool:
        deployment = outgoing.deployment
        hashes = frozenset(deployment.components.values()) if deployment else frozenset[str]()
        return await wake(
            self._bus,
            outgoing.target,
            outgoing.event,
            hashes,
            sender=self._sender,
            hold_end_s=hold_end_s,
        )

    async def _attempt(self, outgoing: Outgoing, subject: str) -> bytes:
        remaining_s = outgoing.event.remaining_s(clock.now_s())
        return await self._bus.request(subject, outgoing.frame, remaining_s, outgoing.body)


class EventSenders:
    """The senders of a process that sends events of several sources, such as adapters.

    Args:
        bus: Connection to use.
        hold_s: See ``EventSender``.
    """

    def __init__(self, bus: BodyRequester, hold_s: float) -> None:
        self._bus = bus
        self._hold_s = hold_s
        self._by_source: dict[str, EventSender] = {}

    def of(self, source: str) -> EventSender:
        """Return the sender of the events of a source, ``adapter/<kind>``."""
        sender = self._by_source.get(source)
        if sender is None:
            sender = EventSender(self._bus, Sender(PLATFORM_APP, source), self._hold_s)
            self._by_source[source] = sender
        return sender

    @property
    def retries(self) -> int:
        """Events that were sent once more because their pod died."""
        return sum(sender.retries for sender in self._by_source.values())

    @property
    def holds(self) -> int:
        """Events that found no pod, and were sent when there was one."""
        return sum(sender.holds for sender in self._by_source.values())


def watch_retries(metrics: Metrics, sender: EventSender | EventSenders) -> None:
    """Show the retries and holds of a process in its metrics."""
    metrics.watch_counter("retries", lambda: sender.retries)
    metrics.watch_counter("holds", lambda: sender.holds)
