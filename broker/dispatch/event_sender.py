"""Sends events to component versions, and sends an event again when that is safe.

An event is sent again in three cases, always within its deadline:

- **It found no pod.** No handler has seen it. An idle version is woken, and for a pod that
  restarts the event waits up to the hold (``FOX_HOLD_S``): see ``broker.dispatch.activation``. In a
  cluster it waits as well for an adapter: all processes of one may be on their way from one server
  to another, and a server that was just started does not know yet who is connected to the others.
- **Its pod died before it answered.** The handler may have done its work, so the event is sent once
  more only if it is idempotent, if no handler has begun to read its body, and if the target's retry
  budget allows it. The response must not have begun. ``Event.attempt`` is one higher then.
- **A connection to NATS was lost**, that of this process or that of the pod. An event that was not
  sent waits up to the hold for the next connection. One that was in flight may have been handled.
  If it is idempotent, it is sent again, each time this happens, and needs no budget: the fault is
  not the target's. Any other is sent again only if it is certain that no handler has begun and none
  will: see ``broker.dispatch.recovery``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from broker.dispatch.activation import wake
from broker.dispatch.recovery import Recovery
from broker.dispatch.retry_budget import RetryBudget
from broker.nats.bus import Bus
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
LEAST_CLUSTER_HOLD_S = 10.0
"""In a cluster: all pods of a version may be cut off at once, until they leave a server that hangs
(6 s) and have connected to another one (2 s for each attempt)."""
MAX_EDGES = 4_096
_PAUSE_S = 0.02
_MAX_PAUSE_S = 0.25
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
    def is_recoverable(self) -> bool:
        """Whether its pods remember it, so that it can be found out whether it was handled."""
        event = self.event
        return (
            self.body is None
            and event.delivery is None
            and subjects.is_component(self.target)
            and not is_idempotent(event.method)
        )

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent once more when its pod died before it answered."""
        if self.body is not None and (self.body.is_opened or not self.body.is_open):
            return False
        if self.idempotent is None:
            return subjects.is_component(self.target) and is_idempotent(self.event.method)
        return self.idempotent


class _Hold:
    """How long an event waits for a pod that restarts, or for a connection."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self.begin()

    def begin(self) -> None:
        """Wait from now on."""
        self.end_s = time.monotonic() + self._hold_s
        self.pause_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the event has waited, for long enough."""
        return bool(self.pause_s) and time.monotonic() >= self.end_s

    def note_wait(self) -> bool:
        """Note that the event has waited, and return whether that was the first time."""
        is_first = not self.pause_s
        self.pause_s = _PAUSE_S
        return is_first

    def note_longer_wait(self) -> bool:
        """Do the same for an adapter, and make the next pause longer."""
        longer_s = min(2 * self.pause_s, _MAX_PAUSE_S)
        is_first = self.note_wait()
        self.pause_s = max(self.pause_s, longer_s)
        return is_first


