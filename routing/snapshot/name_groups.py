"""Persistent sets of names, grouped by a key.

Most groups have one name: the virtual environment that a deployment is released in, or the
deployment of a commit. A tuple of one takes 48 B, a persistent map 200 B.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from immutables import Map, MapMutation

Key = TypeVar("Key", bound=Hashable)

NameSet = Map[str, None]
"""A persistent set."""

Names = tuple[str, ...] | NameSet
"""The names of a group, to iterate over: a tuple if they are few."""

MAX_TUPLE = 8
"""Above this many names, a change of a group must not copy all of them."""

_MAX_OPEN = 256
"""So many large groups are open for changes at once: closing all of them must not take long."""


class GroupsBuilder(Generic[Key]):
    """Makes the next groups of earlier ones, which stay as they are.

    A large group that changes is copied once, however many of its names change.

    Args:
        before: The groups to start from.
    """

    def __init__(self, before: Map[Key, Names]) -> None:
        self._groups = before.mutate()
        self._large: dict[Key, MapMutation[str, None]] = {}

    def add(self, key: Key, name: str) -> None:
        """Add a name to a group and create the group if necessary."""
        large = self._large.get(key)
        if large is not None:
            large[name] = None
            return
        names = self._groups.get(key)
        if names is None:
            self._groups[key] = (name,)
        elif isinstance(names, Map) or (name not in names and len(names) == MAX_TUPLE):
            self._open(key, names)[name] = None
        elif name not in names:
            self._groups[key] = (*names, name)

    def remove(self, key: Key, name: str) -> None:
        """Remove a name from its group, and the group if it is empty then."""
        large = self._large.get(key)
        if large is not None:
            del large[name]
            return
        names = self._groups[key]
        if isinstance(names, Map):
            del self._open(key, names)[name]
        elif len(names) > 1:
            self._groups[key] = tuple([other for other in names if other != name])
        else:
            del self._groups[key]

    def finish(self) -> Map[Key, Names]:
        """Return the groups; the builder cannot be used afterwards."""
        self._close()
        return self._groups.finish()

    def _close(self) -> None:
        """Put the large groups back that have changed."""
        for key, large in self._large.items():
            names = large.finish()
            if len(names) > MAX_TUPLE:
                self._groups[key] = names
            elif names:
                self._groups[key] = tuple(names)
            else:
                del self._groups[key]
        self._large.clear()

    def _open(self, key: Key, names: Names) -> MapMutation[str, None]:
        if len(self._large) == _MAX_OPEN:
            self._close()
        all_names = names if isinstance(names, Map) else Map(dict.fromkeys(names))
        large = self._large[key] = all_names.mutate()
        return large
