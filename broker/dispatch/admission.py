"""Which event of a receiver runs, which one waits, and which one is refused.

Events are told apart by their *lane*: the deployment and virtual environment that they belong to. A
lane has places and queues of its own. The lane that has used the event loop least is served first,
so a flood of one lane does not delay another one, however long its handlers hold the loop. This is
start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996) with the cost measured afterwards.

Within a lane, events that have begun go on before others begin: a lane whose handlers hold the loop
works at few events at once, and a lane whose handlers wait works at many. These classes do no I/O
and read no clock.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from broker.dispatch.estimates import Estimate, StartInterval
from broker.runtime.fair_share import FairShare
from kubefox.refusal import Refusal

Item = TypeVar("Item")

TURN_COST_S = 0.000_05
"""Time of the loop that a turn costs beside the handler: reading, a task, the answer."""
_SLICE_DECAY = 0.9
"""Share of a lane's longest slice that still counts after each further one."""


class _Lane(Generic[Item]):
    """The waiting events of a lane, and what is known of it."""

    __slots__ = (
        "begun",
        "begun_order",
        "count",
        "interval",
        "is_idle",
        "is_listed",
        "name",
        "services",
        "slice_s",
        "starting",
        "used_s",
    )

    def __init__(self, name: str, used_s: float) -> None:
        self.name = name
        self.used_s = used_s
        # With whether its handler is still to begin.
        self.begun: dict[str, tuple[Item, bool]] = {}
        # Whether it is still to begin, deadline, a number that makes it unique, and key; some may
        # be discarded already.
        self.begun_order: list[tuple[bool, int, int, str]] = []
        # By depth.
        self.starting: dict[int, OrderedDict[str, Item]] = {}
        self.count = 0
        self.is_listed = False
        self.is_idle = False
        self.interval = StartInterval()
        # By handler: the slow ones of a lane say nothing about its fast ones.
        self.services: dict[int, Estimate] = {}
        self.slice_s = 0.0

    def ahead(self, depth: int) -> int:
        """Return how many events begin before a further one of this depth."""
        own = sum(len(queue) for other, queue in self.starting.items() if other >= depth)
        return own + len(self.begun)

    def add_begun(self, key: str, entry: tuple[Item, bool], deadline_ms: int, number: int) -> None:
        """Add an event that has a place."""
        self.begun[key] = entry
        heapq.heappush(self.begun_order, (entry[1], deadline_ms, number, key))

    def add_starting(self, key: str, item: Item, depth: int) -> None:
        """Add an event without a place."""
        queue = self.starting.get(depth)
        if queue is None:
            queue = self.starting[depth] = OrderedDict()
        queue[key] = item

    def pop_begun(self) -> tuple[Item, bool]:
        """Remove the event with a place whose deadline is the earliest."""
        while True:
            key = heapq.heappop(self.begun_order)[3]
            if key in self.begun:
                return self.begun.pop(key)

    def pop_starting(self, depth: int) -> Item:
        """Remove the first event of a depth."""
        queue = self.starting[depth]
        _, item = queue.popitem(last=False)
        if not queue:
            del self.starting[depth]
        return item

    def discard(self, key: str, depth: int) -> bool:
        """Remove an event, and return whether it waited."""
        if self.begun.pop(key, None) is not None:
            return True
        queue = self.starting.get(depth)
        if queue is None or queue.pop(key, None) is None:
            return False
        if not queue:
            del self.starting[depth]
        return True


