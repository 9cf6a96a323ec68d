"""The events that a process has received and not settled: held in fair queues, or at work.

Each lane, a deployment in a virtual environment, has a queue and places of its own; the queues are
served in turn. So the events of one lane wait for its own only, and for the places of those at
work. An event that its lane has no room for is not held: JetStream delivers it again later. Pure:
no I/O, no clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from broker.runtime.fair_share import FairShare

Item = TypeVar("Item")

_MOST_LANES = 64


class FairQueue(Generic[Item]):
    """The queues of the lanes.

    Args:
        max_started: Events of one lane that are at work at once.
        max_held: Events of one lane that wait here.
        max_bytes: Size of the events of one lane that wait or are at work.

    Attributes:
        started: Events at work.
        held: Events that wait.
        bytes: Size of both.
    """

    def __init__(self, max_started: int, max_held: int, max_bytes: int) -> None:
        self.started = FairShare(max_started)
        self.held = FairShare(max_held)
        self.bytes = FairShare(max_bytes)
        # In the order of their turns.
        self._lanes: OrderedDict[str, deque[Item]] = OrderedDict()

    def __iter__(self) -> Iterator[Item]:
        for queue in self._lanes.values():
            yield from queue

    @property
    def room(self) -> int:
        """Number of events that may still be held, whatever their lanes."""
        return 2 * self.held.limit - self.held.taken

    @property
    def room_bytes(self) -> int:
        """Size of the events that may still be held, whatever their lanes."""
        return 2 * self.bytes.limit - self.bytes.taken

    def add(self, lane: str, item: Item, size_bytes: int) -> bool:
        """Hold an event, and return whether its lane had room for it."""
        if not self.held.has_room(lane) or not self.bytes.try_take(lane, size_bytes):
            return False
        self.held.try_take(lane)
        self._lanes.setdefault(lane, deque()).append(item)
        return True

    def start_next(self) -> Item | None:
        """Take the next event and its place; None if none waits whose lane has a free place."""
        for _ in range(min(len(self._lanes), _MOST_LANES)):
            lane = next(iter(self._lanes))
            self._lanes.move_to_end(lane)
            if self.started.try_take(lane):
                return self._pop(lane)
        return None

    def end(self, lane: str, size_bytes: int) -> None:
        """Give back what an event at work has taken."""
        self.started.release(lane)
        self.bytes.release(lane, size_bytes)

    def take_all(self) -> list[Item]:
        """Remove and return all events that wait."""
        items = list(self)
        for lane, queue in self._lanes.items():
            self.held.release(lane, len(queue))
        self._lanes.clear()
        return items

    def _pop(self, lane: str) -> Item:
        queue = self._lanes[lane]
        item = queue.popleft()
        self.held.release(lane)
        if not queue:
            del self._lanes[lane]
        return item
