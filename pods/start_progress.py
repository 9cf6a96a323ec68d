"""How far the start of the pods has come."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Self

from kubefox.distill import Version


class StartProgress(NamedTuple):
    """How many of the versions that need a pod have a ready one.

    Attributes:
        released_ready: Versions of active releases that are ready.
        released: All versions of active releases.
        others_ready: Other versions that are ready.
        others: All other versions.
        is_settled: Whether each version is ready, or has failed to start.
    """

    released_ready: int
    released: int
    others_ready: int
    others: int
    is_settled: bool

    @classmethod
    def of(
        cls,
        wanted: AbstractSet[Version],
        released: AbstractSet[Version],
        ready: Iterable[Version],
        failed: Iterable[Version],
    ) -> Self:
        """Return the progress of versions.

        Args:
            wanted: Versions that need a pod.
            released: Versions of active releases.
            ready: Versions with a ready pod.
            failed: Versions with a pod that has failed to start.
        """
        is_ready = wanted & frozenset(ready)
        return cls(
            released_ready=len(is_ready & released),
            released=len(wanted & released),
            others_ready=len(is_ready - released),
            others=len(wanted - released),
            is_settled=wanted <= is_ready | frozenset(failed),
        )

    @property
    def total(self) -> int:
        """All versions that need a pod."""
        return self.released + self.others

    @property
    def text(self) -> str:
        """The progress for people."""
        return (
            f"ready: released {self.released_ready} of {self.released}, "
            f"others {self.others_ready} of {self.others}"
        )
