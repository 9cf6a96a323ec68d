"""Lanes: what all events to one target have in common, made once and kept at the target."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from model.context import EventContext
from model.deployment import Deployment

if TYPE_CHECKING:
    # A pod has no use for routing, nor for what an adapter measures.
    from broker.telemetry.metrics import Words
    from broker.telemetry.scope import Scope
    from routing.bindings import Target

MAX_IDLE_CONTEXTS = 10_000
# A change of data makes new targets and lanes; what the old ones were used for is still asked.
MAX_KEPT_LANES = 4_096
TICK_NS = 50_000_000


class Traffic:
    """Whether there are events of a context, and which component versions they may need.

    Args:
        deployment: Of the context.

    Attributes:
        in_flight: Events that wait for their answer.
        used_ns: When the latest began (Unix), or 0; a tick of ``Lanes``.
    """

    __slots__ = ("__weakref__", "_deployment", "in_flight", "used_ns")

    def __init__(self, deployment: Deployment) -> None:
        """Begin without an event."""
        self._deployment = deployment
        self.in_flight = 0
        self.used_ns = 0

    @property
    def hashes(self) -> frozenset[str]:
        """Full hashes of the component versions."""
        return frozenset(self._deployment.components.values())

    def leave(self) -> None:
        """Count one less."""
        self.in_flight -= 1


class Lane(Traffic):
    """Where those events of an adapter go that one route of one context accepts.

    A context is one of perhaps thousands, and what belongs to it lies together here: whatever an
    event has to look up elsewhere is what the processor's caches have forgotten. The target keeps
    the lane, and the lane no target: the two would have to wait for the garbage collector.

    Args:
        target: Where to.
        token: The context, sealed.

    Attributes:
        token: As it was given.
        subject: Of the target, as the three that follow.
        route: See there.
        component: See there.
        context: See there.
        scope: Whom its events are measured for, once one is.
        words: Of the scope, where they are counted; empty before.
        notes: What the adapter keeps here for itself, or empty.
    """

    __slots__ = ("component", "context", "notes", "route", "scope", "subject", "token", "words")

    def __init__(self, target: Target, token: str) -> None:
        """Begin without an event."""
        super().__init__(target.deployment)
        self.token = token
        self.subject, self.route = target.subject, target.route
        self.component, self.context = target.component, target.context
        self.scope: Scope | None = None
        self.words: Words = []
        self.notes = ""


class Lanes:
    """The lanes of one broker, and who may need which component versions.

    Args:
        seal: Makes the token of a context.

    Attributes:
        tick_ns: Now (Unix), up to ``TICK_NS`` ago: one number for all that is used meanwhile. A
            number for each would be one more that the processor has to fetch for every event.
    """

    def __init__(self, seal: Callable[[EventContext], str]) -> None:
        """Begin without any."""
        self._seal = seal
        self.tick_ns = 0
        # A lane lives as long as its target or an event on its way, and then for a while.
        self._traffic: weakref.WeakSet[Traffic] = weakref.WeakSet()
        self._latest: deque[Lane] = deque(maxlen=MAX_KEPT_LANES)
        self._deliveries: dict[EventContext, Traffic] = {}

    def of(self, target: Target) -> Lane:
        """Return the lane of a target; the same one every time."""
        lane: Lane | None = target.lane
        if lane is None:
            lane = target.lane = Lane(target, self._seal(target.context))
            self._traffic.add(lane)
            self._latest.append(lane)
        return lane

    def delivery(self, context: EventContext, deployment: Deployment) -> Traffic:
        """Return where stored events of a context are counted while they are delivered."""
        traffic = self._deliveries.get(context)
        if traffic is None:
            if len(self._deliveries) >= MAX_IDLE_CONTEXTS:
                busy = {key: each for key, each in self._deliveries.items() if each.in_flight}
                self._deliveries = busy
            traffic = self._deliveries[context] = Traffic(deployment)
            self._traffic.add(traffic)
        return traffic

    def note(self, traffic: Traffic, now_ns: int) -> None:
        """Note that an event begins."""
        if not 0 <= now_ns - self.tick_ns < TICK_NS:
            self.tick_ns = now_ns
        traffic.used_ns = self.tick_ns

    @property
    def in_flight(self) -> int:
        """How many events wait for their answer."""
        return sum(each.in_flight for each in self._traffic)

    def needed(self, since_ns: int) -> frozenset[str]:
        """Return the hashes that events in flight may need, or events that began since then."""
        since_ns -= TICK_NS
        busy = (each for each in self._traffic if each.in_flight or each.used_ns > since_ns)
        return frozenset().union(*(each.hashes for each in busy))
