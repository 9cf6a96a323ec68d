"""Finds out what became of an event whose connection was lost, and that may not be handled twice.

Its pod may be at work, or may have answered; it sends its answer again if it is asked. Or the event
never reached a pod: it lay in a server that hung or died. Then it can be sent again, if that is
certain:

- All pods that may have it say that they have not, and have not answered it. The pod runner that
  leads names these pods, and the time since which it knows them.
- No pod begins it later: it is older than ``LATE_S``, so a pod that receives it now asks its sender
  before it begins. The sender says no from the moment of the decision.

If a pod that may have it has ended meanwhile, nothing can be known, and the event fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import Context
from itertools import islice
from typing import NamedTuple

from broker.nats.bus import Bus
from broker.nats.doubts import MAX_ASKED
from broker.nats.held_requests import HeldRequests
from broker.nats.lost_connection import ConnectionLost, NotSent
from broker.nats.wake_requests import WakeReply, ask_roster
from broker.runtime.platform_clock import clock
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from kubefox.event import Event
from kubefox.senders import Sender

LATE_S = 3.0
"""A pod that receives an event so long after it was sent asks its sender whether it still waits."""
SKEW_S = 1.0
"""The clocks of two processes differ by less than this; see ``broker.runtime.platform_clock``."""
_JOIN_S = 0.1
"""Events that are in doubt at the same time are asked for together."""
_PAUSE_S = 0.4
_US = 1_000_000

_UNKNOWN = (
    "a connection to NATS was lost with the request, and it is not known whether it was handled"
)


class Finding(NamedTuple):
    """The result of asking the pods of a component version once.

    Attributes:
        asked: Reply subjects of the events in question.
        held: Those of them that a pod has.
        answered: Those that a pod has answered.
        is_complete: Whether all pods have answered that may have one.
        since_us: Time of the platform in µs. Pods that may have had an event that was sent before
            have ended, or do not remember it.
    """

    asked: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    is_complete: bool = False
    since_us: int = 0

    @classmethod
    def of(
        cls, asked: frozenset[str], roster: WakeReply | None, answers: dict[str, HeldRequests]
    ) -> Finding:
        """Return what the answers of the pods say.

        Args:
            asked: See ``Finding``.
            roster: The pods that may have an event; None if it is not known.
            answers: Of the pods, by their ids.
        """
        pods = roster.pods if roster is not None else None
        known_since_us = [one.known_since_us for one in answers.values()]
        return cls(
            asked=asked,
            held=frozenset().union(*(one.held for one in answers.values())),
            answered=frozenset().union(*(one.answered for one in answers.values())),
            is_complete=pods is not None and answers.keys() >= set(pods),
            since_us=max([roster.since_us if roster is not None else 0, *known_since_us]),
        )


class Recovery:
    """Recovers the events of one sender.

    Args:
        bus: Connection to use.
        sender: The sender.

    """

    def __init__(self, bus: Bus, sender: Sender) -> None:
        self._bus = bus
        self._sender = sender
        # Reply subjects by target.
        self._in_doubt: dict[str, set[str]] = {}
        self._asking: dict[str, asyncio.Task[Finding]] = {}

    async def recover(self, target: str, subject: str, event: Event, lost: ConnectionLost) -> bytes:
        """Return the answer of an event.

        Args:
            target: The component version.
            subject: On which the event was sent.
            event: Its head; its deadline bounds the time.
            lost: How it failed.

        Raises:
            NotSent: No pod has begun the event, and none will.
            ConnectionLost: A pod had it, and was cut off again.
            NatsUnavailable: It cannot be known whether it was handled.
            ComponentGone: Its pod died.
            DeadlineExceeded: Its deadline passed.
        """
        doubts, reply = self._bus.doubts, lost.reply
        doubts.reopen(lost, subject, event.remaining_s(clock.now_s()))
        with self._noted(target, reply):
            # Of no event, as for the questions: see ``HandlerTasks``.
            clearing_up = self._clear_up(target, event, reply)
            clearing = asyncio.create_task(clearing_up, context=Context())
            try:
                return await doubts.wait(reply)
            finally:
                clearing.cancel()

    @contextlib.contextmanager
    def _noted(self, target: str, reply: str) -> Iterator[None]:
        in_doubt = self._in_doubt.setdefault(target, set())
        in_doubt.add(reply)
        try:
            yield
        finally:
            in_doubt.discard(reply)
            if not in_doubt and self._in_doubt.get(target) is in_doubt:
                del self._in_doubt[target]

    async def _clear_up(self, target: str, event: Event, reply: str) -> None:
        """Ask until it is known what became of an event; fail it if no answer will come."""
        doubts = self._bus.doubts
        await asyncio.sleep(LATE_S + SKEW_S - (clock.now_s() - event.sent_us / _US))
        while True:
            found = await self._ask(target)
            if reply in found.held:
                self._in_doubt[target].discard(reply)
                doubts.resume(reply)
                return
            if reply in found.asked and found.is_complete:
                error: NatsUnavailable = NotSent("the request was lost with a connection to NATS")
                is_past = event.sent_us < found.since_us + SKEW_S * _US
                if reply in found.answered or is_past:
                    error = NatsUnavailable(_UNKNOWN, hop=subjects.hop(target))
                if doubts.fail(reply, error):
                    return
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, target: str) -> Finding:
        """Return what the pods say; all that ask at the same time share one question."""
        asking = self._asking.get(target)
        if asking is None:
            asking = asyncio.create_task(self._ask_pods(target), context=Context())
            self._asking[target] = asking
            asking.add_done_callback(lambda _: self._asking.pop(target))
        return await asyncio.shield(asking)

    async def _ask_pods(self, target: str) -> Finding:
        await asyncio.sleep(_JOIN_S)
        roster = await ask_roster(self._bus, self._sender, target)
        # Others are asked for when these are known, or have ended.
        asked = frozenset(islice(self._in_doubt.get(target, ()), MAX_ASKED))
        pods = frozenset(roster.pods or ()) if roster is not None else frozenset[str]()
        try:
            answers = await self._bus.doubts.ask_pods(target, asked, pods)
        except NatsUnavailable:
            return Finding()
        return Finding.of(asked, roster, answers)
