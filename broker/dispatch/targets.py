"""Dispatch targets: the data that all events to one routing target share, made once.

A dispatch target also counts the events in flight, so that the platform can tell which component
versions are in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.telemetry.figures import EventLabels
from broker.telemetry.labels import TelemetryLabels
from broker.telemetry.metrics import Counters
from kubefox.context import EventContext, sealing_key_of
from kubefox.deployment import HasComponents

if TYPE_CHECKING:
    # At run time this would load ``routing`` into every pod.
    from routing.snapshot.route_binding import Target

MAX_IDLE_CONTEXTS = 10_000
MAX_USED = 4_096
TICK_NS = 50_000_000


class InFlight:
    """The number of events of one context that wait for their answer, and the time of the last.

    Args:
        deployment: Of the context.

    Attributes:
        deployment: Its components are the versions that the events may need.
        in_flight: Events that wait for their answer.
        used_ns: Unix time at which the latest event began, in ticks of ``TICK_NS``; 0 before the
            first.
    """

    __slots__ = ("deployment", "in_flight", "used_ns")

    def __init__(self, deployment: HasComponents) -> None:
        self.deployment = deployment
        self.in_flight = 0
        self.used_ns = 0


class DispatchTarget(InFlight):
    """Destination of the events that one route accepts in one context.

    There may be thousands of contexts, so all data of an event's context lies in
    this one object: each further object would be one more cache miss. The routing target refers to
    its dispatch target, never the reverse: a cycle would have to wait for the garbage collector.

    Args:
        target: Decision of routing.
        token: The context, sealed.
        epoch: Of the key that sealed it.

    Attributes:
        token: The context, sealed.
        epoch: Of the key that sealed it; see ``DispatchTargets.reseal``.
        subject: NATS subject of the component version.
        route: Id of the route in the component.
        component: Name of the component.
        context: Carried by every event.
        idempotent: ``Route.idempotent`` of the route.
        streams_body: ``Route.streams_body`` of the route.
        lane: Deployment and virtual environment, for what they share fairly with others.
        labels: Telemetry labels of the context; None before the first measured event.
        counters: Counters of the labels' series; empty before the first measured event.
    """

    __slots__ = (
        "component",
        "context",
        "counters",
        "epoch",
        "idempotent",
        "labels",
        "lane",
        "route",
        "streams_body",
        "subject",
        "token",
    )

    def __init__(self, target: Target, token: str, epoch: object) -> None:
        super().__init__(target.deployment)
        self.token, self.epoch = token, epoch
        self.subject, self.route = target.subject, target.route
        self.component, self.context = target.component, target.context
        self.idempotent, self.streams_body = target.idempotent, target.streams_body
        self.lane = self.context.deployment, self.context.virtual_environment
        self.labels: TelemetryLabels | None = None
        self.counters: Counters = []


class DispatchTargets:
    """The dispatch targets of one broker, and the component versions that are in use.

    There may be 100,000 dispatch targets. Questions about their use are answered from those that
    are busy, and from the deployments' components, which most of them share.

    Args:
        seal: Makes the token of a context.
        max_used: Sets of components whose latest use is remembered.
        max_idle_contexts: Contexts of stored events kept after their last delivery.

    Attributes:
        tick_ns: Unix time of the latest use, up to ``TICK_NS`` ago. All targets used within a tick
            share this one int object: one each would be one more cache miss for every event.
    """

    def __init__(
        self,
        seal: Callable[[EventContext], str],
        *,
        max_used: int = MAX_USED,
        max_idle_contexts: int = MAX_IDLE_CONTEXTS,
    ) -> None:
        self._seal = seal
        self._epoch = object()
        self._max_used = max_used
        self._max_idle_contexts = max_idle_contexts
        self.tick_ns = 0
        self._busy: dict[InFlight, None] = {}
        # By the id of the components' dictionary, which is kept, so no other one has its id.
        self._used: dict[int, tuple[dict[str, str], int]] = {}
        self._deliveries: dict[EventContext, InFlight] = {}

    def of(self, target: Target) -> DispatchTarget:
        """Return the dispatch target of a routing target; the same one until ``reseal``."""
        found = target.memo
        if not isinstance(found, DispatchTarget) or found.epoch is not self._epoch:
            found = target.memo = DispatchTarget(target, self._seal(target.context), self._epoch)
        return found

    def reseal(self) -> None:
        """Seal the contexts of new events again: the key has changed."""
        self._epoch = object()

    def delivery(self, context: EventContext, deployment: HasComponents) -> InFlight:
        """Return the count of a context's stored events that are being delivered."""
        deliveries = self._deliveries.get(context)
        if deliveries is None:
            if len(self._deliveries) >= self._max_idle_contexts:
                self._forget_idle_deliveries()
            deliveries = self._deliveries[context] = InFlight(deployment)
        return deliveries

    def begin(self, used: InFlight, now_ns: int) -> None:
        """Count an event that begins now."""
        tick_ns = self.tick_ns
        if not 0 <= now_ns - tick_ns < TICK_NS:
            self.tick_ns = tick_ns = now_ns
        if used.used_ns != tick_ns:
            used.used_ns = tick_ns
            self._note_use(used.deployment.components, tick_ns)
        if not used.in_flight:
            self._busy[used] = None
        used.in_flight += 1

    def end(self, used: InFlight) -> None:
        """Count an event less."""
        used.in_flight -= 1
        if not used.in_flight:
            self._busy.pop(used, None)

    @property
    def in_flight(self) -> int:
        """Number of events that wait for their answer."""
        return sum(busy.in_flight for busy in self._busy)

    def in_flight_by_labels(self) -> list[Counter[EventLabels]]:
        """Return the number of measured genesis events that wait, by the labels of their series.

        In one part: there are no more of them than events in flight.
        """
        counts: Counter[EventLabels] = Counter()
        for busy in self._busy:
            if isinstance(busy, DispatchTarget) and busy.labels is not None:
                counts[busy.labels.series.labels] += busy.in_flight
        return [counts]

    def hashes_in_use(self, since_ns: int) -> frozenset[str]:
        """Return the hashes that events in flight, or begun since then, may need."""
        since_ns -= TICK_NS
        lately = (components for components, used_ns in self._used.values() if used_ns > since_ns)
        busy = (known.deployment.components for known in self._busy)
        return frozenset(digest for used in (*lately, *busy) for digest in used.values())

    def sealing_keys_in_use(self) -> frozenset[str]:
        """Return the ids of the keys that sealed the contexts of genesis events in flight."""
        busy = (used.token for used in self._busy if isinstance(used, DispatchTarget))
        return frozenset(map(sealing_key_of, busy))

    def _note_use(self, components: dict[str, str], used_ns: int) -> None:
        self._used[id(components)] = components, used_ns
        if len(self._used) > self._max_used:
            latest = sorted(self._used.items(), key=lambda item: item[1][1])
            self._used = dict(latest[len(latest) // 2 :])

    def _forget_idle_deliveries(self) -> None:
        self._deliveries = {
            context: deliveries
            for context, deliveries in self._deliveries.items()
            if deliveries.in_flight
        }
