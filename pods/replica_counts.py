"""How many pods each version of one reconciler has, by its limits and its load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from kubefox.distill import Version
from kubefox.scaling import Replicas
from routing.replicas import replicas_of_versions
from routing.snapshot.usage_index import UsageIndex


class ReplicaCounts:
    """The number of pods of each version that needs pods.

    Args:
        default: The platform's default limits.
    """

    def __init__(self, default: Replicas) -> None:
        self._default = default
        self._limits: dict[Version, Replicas] = {}
        # Those of ``_limits`` whose number of pods follows the load.
        self._scaled: dict[Version, Replicas] = {}
        self._desired: dict[Version, int] = {}
        self._replaced: dict[Version, Version] = {}
        self._adopted: dict[Version, int] = {}
        self._has_scaled = asyncio.Event()

    @property
    def versions(self) -> frozenset[Version]:
        """The versions that need pods."""
        return frozenset(self._limits)

    def update(
        self, changed: Iterable[Version], needed: AbstractSet[Version], usage: UsageIndex
    ) -> dict[Version, int]:
        """Take over the limits of changed versions; return how many pods the needed ones need.

        A version that is rolling out begins with as many pods as the version that it replaces has.

        Args:
            changed: Versions whose limits, or whose need for pods, may have changed.
            needed: Those of them that need pods.
            usage: Of the current snapshot.
        """
        limits = replicas_of_versions(needed, usage, self._default)
        # A version that begins to roll out reads the number of the one that it replaces.
        for version in sorted(changed, key=lambda version: version not in limits):
            self._take_over(version, limits.get(version), usage)
        if self._scaled:
            self._has_scaled.set()
        else:
            self._has_scaled.clear()
        return {version: found.clamp(self._count(version)) for version, found in limits.items()}

    def with_minimum(self, versions: AbstractSet[Version], usage: UsageIndex) -> list[Version]:
        """Return those of some versions that must always have a pod."""
        limits = replicas_of_versions(versions, usage, self._default)
        return [version for version, found in limits.items() if found.min > 0]

    async def wait_scaled(self) -> dict[Version, Replicas]:
        """Return the versions whose number of pods follows the load, once there is one."""
        await self._has_scaled.wait()
        return dict(self._scaled)

    def replaced_by(self, version: Version) -> Version | None:
        """Return the version that this one replaces, while it is rolling out."""
        return self._replaced.get(version)

    def adopt(self, pods: Mapping[Version, int]) -> None:
        """Begin with the pods that an earlier process has left, where the number follows the load.

        Call this before the first ``update``.

        Args:
            pods: How many pods each version has.
        """
        self._adopted.update(pods)

    def pop_adopted(self, version: Version) -> int:
        """Return the number of pods that a version began with, once; 0 if it began with none."""
        return self._adopted.pop(version, 0)

    def ask_for(self, counts: Mapping[Version, int]) -> frozenset[Version]:
        """Set the number of pods of some versions; return those for which that is a change."""
        changed = {
            version: count
            for version, count in counts.items()
            if version in self._limits and self._desired.get(version) != count
        }
        self._desired.update(changed)
        followers = (new for new, old in self._replaced.items() if old in changed)
        return frozenset((*changed, *followers))

    def may_be_idle(self, version: Version) -> bool:
        """Return whether a version may be stopped when it is unused."""
        limits = self._limits.get(version)
        return limits is not None and limits.min == 0

    def _take_over(self, version: Version, limits: Replicas | None, usage: UsageIndex) -> None:
        """Replace all that is known of a version; without limits it needs no pods."""
        replaced = usage.replaced_by(version) if limits is not None else None
        if replaced is not None:
            self._replaced[version] = replaced
        else:
            self._replaced.pop(version, None)
        if limits is not None:
            self._limits[version] = limits
        else:
            self._limits.pop(version, None)
        if limits is not None and limits.is_scaled:
            self._scaled[version] = limits
            adopted = self._adopted.get(version, 0)
            self._desired[version] = max(self._count(version), adopted)
        else:
            self._adopted.pop(version, None)
            self._scaled.pop(version, None)
            self._desired.pop(version, None)

    def _count(self, version: Version) -> int:
        """Return the number of pods that a version, or the one that it replaces, was to have."""
        replaced = self._replaced.get(version, version)
        return max(self._desired.get(version, 0), self._desired.get(replaced, 0))