class EventSender:
    """Sends the events of one process.

    Args:
        bus: Connection to use.
        sender: The source of all its events, which their subjects name.
        hold_s: How long an event waits for a pod that restarts.
        follow: Called with each target before the first event to it; see ``Bus.follow_pods``.
        recovery: Finds out what became of events that may not be handled twice; without it, they
            fail with their connection.

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
        recovery: Recovery | None = None,
    ) -> None:
        self.retries = 0
        self.holds = 0
        self._bus = bus
        self._sender = sender
        least_s = LEAST_CLUSTER_HOLD_S if hold_s > 0 and bus.is_clustered else 0.0
        self._hold_s = max(hold_s, least_s)
        self._follow = follow
        self._recovery = recovery
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
        end_s, hold = now_s() + timeout_s, _Hold(self._hold_s)
        while True:
            left_s = end_s - now_s()
            try:
                return await self._bus.request(subject, frame, min(left_s, STATE_STORE_ANSWER_S))
            except DeadlineExceeded:
                if left_s <= STATE_STORE_ANSWER_S:
                    raise
                self.retries += 1
            except (NotSent, ConnectionLost):
                hold.begin()
                left_s = end_s - now_s() - _PAUSE_S
                if left_s <= 0 or not await self._bus.wait_ready(min(self._hold_s, left_s)):
                    raise
                await asyncio.sleep(_PAUSE_S)
                self.retries += 1
            except NoPodReady:
                if not hold.pause_s:
                    hold.begin()
                if not self._bus.is_clustered or hold.is_over:
                    raise
                self.holds += hold.note_longer_wait()
                if end_s - now_s() <= hold.pause_s:
                    raise
                await asyncio.sleep(hold.pause_s)

    def _new_edge(self, target: str) -> _Edge:
        if len(self._edges) >= MAX_EDGES:
            self._edges.clear()
        subject = subjects.request_to(target, self._sender)
        edge = self._edges[target] = _Edge(subject, RetryBudget(time.monotonic()))
        return edge

    async def _send_again(self, outgoing: Outgoing, failure: FoxError, edge: _Edge) -> bytes:
        """Send an event after its first failure, as often as that is safe."""
        hold, is_retried = _Hold(self._hold_s), False
        while True:
            try:
                match failure:
                    case ConnectionLost():
                        hold.begin()
                        if not outgoing.is_repeatable:
                            return await self._recover(outgoing, failure, edge.subject)
                        self.retries += 1
                        outgoing = outgoing.next_attempt()
                    case ComponentGone():
                        self._check_retry(outgoing, failure, None if is_retried else edge.budget)
                        is_retried = True
                        outgoing = outgoing.next_attempt()
                    case NotSent():
                        await self._wait_connection(outgoing, failure, hold)
                    case _:
                        await self._wait_pod(outgoing, failure, hold)
                return await self._attempt(outgoing, edge.subject)
            except _AGAIN as error:
                if error is failure:
                    raise
                failure = error

    async def _recover(self, outgoing: Outgoing, lost: ConnectionLost, subject: str) -> bytes:
        if self._recovery is None or not (lost.reply and outgoing.is_recoverable):
            raise lost
        return await self._recovery.recover(outgoing.target, subject, outgoing.event, lost)

    def _check_retry(self, outgoing: Outgoing, gone: FoxError, budget: RetryBudget | None) -> None:
        """Raise ``gone`` unless the event may be sent once more; without a budget it may not."""
        if budget is None or not (outgoing.is_repeatable and budget.try_spend(time.monotonic())):
            raise gone
        self.retries += 1

    async def _wait_connection(self, outgoing: Outgoing, failure: FoxError, hold: _Hold) -> None:
        """Wait for a connection within the hold and the event's deadline."""
        left_s = min(hold.end_s - time.monotonic(), outgoing.event.remaining_s(clock.now_s()))
        if left_s <= 0 or not await self._bus.wait_ready(left_s):
            raise failure
        self.holds += hold.note_wait()

    async def _wait_pod(self, outgoing: Outgoing, failure: FoxError, hold: _Hold) -> None:
        """Wait for a pod within the hold."""
        # NATS may notice the end of a pod earlier than the reconciler: ask it again.
        if hold.is_over:
            raise failure
        await asyncio.sleep(hold.pause_s)
        try:
            is_awake = await self._wake(outgoing, hold.end_s)
        except (NotSent, ConnectionLost) as error:
            # The event itself was not sent.
            raise NotSent("the connection to NATS is down") from error
        if not is_awake:
            raise failure
        is_component = subjects.is_component(outgoing.target)
        self.holds += hold.note_wait() if is_component else hold.note_longer_wait()

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

    def __init__(self, bus: Bus, hold_s: float) -> None:
        self._bus = bus
        self._hold_s = hold_s
        self._by_source: dict[str, EventSender] = {}

    def of(self, source: str) -> EventSender:
        """Return the sender of the events of a source, ``adapter/<kind>``."""
        sender = self._by_source.get(source)
        if sender is None:
            named = Sender(PLATFORM_APP, source)
            recovery = Recovery(self._bus, named)
            sender = EventSender(self._bus, named, self._hold_s, recovery=recovery)
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
