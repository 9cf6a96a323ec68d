"""How many users each component version has, counted by the contents of deployments.

Most deployments have their components in common with others, so a user is counted for its content.
Only when the counting ends, each component version of each content is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from immutables import Map

from routing.snapshot.packed_records import SharedContent

Key = TypeVar("Key", bound=Hashable)

_MAX_CONTENTS = 64
"""So many contents are counted apart: taking over the counts of all must not take long."""


class UseCounts(Generic[Key]):
    """Makes the next numbers of users of earlier ones, which stay as they are.

    Args:
        before: Number of users of each version that has some.
        keys_of: Returns the keys of a content's versions.
    """

    def __init__(
        self, before: Map[Key, int], keys_of: Callable[[SharedContent], Iterable[Key]]
    ) -> None:
        self._counts = before.mutate()
        self._keys_of = keys_of
        self._steps: dict[SharedContent, int] = {}

    def add(self, content: SharedContent, step: int) -> None:
        """Count so many more users of a content; a negative number for fewer."""
        steps = self._steps
        steps[content] = steps.get(content, 0) + step
        if len(steps) > _MAX_CONTENTS:
            self._take_over()

    def finish(self) -> Map[Key, int]:
        """Return the numbers; this object cannot be used afterwards."""
        self._take_over()
        return self._counts.finish()

    def _take_over(self) -> None:
        for content, step in self._steps.items():
            for key in self._keys_of(content) if step else ():
                if count := self._counts.get(key, 0) + step:
                    self._counts[key] = count
                else:
                    del self._counts[key]
        self._steps.clear()
