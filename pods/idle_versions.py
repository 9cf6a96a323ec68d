"""The idle versions, as one reconciler knows them, and those that are being activated.

The reconciler that leads decides which versions are idle, and marks them on the pod board. The
others follow the marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from kubefox.distill import Version
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from pods.status_publisher import StatusPublisher


class IdleCounts(msgspec.Struct, kw_only=True):
    """How often versions were stopped while idle, and activated, since the process began."""

    stops: int = 0
    activations: int = 0


class IdleVersions:
    """The versions whose pods are stopped because they are idle.

    A version that is undeployed while it is idle can be activated for ``event_ttl_s`` more, for a
    request from before may still need it.

    Args:
        counts: How often versions were stopped and activated.
        event_ttl_s: Longest time to live of a request.
    """

    def __init__(self, counts: IdleCounts, event_ttl_s: float) -> None:
        self._publisher: StatusPublisher | None = None
        self._counts = counts
        self._event_ttl_s = event_ttl_s
        self._idle: dict[Version, IdleVersion] = {}
        self._undeployed_until_s: dict[Version, float] = {}
        self._activating: dict[Version, asyncio.Event] = {}

    @property
    def versions(self) -> AbstractSet[Version]:
        """The idle versions: they need no pods."""
        return self._idle.keys()

    @property
    def is_leading(self) -> bool:
        """Whether this reconciler decides which versions are idle."""
        return self._publisher is not None

    def follow(self, marks: Mapping[Version, IdleVersion | None]) -> frozenset[Version]:
        """Take over marks on the board, unless this reconciler leads.

        Args:
            marks: Versions with their marks; None for those without a mark.

        Returns:
            The versions that have become idle, or are idle no longer.
        """
        if self.is_leading:
            return frozenset()
        changed = frozenset(
            version for version, mark in marks.items() if (mark is None) == (version in self._idle)
        )
        for version in changed:
            mark = marks[version]
            if mark is None:
                del self._idle[version]
            else:
                self._idle[version] = mark
        return changed

    @contextlib.contextmanager
    def leading(self, publisher: StatusPublisher) -> Iterator[None]:
        """Decide, and mark the idle versions with ``publisher``, for the length of the context."""
        self._publisher = publisher
        for mark in self._idle.values():
            publisher.put(mark)
        try:
            yield
        finally:
            self._publisher = None

    def add(self, versions: frozenset[Version]) -> None:
        """Note that versions are stopped because they are idle."""
        for app, component, digest in versions:
            idle = IdleVersion(app=app, component=component, hash=digest, since_s=time.time())
            self._idle[idle.version] = idle
            if self._publisher is not None:
                self._publisher.put(idle)
        self._counts.stops += len(versions)

    def remove(self, undeployed: Iterable[Version]) -> None:
        """Remove versions that are undeployed; they can be activated for ``event_ttl_s``."""
        now_s = time.monotonic()
        for version in undeployed:
            if version in self._idle:
                self._remove(version)
                self._undeployed_until_s.pop(version, None)
                self._undeployed_until_s[version] = now_s + self._event_ttl_s
        # The first ones end first.
        while self._undeployed_until_s:
            first = next(iter(self._undeployed_until_s))
            if self._undeployed_until_s[first] > now_s:
                break
            del self._undeployed_until_s[first]

    def activate(self, version: Version) -> bool:
        """Remove a version from the idle ones; return whether it was idle and has to be started."""
        if version in self._idle:
            self._remove(version)
        elif self._undeployed_until_s.pop(version, 0) <= time.monotonic():
            return False
        self.recall(version)
        self._counts.activations += 1
        return True

    def recall(self, version: Version) -> None:
        """Note that a version that is not wanted is started, and may be waited for."""
        self._activating[version] = asyncio.Event()

    def _remove(self, version: Version) -> None:
        idle = self._idle.pop(version)
        if self._publisher is not None:
            self._publisher.remove(idle)

    def on_status(self, status: PodStatus) -> None:
        """End the activation of a version when its pod is ready, or has failed."""
        if status.phase in {PodPhase.READY, PodPhase.BACK_OFF}:
            self.end_activation(status.version)

    def end_activation(self, version: Version) -> None:
        """End all waiting for a version: it is ready, or will not become ready."""
        if activating := self._activating.pop(version, None):
            activating.set()

    def is_activating(self, version: Version) -> bool:
        """Return whether a request waits for a pod of a version that was idle."""
        return version in self._activating

    async def wait_activated(self, version: Version, timeout_s: float) -> bool:
        """Return True once a version is not being activated any more, False after the time-out."""
        if activating := self._activating.get(version):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await activating.wait()
            return activating.is_set()
        return True
