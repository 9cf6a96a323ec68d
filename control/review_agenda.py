"""The agenda of the activator: which pending releases and rollouts are to be reviewed, and when.

A release or rollout is reviewed when a record that it uses, a pod that it waits for, or time lets
it go on. So the cost of a change does not depend on how many releases exist, or are pending. One
that is held up by more than its pods may be freed by any record: it is reviewed at each change.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from kubefox.distill import Version
from kubefox.records import kind_of
from routing.snapshot.usage import version_named
from routing.snapshot.usage_index import UsageIndex

_SPARE_DEADLINES = 64


class ReviewKind(Enum):
    """The kind of a reviewed object."""

    RELEASE = "release"
    ROLLOUT = "rollout"


class Review(NamedTuple):
    """One review.

    Attributes:
        kind: Kind of the reviewed object.
        name: Name of the virtual environment, or of the deployment that is rolling out.
    """

    kind: ReviewKind
    name: str


class Agenda:
    """The reviews that are due, and the deadlines of all others."""

    def __init__(self) -> None:
        self._due: dict[Review, None] = {}
        self._held_up: set[Review] = set()
        self._deadlines_s: dict[Review, float] = {}
        self._heap: list[tuple[float, str, Review]] = []

    def note_data(self, keys: Collection[str] | None, usage: UsageIndex) -> None:
        """Note the reviews that changed records make due.

        Args:
            keys: KV keys of the changed records; None if any record may have changed.
            usage: Of the current snapshot.
        """
        if keys is None:
            self._add(_releases(usage.pending))
            self._add(_rollouts(state.deployment for state in usage.snapshot.rolling))
            return
        for key in keys:
            self._add(_users(key, usage))
        if keys:
            self._add(tuple(self._held_up))

    def note_pods(self, versions: Iterable[Version] | None, usage: UsageIndex) -> None:
        """Note the reviews that changed pods make due.

        Args:
            versions: Versions whose pods have changed; None if any may have changed.
            usage: Of the current snapshot.
        """
        if versions is None:
            self.note_data(None, usage)
            return
        for version in versions:
            self._add(_waiting(version, usage))

    def note_time(self, now_s: float) -> None:
        """Note the reviews whose deadline has passed."""
        while self._heap and self._heap[0][0] <= now_s:
            deadline_s, _, review = heapq.heappop(self._heap)
            if self._deadlines_s.get(review) == deadline_s:
                del self._deadlines_s[review]
                self._due[review] = None

    def take(self) -> Review | None:
        """Return the next review that is due, and remove it; None without any."""
        review = next(iter(self._due), None)
        if review is not None:
            del self._due[review]
        return review

    def put_back(self, review: Review) -> None:
        """Note that a review has failed, and is still due."""
        self._due[review] = None

    def note_reviewed(
        self, review: Review, deadline_s: float | None, *, is_held_up: bool = False
    ) -> None:
        """Note the result of a review.

        Args:
            review: The review.
            deadline_s: When it is due again, Unix time; None if it has ended.
            is_held_up: Whether it waits for more than its pods.
        """
        if is_held_up and deadline_s is not None:
            self._held_up.add(review)
        else:
            self._held_up.discard(review)
        if deadline_s is None:
            self._deadlines_s.pop(review, None)
        elif self._deadlines_s.get(review) != deadline_s:
            self._deadlines_s[review] = deadline_s
            heapq.heappush(self._heap, _entry(review, deadline_s))
        self._drop_old_deadlines()

    def next_s(self) -> float | None:
        """Return the earliest deadline, Unix time; None without any."""
        return self._heap[0][0] if self._heap else None

    def _add(self, reviews: Iterable[Review]) -> None:
        self._due.update(dict.fromkeys(reviews))

    def _drop_old_deadlines(self) -> None:
        """Remove the deadlines of reviews that have ended, once they are the larger part."""
        if len(self._heap) > 2 * len(self._deadlines_s) + _SPARE_DEADLINES:
            self._heap = [_entry(*item) for item in self._deadlines_s.items()]
            heapq.heapify(self._heap)


def _entry(review: Review, deadline_s: float) -> tuple[float, str, Review]:
    # Kinds cannot be compared; the name decides between equal deadlines first.
    return deadline_s, f"{review.kind.value} {review.name}", review


def _users(key: str, usage: UsageIndex) -> Iterator[Review]:
    """Yield the reviews of all that uses a record."""
    name = key.partition(".")[2]
    match kind_of(key):
        case "release" | "virtual-environment":
            yield from _pending((name,), usage)
        case "manifest":
            yield from _pending((name.partition(".")[0],), usage)
        case "environment":
            yield from _pending(usage.members(name), usage)
        case "deployment":
            yield from _pending(usage.release_users(name), usage)
            yield from _if_rolling(name, usage)
        case "rollout":
            yield from _if_rolling(name, usage)
        case "component":
            if version := version_named(name):
                yield from _waiting(version, usage)


def _waiting(version: Version, usage: UsageIndex) -> Iterator[Review]:
    yield from _releases(usage.awaiting(version))
    yield from _rollouts(usage.rolling(version))


def _pending(names: Collection[str], usage: UsageIndex) -> Iterator[Review]:
    """Yield the reviews of those virtual environments that have a pending release."""
    few, many = sorted((names, usage.pending), key=len)
    return _releases(name for name in few if name in many)


def _if_rolling(name: str, usage: UsageIndex) -> Iterator[Review]:
    state = usage.snapshot.rollouts.get(name)
    return _rollouts((name,) if state is not None and state.rolling is not None else ())


def _releases(names: Iterable[str]) -> Iterator[Review]:
    return (Review(ReviewKind.RELEASE, name) for name in names)


def _rollouts(names: Iterable[str]) -> Iterator[Review]:
    return (Review(ReviewKind.ROLLOUT, name) for name in names)
