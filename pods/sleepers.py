"""The component versions that sleep, those that are being woken, and what they have become."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Set as AbstractSet

import msgspec

from model.distill import Version
from model.pod import PodPhase, PodStatus, Sleeper
from pods.published import PublishedStatuses


class Counts(msgspec.Struct, kw_only=True):
    """How often a version fell asleep, and was woken, since the process began."""

    sleeps: int = 0
    wakes: int = 0


class Sleepers:
    """What one reconciler remembers of them; it ends with the reconciler's term.

    Args:
        published: Shows who sleeps.
        counts: Counts on.
        event_ttl_s: How long a request lives that may still need a version that was given up
            while it slept.
    """

    def __init__(self, published: PublishedStatuses, counts: Counts, event_ttl_s: float) -> None:
        """Start with everybody awake."""
        self._published = published
        self._counts = counts
        self._event_ttl_s = event_ttl_s
        self._asleep: dict[Version, Sleeper] = {}
        self._given_up: dict[Version, float] = {}
        self._waking: dict[Version, asyncio.Event] = {}

    @property
    def versions(self) -> AbstractSet[Version]:
        """Those that sleep: they need no pods."""
        return self._asleep.keys()

    def add(self, versions: frozenset[Version]) -> None:
        """Let versions sleep."""
        for app, component, digest in versions:
            sleeper = Sleeper(app=app, component=component, hash=digest, since_s=time.time())
            self._asleep[sleeper.version] = sleeper
            self._published.put(sleeper)
        self._counts.sleeps += len(versions)

    def keep_only(self, wanted: frozenset[Version]) -> None:
        """Forget those that are wanted no more, as soon as no request can need them."""
        now_s = time.monotonic()
        for version in self._asleep.keys() - wanted:
            self._published.remove(self._asleep.pop(version))
            self._given_up[version] = now_s + self._event_ttl_s
        self._given_up = {each: end_s for each, end_s in self._given_up.items() if end_s > now_s}

    def rouse(self, version: Version) -> bool:
        """Return whether a version has to be started, since it slept until now."""
        sleeper = self._asleep.pop(version, None)
        if sleeper is not None:
            self._published.remove(sleeper)
        elif self._given_up.pop(version, 0) <= time.monotonic():
            return False
        self._waking[version] = asyncio.Event()
        self._counts.wakes += 1
        return True

    def note(self, status: PodStatus) -> None:
        """Take note of what a pod has become."""
        if status.phase in {PodPhase.READY, PodPhase.BACK_OFF}:
            self.end_waking(status.version)

    def end_waking(self, version: Version) -> None:
        """Tell who waits that a version is ready, or will not be."""
        if waking := self._waking.pop(version, None):
            waking.set()

    async def wait_awake(self, version: Version, timeout_s: float) -> bool:
        """Return whether a version is no longer being woken, within a time."""
        if waking := self._waking.get(version):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await waking.wait()
            return waking.is_set()
        return True
