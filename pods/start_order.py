"""The order in which pods start: first those whose versions are missed most."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum

from kubefox.distill import Version
from routing.snapshot.usage_index import UsageIndex


class StartRank(IntEnum):
    """How soon a pod starts; the lowest first."""

    AWAITED = 0
    """An event waits for it."""
    RELEASED = 1
    """Plain URLs need it."""
    RECENT = 2
    """It was used lately, or its release or rollout waits for it."""
    OTHER = 3


class StartPriorities:
    """Which versions start before others.

    Attributes:
        used_hashes: Hashes of the versions that were used lately.
    """

    def __init__(self) -> None:
        self.used_hashes: frozenset[str] = frozenset()

    def first(self, released: Iterable[Version]) -> tuple[Version, ...]:
        """Return released versions in the order in which their pods start before all others."""
        used_hashes = self.used_hashes
        return tuple(sorted(released, key=lambda found: (found.hash not in used_hashes, found)))

    def rank(self, version: Version, usage: UsageIndex) -> StartRank:
        """Return the rank of a version for which no event waits."""
        if usage.is_released(version):
            return StartRank.RELEASED
        is_recent = version.hash in self.used_hashes or usage.is_awaited(version)
        return StartRank.RECENT if is_recent else StartRank.OTHER


def start_order(
    versions: Iterable[Version], rank: Callable[[Version], StartRank]
) -> tuple[Version, ...]:
    """Return versions in the order in which their pods start.

    Versions of one rank are sorted, so the order is always the same.
    """
    return tuple(sorted(versions, key=lambda version: (rank(version), version)))