class WaitingEvents(Generic[Item]):
    """The queues of the lanes.

    An event has a *depth*: 0 if it came from outside, and one more than its sender's if a
    component sent it (``Event.depth``). Each depth has places of its own, so an event waits only
    for events of its depth, and these wait only for deeper ones: a circle of calls cannot block.

    Args:
        places: Taken by the events that are started, by their depth.
        max_waiting: Most events that wait to begin; a lane gets its share of it.

    Attributes:
        count: Number of events that wait.
        lanes: Number of lanes with events that wait.
    """

    def __init__(self, places: Sequence[FairShare], max_waiting: int) -> None:
        self._places = places
        self._max_waiting = max_waiting
        self._lanes: dict[str, _Lane[Item]] = {}
        # Heaps of used time of the loop, a number, and a lane, which may have used more by now:
        # lanes that are served, and lanes without waiting events that have used more than others.
        self._order: list[tuple[float, int, str]] = []
        self._idle: list[tuple[float, int, str]] = []
        # Lanes without a free place for any of their events.
        self._parked: dict[str, None] = {}
        # Of the lane that was served last; a new lane begins with it.
        self._used_s = 0.0
        self._last_number = 0
        self._interval = StartInterval()
        self.count = 0
        self.lanes = 0

    def wait_s(self, lane: str, depth: int = 0) -> float:
        """Return how long a further event of a lane would wait, estimated from the last starts."""
        found = self._lanes.get(lane)
        if found is None or not found.count:
            return min(self.count + 1, self.lanes + 1) * self._interval.seconds
        own = found.ahead(depth) + 1
        if found.interval.seconds:
            return own * found.interval.seconds
        return min(self.count + 1, own * self.lanes) * self._interval.seconds

    def last(self, lane: str) -> tuple[Item, float] | None:
        """Return the event of a lane that begins last, and how long it still waits, estimated.

        None if no event of the lane is to begin, or too few have begun for an estimate.
        """
        found = self._lanes.get(lane)
        if found is None or not found.starting or not found.interval.seconds:
            return None
        depth = min(found.starting)
        item = next(reversed(found.starting[depth].values()))
        return item, found.ahead(depth) * found.interval.seconds

    def service_s(self, lane: str, handler: int) -> float:
        """Return how long a handler is at work for an event, estimated from the lane's last ones.

        Args:
            lane: Of the event.
            handler: Number of the handler; see ``Event``.
        """
        found = self._lanes.get(lane)
        service = None if found is None else found.services.get(handler)
        return 0.0 if service is None else service.seconds

    def add(
        self, lane: str, key: str, item: Item, *, limit_s: float, depth: int = 0
    ) -> Refusal | None:
        """Queue an event that has no place, or return the reason of its refusal.

        Args:
            lane: Of the event.
            key: Unique key of the event.
            item: The event.
            limit_s: How long it may wait.
            depth: Of the event.
        """
        found = self._lanes.get(lane)
        share = self._max_waiting // (self.lanes + (found is None or not found.count))
        if found is not None and found.ahead(depth) >= max(share, 1):
            return Refusal.QUEUE_FULL
        if limit_s <= 0 or self.wait_s(lane, depth) > limit_s:
            return Refusal.TOO_LATE
        self._count_in(lane).add_starting(key, item, depth)
        return None

    def add_begun(
        self, lane: str, key: str, item: Item, deadline_ms: int, limit_s: float = math.inf
    ) -> Refusal | None:
        """Queue an event that has its place, or return the reason of its refusal.

        Args:
            lane: Of the event.
            key: Unique key of the event.
            item: The event.
            deadline_ms: The event with the earliest deadline goes on first.
            limit_s: How long it may wait.
        """
        found = self._lanes.get(lane)
        wait_s = 0.0 if found is None else (len(found.begun) + 1) * found.interval.seconds
        if limit_s <= 0 or wait_s > limit_s:
            return Refusal.TOO_LATE
        entry = item, limit_s < math.inf
        self._count_in(lane).add_begun(key, entry, deadline_ms, self._next_number())
        return None

    def discard(self, lane: str, key: str, depth: int = 0) -> bool:
        """Remove an event; return whether it waited."""
        found = self._lanes.get(lane)
        if found is None or not found.discard(key, depth):
            return False
        self._count_out(found)
        if not found.count and lane in self._parked:
            del self._parked[lane]
            self._keep_idle(found)
        return True

    def take_turns(self, now_s: float, turn_s: float) -> list[Item]:
        """Take the events that go on now; each has its place then.

        They are expected to hold the loop for ``turn_s`` at most, or there is only one. There is
        none if no event waits or finds a place.

        Args:
            now_s: The time of any clock, the same for all calls.
            turn_s: Time of the loop.
        """
        items: list[Item] = []
        left_s = turn_s
        while (lane := self._next_lane()) is not None:
            left_s -= TURN_COST_S + lane.slice_s
            if items and left_s < 0:
                break
            item = self._take_of(lane, now_s)
            if item is not None:
                self._used_s = lane.used_s
                lane.used_s += TURN_COST_S
                items.append(item)
            else:
                left_s += TURN_COST_S + lane.slice_s
                heapq.heappop(self._order)
                lane.is_listed = False
                self._parked[lane.name] = None
        if not items:
            # Later starts are late because of their places, not because of the loop.
            self._interval.interrupt()
        self._forget_idle()
        return items

    def _next_lane(self) -> _Lane[Item] | None:
        """Return the lane with waiting events that has used the loop least."""
        order = self._order
        while order:
            used_s, _, name = order[0]
            lane = self._lanes[name]
            if not lane.count:
                heapq.heappop(order)
                lane.is_listed = False
                self._keep_idle(lane)
            elif lane.used_s > used_s:
                heapq.heapreplace(order, (lane.used_s, self._next_number(), name))
            else:
                return lane
        return None

    def _keep_idle(self, lane: _Lane[Item]) -> None:
        if not lane.is_idle:
            lane.is_idle = True
            heapq.heappush(self._idle, (lane.used_s, self._next_number(), lane.name))

    def _forget_idle(self) -> None:
        """Forget the lanes without waiting events that the others have caught up with."""
        idle = self._idle
        while idle and (idle[0][0] <= self._used_s or not self.count):
            name = heapq.heappop(idle)[2]
            lane = self._lanes[name]
            lane.is_idle = False
            if lane.is_listed or lane.count:
                continue
            if lane.used_s <= self._used_s or not self.count:
                del self._lanes[name]
            else:
                self._keep_idle(lane)

    def _take_of(self, lane: _Lane[Item], now_s: float) -> Item | None:
        if lane.begun:
            item, is_start = lane.pop_begun()
            self._count_out(lane)
            if is_start:
                self._measure_start(lane, now_s)
            return item
        for depth in sorted(lane.starting, reverse=True):
            if self._places[depth].try_take(lane.name):
                self._count_out(lane)
                self._measure_start(lane, now_s)
                return lane.pop_starting(depth)
        return None

    def charge(self, lane: str, used_s: float) -> None:
        """Take into account how long a lane has held the loop."""
        found = self._lanes.get(lane)
        if found is None:
            found = self._lanes[lane] = _Lane(lane, self._used_s)
            self._keep_idle(found)
        found.used_s += used_s
        # A long slice is remembered for some time.
        found.slice_s = max(used_s, _SLICE_DECAY * found.slice_s)

    def on_release(self, lane: str) -> None:
        """Take into account that a place of a lane is free: two lanes may have an event for it."""
        self._unpark(lane)
        self._unpark(next(iter(self._parked), lane))

    def measure_service(self, lane: str, handler: int, service_s: float) -> None:
        """Take into account how long a handler was at work for an event of a lane."""
        found = self._lanes.get(lane)
        if found is not None:
            found.services.setdefault(handler, Estimate()).add(service_s)

    def _unpark(self, name: str) -> None:
        if name in self._parked:
            del self._parked[name]
            self._make_listed(self._lanes[name])

    def _make_listed(self, lane: _Lane[Item]) -> None:
        if not lane.is_listed:
            lane.is_listed = True
            # It has not saved up time while it had no events to serve.
            lane.used_s = max(lane.used_s, self._used_s)
            heapq.heappush(self._order, (lane.used_s, self._next_number(), lane.name))

    def _count_in(self, name: str) -> _Lane[Item]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name, self._used_s)
        self._parked.pop(name, None)
        self._make_listed(lane)
        self.lanes += not lane.count
        lane.count += 1
        self.count += 1
        return lane

    def _count_out(self, lane: _Lane[Item]) -> None:
        lane.count -= 1
        self.count -= 1
        self.lanes -= not lane.count

    def _measure_start(self, lane: _Lane[Item], now_s: float) -> None:
        lane.interval.measure(now_s, is_next_waiting=lane.count > 0)
        self._interval.measure(now_s, is_next_waiting=self.count > 0)

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number
