"""Kill pods that hang: they would receive events and never answer.

A pod sends a heartbeat while its event loop runs: often while it handles events, seldom while it is
idle. Busy and idle pods are checked apart. One timer for each of both is due when the first pod
would have been silent for too long, and the pods that are due soon are checked with it. So idle
pods cost next to nothing, and a busy one that hangs is found soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from broker.runtime.beat_file import Beat

BUSY_BEAT_S = 0.5
"""Longest time between two heartbeats of a pod that handles events."""

IDLE_BEAT_S = 5.0
"""Longest time between two heartbeats of an idle pod; each of them wakes its process."""

STOPPED_S = 1.0
"""How long a pod may be stopped by SIGSTOP."""


class WatchedPod(Protocol):
    """A pod that may send heartbeats."""

    def last_beat(self) -> Beat | None:
        """Return its last heartbeat, None if it sent none."""
        ...

    def waited_s(self) -> float:
        """Return how long its process has waited for a CPU since its start."""
        ...

    def has_replica(self) -> bool:
        """Return whether another pod serves the same component version."""
        ...

    def is_stopped(self) -> bool:
        """Return whether its process is stopped, so that it cannot run."""
        ...

    def end_hung(self, cause: str) -> None:
        """Kill the pod.

        Args:
            cause: Description of the fault: "its event loop stood still for 4 s".
        """
        ...


class LivenessBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long a pod's event loop may stand still until the pod is killed.

    Attributes:
        alone_s: While no other pod serves its version; 0 watches no pod.
        with_replica_s: While another pod serves its version; never longer than ``alone_s``.
    """

    alone_s: float = 0
    with_replica_s: float = 0

    @property
    def shortest_s(self) -> float:
        """The shorter bound."""
        return min(self.alone_s, self.with_replica_s or self.alone_s)

    def bound_s(self, *, has_replica: bool) -> float:
        """Return the bound that applies."""
        return self.shortest_s if has_replica else self.alone_s


NOT_WATCHED = LivenessBounds()


class Liveness:
    """Watches pods.

    Args:
        bounds: How long an event loop may stand still. The pod is killed at most ``busy_beat_s``
            later if it handles events, or ``idle_beat_s`` otherwise.

    Attributes:
        busy_beat_s: How often busy pods have to send a heartbeat; 0 if they need not.
        idle_beat_s: How often idle pods have to.
    """

    def __init__(self, bounds: LivenessBounds) -> None:
        self._bounds = bounds
        self.busy_beat_s = min(BUSY_BEAT_S, bounds.shortest_s / 2)
        self.idle_beat_s = min(IDLE_BEAT_S, bounds.alone_s * 2)
        # A check that is later than this was delayed by this process itself.
        late_s = bounds.shortest_s / 4
        self._busy = _Round(self._check_busy, late_s, self.busy_beat_s)
        self._idle = _Round(self._check_idle, late_s, self.busy_beat_s)
        # The heartbeat that a check has seen last, and the time that the pod had waited then.
        self._seen: dict[WatchedPod, tuple[Beat, float]] = {}

    @contextlib.contextmanager
    def watching(self, pod: WatchedPod) -> Iterator[None]:
        """Watch a pod for the length of the context; ignore one that sends no heartbeats."""
        if self._bounds.alone_s:
            self._idle.add(pod, time.monotonic() + self._bounds.alone_s + self.idle_beat_s)
        try:
            yield
        finally:
            self._busy.discard(pod)
            self._idle.discard(pod)
            self._seen.pop(pod, None)

    def on_busy(self, pod: WatchedPod) -> None:
        """Check a watched pod, which has got work, as a busy one."""
        if pod in self._idle.pods:
            self._idle.discard(pod)
            self._busy.add(pod, self._check(pod, time.monotonic()))

    def on_stopped(self, pod: WatchedPod) -> None:
        """Kill a watched pod, whose process was stopped, unless it is continued soon."""
        loop = asyncio.get_running_loop()
        loop.call_later(min(STOPPED_S, self._bounds.shortest_s), self._end_if_stopped, pod)

    def _end_if_stopped(self, pod: WatchedPod) -> None:
        if (pod in self._idle.pods or pod in self._busy.pods) and pod.is_stopped():
            pod.end_hung("it was stopped by a signal")

    def _check_busy(self, pod: WatchedPod, now_s: float) -> float:
        due_s = self._check(pod, now_s)
        beat, _ = self._seen.get(pod, (None, 0))
        if beat is not None and beat.next_s > self.busy_beat_s:
            self._busy.discard(pod)
            self._idle.add(pod, due_s)
        return due_s

    def _check_idle(self, pod: WatchedPod, now_s: float) -> float:
        return self._check(pod, now_s)

    def _check(self, pod: WatchedPod, now_s: float) -> float:
        """Return when the pod has to be checked again; kill it if it is silent for too long."""
        beat = pod.last_beat()
        if beat is None:
            return now_s + self._bounds.alone_s + self.idle_beat_s
        expected_s = beat.at_s + beat.next_s
        starved_s = self._starved_s(pod, beat)
        if now_s < (due_s := expected_s + self._bounds.shortest_s + starved_s):
            return due_s
        bound_s = self._bounds.bound_s(has_replica=pod.has_replica())
        if now_s < (due_s := expected_s + bound_s + starved_s):
            # Meanwhile a replica may become ready.
            return min(due_s, now_s + self.busy_beat_s)
        pod.end_hung(f"its event loop stood still for {now_s - beat.at_s:.1f} s")
        return now_s + bound_s

    def _starved_s(self, pod: WatchedPod, beat: Beat) -> float:
        """Return how long the pod has waited for a CPU since a check saw this heartbeat first."""
        seen, before_s = self._seen.get(pod, (None, 0.0))
        waited_s = pod.waited_s()
        if seen != beat:
            self._seen[pod] = beat, waited_s
            return 0
        return waited_s - before_s


class _Round:
    """Pods that are checked by one timer, each when it would have been silent for too long.

    Args:
        check: Checks one pod, and returns when it has to be checked again.
        late_s: A check that is later than this checks nothing: this process itself did not run, so
            the pods may have been stopped with it. They get time for a heartbeat.
        beat_s: That time. Pods that are due within it are checked together.

    Attributes:
        pods: When each pod is to be checked (``time.monotonic``).
    """

    def __init__(
        self, check: Callable[[WatchedPod, float], float], late_s: float, beat_s: float
    ) -> None:
        self.pods: dict[WatchedPod, float] = {}
        self._check = check
        self._late_s = late_s
        self._beat_s = beat_s
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def add(self, pod: WatchedPod, due_s: float) -> None:
        """Check a pod from now on, at ``due_s`` (``time.monotonic``) at the latest."""
        self.pods[pod] = due_s
        self._schedule(due_s)

    def discard(self, pod: WatchedPod) -> None:
        """Check a pod no more."""
        self.pods.pop(pod, None)
        if not self.pods:
            self._cancel()

    def _schedule(self, due_s: float) -> None:
        """Check the pods at ``due_s``, unless an earlier check is due."""
        if self._timer is not None and self._due_s <= due_s:
            return
        self._cancel()
        self._due_s = due_s
        delay_s = due_s - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._check_due)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_due(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        if now_s - self._due_s > self._late_s:
            self._schedule(now_s + self._beat_s)
            return
        until_s = now_s + self._beat_s
        for pod in [pod for pod, due_s in self.pods.items() if due_s <= until_s]:
            due_s = self._check(pod, now_s)
            if pod in self.pods:
                self.pods[pod] = due_s
        if self.pods:
            self._schedule(min(self.pods.values()))
