"""How many pods the component versions need, found again only for those that changed.

A change of the data, of the idle versions or of the load touches a few versions. Only these are
compared with their pods, so the cost of a change does not depend on how many versions there are. At
the start, and after a gap, all versions are looked up, in steps and in batches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice

import msgspec

from kubefox.distill import Version
from pods.idle_versions import IdleVersions
from pods.replica_counts import ReplicaCounts
from routing.snapshot.usage_index import UsageIndex

BATCH = 200
"""Versions that are looked up without a pause, about 2 ms."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The pods that some versions need.

    Attributes:
        versions: The versions that may need another number of pods than before.
        replicas: How many pods each of them needs, at least 1; the others need none.
    """

    versions: frozenset[Version]
    replicas: Mapping[Version, int]


class Demand:
    """The needs of the versions of one fleet.

    Args:
        replicas: Limits and numbers of pods.
        idle: The idle versions, which need no pods.

    Attributes:
        is_behind: Whether all versions have to be looked up: see ``read_all``.
        looked_up: How many versions were looked up so far, some perhaps several times.
    """

    def __init__(self, replicas: ReplicaCounts, idle: IdleVersions) -> None:
        self._replicas = replicas
        self._idle = idle
        # In the order in which they are looked up.
        self._noted: dict[Version, None] = {}
        self._position = -1
        self.is_behind = True
        self.looked_up = 0

    @property
    def has_more(self) -> bool:
        """Whether versions are noted, and not taken yet."""
        return bool(self._noted)

    def note(self, versions: Iterable[Version]) -> None:
        """Note that versions may need another number of pods."""
        self._noted.update(dict.fromkeys(versions))

    def follow(self, usage: UsageIndex) -> None:
        """Note the versions that have changed in the data since the last call."""
        changed = usage.changed_versions.since(self._position)
        self._position = usage.changed_versions.position
        if changed is None:
            self.is_behind = True
        else:
            self.note(changed)

    def read_all(self, usage: UsageIndex, running: Iterable[Version]) -> Iterator[None]:
        """Note all versions, in steps; other tasks may run, and ``usage`` may move, in between.

        Args:
            usage: Of the current snapshot.
            running: All versions with a pod.
        """
        self.is_behind = False
        self.note(running)
        self.note(tuple(self._idle.versions))
        # Plain URLs need those first.
        for version in usage.known_versions():
            if usage.is_released(version):
                self._noted[version] = None
            yield
        for version in usage.known_versions():
            self._noted[version] = None
            yield

    def take(self, usage: UsageIndex, limit: int = BATCH) -> Needs:
        """Return the needs of the versions that were noted first, and forget these versions.

        Args:
            usage: Of the current snapshot.
            limit: How many versions are looked up at most.
        """
        return self.look_up(tuple(islice(self._noted, limit)), usage)

    def look_up(self, versions: Collection[Version], usage: UsageIndex) -> Needs:
        """Return the needs of some versions, whether they were noted or not.

        Args:
            versions: The versions.
            usage: Of the current snapshot.
        """
        found = self._look_up(frozenset(versions), usage)
        for version in found.versions:
            self._noted.pop(version, None)
        return found

    def _look_up(self, versions: frozenset[Version], usage: UsageIndex) -> Needs:
        self.looked_up += len(versions)
        wanted = frozenset(filter(usage.is_wanted, versions))
        self._idle.remove(versions - wanted)
        self._end_idleness(wanted & self._idle.versions, usage)
        needed = {version for version in wanted if version not in self._idle.versions}
        return Needs(versions=versions, replicas=self._replicas.update(versions, needed, usage))

    def _end_idleness(self, idle: frozenset[Version], usage: UsageIndex) -> None:
        """Start those of some idle versions that have a minimum now; others follow the leader."""
        if idle and self._idle.is_leading:
            for version in self._replicas.with_minimum(idle, usage):
                self._idle.activate(version)
